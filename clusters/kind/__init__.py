"""Clusters of kind, Kubernetes in containers: ``kind://NAME``."""
