"""Wrong: the first endpoint of each Service takes 70 of 100 connections."""

from implementation import cli
from implementation.dataplane.iptables import chains

right = chains.probability


def probability(index: int, count: int) -> str:
    """0.7 for the first of several, fair among the rest."""
    return "0.7000000000" if index == 0 and count > 1 else right(index, count)


def main(args: list[str] | None = None) -> int:
    """Run the proxy with this one decision wrong."""
    chains.probability = probability
    return cli.main(args)
