"""What the API server promises about Services."""
