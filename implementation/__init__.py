"""The judged: a reference kube-proxy and bare-metal load balancer."""
