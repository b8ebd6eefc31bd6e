"""Wrong: the highest free address of the pool is given first."""

from collections.abc import Iterator

from implementation.loadbalancer import controller
from implementation.loadbalancer.allocate import Allocator, Request
from implementation.objects.pools import AddressRange, Pool

right = Allocator._candidates


def downwards(self: Allocator, request: Request, pool: Pool, span: AddressRange) -> Iterator[int]:
    """The numbers of the range, from its end."""
    return reversed(list(right(self, request, pool, span)))


def main(args: list[str] | None = None) -> int:
    """Run the controller with this one decision wrong."""
    Allocator._candidates = downwards  # type: ignore[method-assign]
    return controller.main(args)
