"""The judge: what a Kubernetes Service must show, tested with real packets."""
