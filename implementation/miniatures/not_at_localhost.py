"""Wrong: nodePorts are not served at a node's own loopback address, though that is declared."""

from collections.abc import Sequence

from implementation import cli
from implementation.dataplane.iptables import layout
from implementation.dataplane.iptables.chains import Rules
from implementation.dataplane.iptables.options import Options

right = layout.node_port_tail


def elsewhere(family: int, options: Options, addresses: Sequence[str] | None) -> Rules:
    """The last rules, less loopback."""
    local = "--dst-type LOCAL "
    return tuple(
        rule.replace(local, f"{local}! -d 127.0.0.0/8 ") if family == 4 else rule
        for rule in right(family, options, addresses)
    )


def main(args: list[str] | None = None) -> int:
    """Run the proxy with this one decision wrong."""
    layout.node_port_tail = elsewhere
    return cli.main(args)
