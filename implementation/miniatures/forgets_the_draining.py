"""Wrong: endpoints about to end are never used, though none is ready."""

from collections.abc import Sequence

from implementation import cli
from implementation.state import usable
from implementation.state.desired import Endpoint


def none(endpoints: Sequence[Endpoint]) -> tuple[Endpoint, ...]:
    """No last resort."""
    del endpoints
    return ()


def main(args: list[str] | None = None) -> int:
    """Run the proxy with this one decision wrong."""
    usable.draining = none
    return cli.main(args)
