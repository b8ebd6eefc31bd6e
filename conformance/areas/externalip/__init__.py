"""externalIPs."""
