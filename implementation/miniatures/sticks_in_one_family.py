"""Wrong: affinity holds for IPv4 only."""

from collections.abc import Sequence

import msgspec

from implementation import cli
from implementation.objects import Service, ServicePort
from implementation.state import serve
from implementation.state.desired import Endpoint, ServedPort, ThisNode

right = serve.serve_port


def forgetful(
    service: Service, port: ServicePort, cluster_ip: str, endpoints: Sequence[Endpoint], node: ThisNode
) -> ServedPort:
    """As if a Service had no affinity at its IPv6 address."""
    if ":" in cluster_ip:
        service = msgspec.structs.replace(service, affinity_seconds=0)
    return right(service, port, cluster_ip, endpoints, node)


def main(args: list[str] | None = None) -> int:
    """Run the proxy with this one decision wrong."""
    serve.serve_port = forgetful
    return cli.main(args)
