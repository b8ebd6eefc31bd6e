"""Wrong: only the first family's address of a Service is served."""

from collections.abc import Iterable

from implementation import cli
from implementation.state import serve

right = serve.one_per_family


def first(addresses: Iterable[str]) -> tuple[str, ...]:
    """The first address, of whatever family."""
    return right(addresses)[:1]


def main(args: list[str] | None = None) -> int:
    """Run the proxy with this one decision wrong."""
    serve.one_per_family = first
    return cli.main(args)
