"""Wrong: where no endpoint is ready, those that are not take the traffic."""

from collections.abc import Sequence

from implementation import cli
from implementation.state import usable
from implementation.state.desired import Endpoint

right = usable.usable


def anybody(endpoints: Sequence[Endpoint]) -> tuple[Endpoint, ...]:
    """The usable endpoints, or else all."""
    return right(endpoints) or tuple(endpoints)


def main(args: list[str] | None = None) -> int:
    """Run the proxy with this one decision wrong."""
    usable.usable = anybody
    return cli.main(args)
