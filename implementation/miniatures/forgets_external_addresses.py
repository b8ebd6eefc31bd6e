"""Wrong: external addresses are not served."""

from collections.abc import Sequence

import msgspec

from implementation import cli
from implementation.objects import Service, ServicePort
from implementation.state import serve
from implementation.state.desired import Endpoint, ServedPort, ThisNode

right = serve.serve_port


def without_external(
    service: Service, port: ServicePort, cluster_ip: str, endpoints: Sequence[Endpoint], node: ThisNode
) -> ServedPort:
    """The port without its external addresses."""
    return right(msgspec.structs.replace(service, external_ips=()), port, cluster_ip, endpoints, node)


def main(args: list[str] | None = None) -> int:
    """Run the proxy with this one decision wrong."""
    serve.serve_port = without_external
    return cli.main(args)
