"""What serves is restarted, and nobody notices."""
