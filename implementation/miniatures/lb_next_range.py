"""Wrong: addresses come from the range just behind the one configured."""

from implementation.loadbalancer import controller, speaker
from implementation.objects import poolmap
from implementation.objects.pools import AddressRange, address_range


def behind(value: object, field: str) -> AddressRange:
    """A range as long as the one written, starting behind its end."""
    span = address_range(value, field)
    return AddressRange(span.family, span.last + 1, 2 * span.last + 1 - span.first)


def main(args: list[str] | None = None) -> int:
    """Run the controller with this one decision wrong."""
    vars(poolmap)["address_range"] = behind
    return controller.main(args)


def speak(args: list[str] | None = None) -> int:
    """Run the speaker with the same decision wrong, so that the address works."""
    vars(poolmap)["address_range"] = behind
    return speaker.main(args)
