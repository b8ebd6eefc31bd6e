"""Wrong: an endpoint that calls itself is not masqueraded, so its packets come back as from itself."""

from collections.abc import Iterator

from implementation import cli
from implementation.dataplane.iptables import chains
from implementation.state.desired import Endpoint

right = chains.endpoint_rules


def unmarked(port: chains.Port, endpoint: Endpoint) -> Iterator[str]:
    """The rules of an endpoint, without the mark for its own packets."""
    return (rule for rule in right(port, endpoint) if "KUBE-MARK-MASQ" not in rule)


def main(args: list[str] | None = None) -> int:
    """Run the proxy with this one decision wrong."""
    chains.endpoint_rules = unmarked
    return cli.main(args)
