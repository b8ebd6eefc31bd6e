"""Wrong: the hash in the names of Service chains leaves out the protocol."""

from implementation import cli
from implementation.dataplane.iptables import names
from implementation.dataplane.iptables.names import Style
from implementation.state.desired import ServedPort

right = names.chain


def without_protocol(kind: str, port: ServedPort, style: Style) -> str:
    """The chain of one Service port, except where another protocol of the same name would share it."""
    if port.protocol != "tcp":
        return right(kind, port, style)
    return f"KUBE-{kind}-{names.digest(names.port_name(port, style))}"


def main(args: list[str] | None = None) -> int:
    """Run the proxy with this one decision wrong."""
    names.chain = without_protocol
    return cli.main(args)
