"""Wrong: all traffic of a Service goes to its first endpoint."""

from collections.abc import Sequence

from implementation import cli
from implementation.state import serve
from implementation.state.desired import Endpoint

right = serve.pool


def first(endpoints: Sequence[Endpoint], nearby: tuple[Endpoint, ...] | None) -> tuple[Endpoint, ...]:
    """The first endpoint only."""
    return right(endpoints, nearby)[:1]


def main(args: list[str] | None = None) -> int:
    """Run the proxy with this one decision wrong."""
    serve.pool = first
    return cli.main(args)
