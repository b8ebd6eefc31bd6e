"""Services without an address of their own."""
