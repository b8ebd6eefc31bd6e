"""Traffic from inside the cluster to a Service's own address."""
