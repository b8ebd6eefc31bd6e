"""Topology hints and trafficDistribution."""
