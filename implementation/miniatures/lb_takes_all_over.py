"""Wrong: a Service with an address from elsewhere is given one of the pool instead."""

from typing import Any

from implementation.loadbalancer import assignment, controller


def nobodys(*args: Any) -> bool:
    """No address is somebody else's."""
    del args
    return False


def main(args: list[str] | None = None) -> int:
    """Run the controller with this one decision wrong."""
    vars(assignment)["foreign"] = nobodys
    return controller.main(args)
