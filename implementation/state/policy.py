"""What a traffic policy makes of a Service port on this node."""

from __future__ import annotations

from collections.abc import Sequence

from implementation.state.desired import Endpoint, Way


def way(local_only: bool, has_endpoints: bool, local: Sequence[Endpoint]) -> Way:
    """Where traffic under a policy goes.

    Nobody serves it anywhere: refused, so that clients fail at once. Served elsewhere but the policy is
    Local: dropped, as a load balancer should try another node rather than hear that the Service is gone.
    """
    if not has_endpoints:
        return Way.REJECT
    if not local_only:
        return Way.CLUSTER
    return Way.LOCAL if local else Way.DROP


def internal_way(internal_local: bool, has_endpoints: bool, local: Sequence[Endpoint]) -> Way:
    """Where traffic to the cluster address goes (internalTrafficPolicy)."""
    return way(internal_local, has_endpoints, local)


def external_way(external_local: bool, has_endpoints: bool, local: Sequence[Endpoint]) -> Way:
    """Where traffic to node ports, external and load balancer addresses goes (externalTrafficPolicy)."""
    return way(external_local, has_endpoints, local)
