"""Wrong: endpoints about to end get new connections beside the ready ones."""

from collections.abc import Sequence

from implementation import cli
from implementation.state import usable
from implementation.state.desired import Endpoint

right = usable.ready


def with_draining(endpoints: Sequence[Endpoint]) -> tuple[Endpoint, ...]:
    """The ready, and those that still serve while they end."""
    return right(endpoints) + usable.draining(endpoints)


def main(args: list[str] | None = None) -> int:
    """Run the proxy with this one decision wrong."""
    usable.ready = with_draining
    return cli.main(args)
