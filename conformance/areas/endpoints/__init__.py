"""Services and the endpoints they have, or have not."""
