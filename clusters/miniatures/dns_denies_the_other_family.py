"""Wrong: a name without addresses of the family asked for is said not to be there."""

from clusters.dns import server
from clusters.dns.records import Answer, Zone

right = Zone._follow


def denying(self: Zone, asked: str, kind: str, found: Answer, depth: int) -> bool:
    """As if who has no such address had no name."""
    there = right(self, asked, kind, found, depth)
    return there and (kind not in ("A", "AAAA") or bool(found.records))


def main(args: list[str]) -> int:
    """Run the DNS server with this one decision wrong."""
    Zone._follow = denying  # type: ignore[method-assign]
    return server.main(args)
