"""Wrong: a Service that found no free address is not looked at again when one comes free."""

from typing import Any

import msgspec

from implementation.loadbalancer import controller
from implementation.loadbalancer.assignment import Decision, decide


def settled(*args: Any, **more: Any) -> Decision:
    """The right decision, but nobody is ever waiting."""
    return msgspec.structs.replace(decide(*args, **more), pending=False)


def main(args: list[str] | None = None) -> int:
    """Run the controller with this one decision wrong."""
    vars(controller)["decide"] = settled
    return controller.main(args)
