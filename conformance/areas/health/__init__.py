"""What nodes tell load balancers: healthCheckNodePorts."""
