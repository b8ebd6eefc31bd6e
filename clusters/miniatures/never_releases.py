"""Wrong: numbers of deleted Services are not given again."""

from clusters.apiserver import http
from clusters.apiserver.allocation import Pool


def keep(self: Pool, number: int) -> None:
    """Keeps ``number`` taken."""
    del self, number


def main(args: list[str]) -> int:
    """Run the API server with this one decision wrong."""
    Pool.release = keep  # type: ignore[method-assign]
    return http.main(args)
