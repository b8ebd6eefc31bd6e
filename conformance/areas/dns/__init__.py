"""Names of Services."""
