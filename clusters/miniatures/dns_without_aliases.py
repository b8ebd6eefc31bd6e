"""Wrong: the name of an ExternalName Service leads nowhere."""

from clusters.dns import server
from clusters.dns.directory import Directory, Object, Place

right = Directory.service


def without_names(self: Directory, place: Place) -> Object | None:
    """The Service, unless it is an ExternalName."""
    found = right(self, place)
    return None if found and (found.get("spec") or {}).get("type") == "ExternalName" else found


def main(args: list[str]) -> int:
    """Run the DNS server with this one decision wrong."""
    Directory.service = without_names  # type: ignore[method-assign]
    return server.main(args)
