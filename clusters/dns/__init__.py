"""Cluster DNS: names of Services and pods, as the Kubernetes DNS specification gives them."""
