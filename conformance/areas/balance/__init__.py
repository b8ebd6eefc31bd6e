"""How connections are spread over backends."""
