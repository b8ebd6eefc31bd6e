"""UDP flows, and what the kernel remembers of them."""
