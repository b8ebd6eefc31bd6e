"""What keeps the cluster as its objects say: Deployments, ReplicaSets, placement, EndpointSlices."""
