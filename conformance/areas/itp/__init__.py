"""internalTrafficPolicy: where traffic to a ClusterIP may go."""
