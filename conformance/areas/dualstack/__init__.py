"""Services of both address families."""
