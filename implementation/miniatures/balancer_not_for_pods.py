"""Wrong: pods are not served at a load balancer's address by the rules of their own node."""

from collections.abc import Iterator

from implementation import cli
from implementation.dataplane.iptables import chains

right = chains.nat_services


def not_for_pods(port: chains.Port) -> Iterator[str]:
    """The rules of the Service's addresses; those of the load balancer only for who is no pod."""
    detector = port.options.detector(port.served.family)
    for rule in right(port):
        ours = detector is not None and any(port.to(one) in rule for one in port.served.virtual_ips)
        yield rule.replace(" -j ", f" {detector.foreign} -j ") if detector and ours else rule


def main(args: list[str] | None = None) -> int:
    """Run the proxy with this one decision wrong."""
    chains.nat_services = not_for_pods
    return cli.main(args)
