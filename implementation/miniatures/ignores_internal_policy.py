"""Wrong: internalTrafficPolicy is taken for Cluster whatever it says."""

from collections.abc import Sequence

import msgspec

from implementation import cli
from implementation.objects import Service, ServicePort
from implementation.state import serve
from implementation.state.desired import Endpoint, ServedPort, ThisNode

right = serve.serve_port


def for_everybody(
    service: Service, port: ServicePort, cluster_ip: str, endpoints: Sequence[Endpoint], node: ThisNode
) -> ServedPort:
    """As if the internal policy were Cluster."""
    return right(msgspec.structs.replace(service, internal_local=False), port, cluster_ip, endpoints, node)


def main(args: list[str] | None = None) -> int:
    """Run the proxy with this one decision wrong."""
    serve.serve_port = for_everybody
    return cli.main(args)
