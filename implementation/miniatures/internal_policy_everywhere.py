"""Wrong: internalTrafficPolicy rules traffic from outside as well."""

from collections.abc import Sequence

import msgspec

from implementation import cli
from implementation.objects import Service, ServicePort
from implementation.state import serve
from implementation.state.desired import Endpoint, ServedPort, ThisNode

right = serve.serve_port


def one_policy(
    service: Service, port: ServicePort, cluster_ip: str, endpoints: Sequence[Endpoint], node: ThisNode
) -> ServedPort:
    """As if the external policy were the internal one."""
    changed = msgspec.structs.replace(service, external_local=service.internal_local)
    return right(changed, port, cluster_ip, endpoints, node)


def main(args: list[str] | None = None) -> int:
    """Run the proxy with this one decision wrong."""
    serve.serve_port = one_policy
    return cli.main(args)
