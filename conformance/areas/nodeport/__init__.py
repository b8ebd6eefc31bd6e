"""Traffic to a port of every node."""
