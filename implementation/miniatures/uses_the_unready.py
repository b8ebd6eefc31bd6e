"""Wrong: an endpoint that is not ready is used while another one is ready."""

from collections.abc import Sequence

from implementation import cli
from implementation.state import usable
from implementation.state.desired import Endpoint

right = usable.ready


def with_the_others(endpoints: Sequence[Endpoint]) -> tuple[Endpoint, ...]:
    """All endpoints, as long as there is a ready one."""
    return tuple(endpoints) if right(endpoints) else ()


def main(args: list[str] | None = None) -> int:
    """Run the proxy with this one decision wrong."""
    usable.ready = with_the_others
    return cli.main(args)
