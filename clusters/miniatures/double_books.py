"""Wrong: a node port or address that is taken is given again to whoever asks for it."""

from clusters.apiserver import http
from clusters.apiserver.allocation import Pool


def take_anyway(self: Pool, number: int) -> bool:
    """Takes ``number``, whoever has it already."""
    self.taken.add(number)
    return True


def main(args: list[str]) -> int:
    """Run the API server with this one decision wrong."""
    Pool.take = take_anyway  # type: ignore[method-assign]
    return http.main(args)
