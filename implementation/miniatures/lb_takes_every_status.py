"""Wrong: an address another load balancer wrote into a status is taken away and replaced."""

from implementation.loadbalancer import assignment, controller
from implementation.loadbalancer.allocate import Allocator
from implementation.loadbalancer.pools import Configuration
from implementation.objects.balanced import BalancedService


def never(_service: BalancedService, _config: Configuration, _allocator: Allocator) -> bool:
    """Every status is ours."""
    return False


def main(args: list[str] | None = None) -> int:
    """Run the controller with this one decision wrong."""
    vars(assignment)["foreign"] = never
    return controller.main(args)
