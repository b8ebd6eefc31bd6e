"""Traffic from outside under an externalTrafficPolicy."""
