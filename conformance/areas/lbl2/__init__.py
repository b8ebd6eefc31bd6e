"""Load balancer addresses announced by ARP."""
