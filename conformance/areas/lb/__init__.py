"""Addresses of Services of type LoadBalancer."""
