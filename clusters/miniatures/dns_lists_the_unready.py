"""Wrong: endpoints that are not ready are listed, too."""

from collections.abc import Iterator

from clusters.dns import server
from clusters.dns.directory import Directory, Object, Place


def everybody(self: Directory, place: Place) -> Iterator[tuple[Object, Object]]:
    """Each endpoint with its slice, whatever its conditions say."""
    for held in list(self._slices.get(place, {}).values()):
        yield from ((held, endpoint) for endpoint in held.get("endpoints") or ())


def main(args: list[str]) -> int:
    """Run the DNS server with this one decision wrong."""
    Directory._ready = everybody  # type: ignore[method-assign]
    return server.main(args)
