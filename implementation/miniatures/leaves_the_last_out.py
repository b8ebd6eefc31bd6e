"""Wrong: the last endpoint of four or more gets no traffic."""

from collections.abc import Sequence

from implementation import cli
from implementation.state import serve
from implementation.state.desired import Endpoint

right = serve.pool


def without_last(endpoints: Sequence[Endpoint], nearby: tuple[Endpoint, ...] | None) -> tuple[Endpoint, ...]:
    """The endpoints, without the last of many."""
    found = right(endpoints, nearby)
    return found[:-1] if len(found) > 3 else found


def main(args: list[str] | None = None) -> int:
    """Run the proxy with this one decision wrong."""
    serve.pool = without_last
    return cli.main(args)
