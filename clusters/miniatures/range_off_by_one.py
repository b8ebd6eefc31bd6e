"""Wrong: the port just below and the port just above the node port range are given too."""

from clusters.apiserver import http
from clusters.apiserver.allocation import Pool


def a_little_wider(self: Pool, number: int) -> bool:
    """Whether ``number`` is in the pool, or next to it."""
    return self.first - 1 <= number <= self.last + 1


def main(args: list[str]) -> int:
    """Run the API server with this one decision wrong."""
    Pool.__contains__ = a_little_wider  # type: ignore[method-assign]
    return http.main(args)
