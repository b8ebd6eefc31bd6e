"""What the proxy does on its node beside the data plane: sysctls, health, metrics, connection tracking."""
