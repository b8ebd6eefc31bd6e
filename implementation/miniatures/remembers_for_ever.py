"""Wrong: a client keeps its backend however long it was idle."""

from collections.abc import Iterator, Sequence

from implementation import cli
from implementation.dataplane.iptables import chains
from implementation.state.desired import Endpoint

right = chains.affinity_rules


def for_ever(port: chains.Port, endpoints: Sequence[Endpoint]) -> Iterator[str]:
    """The rules without an end of what they remember."""
    limit = f" --seconds {port.served.affinity_seconds} --reap"
    return (rule.replace(limit, "") for rule in right(port, endpoints))


def main(args: list[str] | None = None) -> int:
    """Run the proxy with this one decision wrong."""
    chains.affinity_rules = for_ever
    return cli.main(args)
