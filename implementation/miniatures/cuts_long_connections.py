"""Wrong: a connection through a Service is reset once it has had a hundred packets."""

from implementation import cli
from implementation.dataplane.iptables import layout
from implementation.dataplane.iptables.chains import Rules
from implementation.dataplane.iptables.options import Options

right = layout.forward
LONG = "-m connbytes --connbytes 100 --connbytes-mode packets --connbytes-dir both"


def until_a_hundred(options: Options) -> Rules:
    """The forwarding rules, and before them one that ends what is long and was translated."""
    cut = f"-p tcp -m conntrack --ctstate DNAT {LONG} -j REJECT --reject-with tcp-reset"
    return (cut, *right(options))


def main(args: list[str] | None = None) -> int:
    """Run the proxy with this one decision wrong."""
    layout.forward = until_a_hundred
    return cli.main(args)
