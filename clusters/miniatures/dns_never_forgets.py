"""Wrong: names of deleted Services are answered on."""

from typing import Any

from clusters.dns import server
from clusters.dns.directory import Directory

right = Directory.event


def deaf(self: Directory, plural: str, kind: str, value: Any) -> None:
    """Takes in everything but that a Service was deleted."""
    if (plural, kind) != ("services", "DELETED"):
        right(self, plural, kind, value)


def main(args: list[str]) -> int:
    """Run the DNS server with this one decision wrong."""
    Directory.event = deaf  # type: ignore[method-assign]
    return server.main(args)
