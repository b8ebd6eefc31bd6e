"""Exact tests, bounds and sample sizes, from ``math.lgamma`` alone. Each docstring states its error rate."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

ALPHA = 1e-6  # false alarms a requirement: 300 rows make about 3 in 10,000 full runs
POWER = 0.999  # chance to see a shift of the promised size
CONFIDENCE = 0.95  # of every bound that is reported


def log_pmf(n: int, k: int, p: float) -> float:
    """Logarithm of the chance of exactly ``k`` successes in ``n`` with chance ``p``; -inf when impossible."""
    if not 0 <= k <= n:
        return -math.inf
    if p <= 0 or p >= 1:
        return 0.0 if k == (0 if p <= 0 else n) else -math.inf
    choose = math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
    return choose + k * math.log(p) + (n - k) * math.log1p(-p)


def at_most(n: int, k: int, p: float) -> float:
    """Chance of at most ``k`` successes in ``n`` trials of chance ``p``; relative error below 1e-9."""
    if k < 0:
        return 0.0
    if k >= n:
        return 1.0
    if k > n * p:
        return max(0.0, 1.0 - _falling(n, n - k - 1, 1.0 - p))
    return _falling(n, k, p)


def at_least(n: int, k: int, p: float) -> float:
    """Chance of at least ``k`` successes in ``n`` trials of chance ``p``; relative error below 1e-9."""
    return at_most(n, n - k, 1.0 - p)


def _falling(n: int, k: int, p: float) -> float:
    """Sum of the chances of k, k-1, … 0 successes for k at or below the mean, where they fall fast."""
    if p <= 0:
        return 1.0
    if p >= 1:
        return 0.0
    term = 1.0
    total = 1.0
    odds = (1.0 - p) / p
    for j in range(k, 0, -1):
        term *= j / (n - j + 1) * odds
        total += term
        if term < total * 1e-17:
            break
    return min(1.0, math.exp(log_pmf(n, k, p) + math.log(total)))


def upper_bound(failures: int, n: int, confidence: float = CONFIDENCE) -> float:
    """Clopper-Pearson: the true failure chance is below this, wrong with at most 1 - ``confidence``.

    0 of 300 gives 1.0 %, 0 of 3,000 gives 0.1 % at 95 %. ``n`` = 0 says nothing: 1.0.
    """
    if failures >= n:
        return 1.0
    if failures == 0:
        return 1.0 - float((1.0 - confidence) ** (1.0 / n))
    low, high = failures / n, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if at_most(n, failures, middle) > 1.0 - confidence else (low, middle)
    return high


@dataclass(frozen=True)
class EqualShares:
    """Result of the test for unequal shares."""

    n: int
    shares: Mapping[str, float]  # by backend, in the order given
    p_value: float  # chance of a split at least so uneven when every backend is equal
    smallest_shift: float | None  # change of one share that this n shows with 99.9 % power
    unequal: bool  # proven at alpha
    outside: tuple[str, ...]  # backends whose observed share is farther from equal than the tolerance


def equal_shares(
    counts: Mapping[str, int], *, tolerance: float, alpha: float = ALPHA, power: float = POWER,
) -> EqualShares:
    """Do the backends take equal shares? Calls equal, independent picks unequal with at most ``alpha``.

    Two backends: exact two-sided binomial test (twice the smaller tail). More: the same for each backend
    against 1/k, Bonferroni-corrected by k. Splits more even than chance (round robin) are never unequal.
    ``outside`` adds no false alarms from ``sample_size`` on: there the tolerance is past the critical value.
    """
    n, k = sum(counts.values()), len(counts)
    if n == 0 or k == 0:
        return EqualShares(n, dict.fromkeys(counts, 0.0), 1.0, None, False, ())
    shares = {name: count / n for name, count in counts.items()}
    smallest = min(min(at_most(n, c, 1 / k), at_least(n, c, 1 / k)) for c in counts.values())
    p_value = 1.0 if k == 1 else min(1.0, 2 * smallest * (1 if k == 2 else k))
    outside = tuple(name for name, share in shares.items() if abs(share - 1 / k) > tolerance + 1e-12)
    return EqualShares(n, shares, p_value, smallest_shift(n, k, alpha, power), p_value <= alpha, outside)


@lru_cache(maxsize=4096)
def acceptance(n: int, backends: int, alpha: float = ALPHA) -> tuple[int, int]:
    """Lowest and highest count of one backend that ``equal_shares`` does not call unequal."""
    tail = alpha / (2 * (1 if backends == 2 else backends))
    p = 1 / backends
    low = _first(0, int(n * p), lambda count: at_most(n, count, p) > tail)
    high = n - _first(0, n - math.ceil(n * p), lambda rest: at_least(n, n - rest, p) > tail)
    return low, high


def shift_power(n: int, backends: int, shift: float, alpha: float = ALPHA) -> float:
    """Exact chance that ``equal_shares`` sees one backend take ``shift`` more, or less, than its share.

    The worse of both directions; a lower bound for more than two backends, whose other shares shift too.
    """
    low, high = acceptance(n, backends, alpha)
    more, less = 1 / backends + shift, 1 / backends - shift
    up = at_least(n, high + 1, more) + at_most(n, low - 1, more) if more < 1 else 1.0
    down = at_most(n, low - 1, less) + at_least(n, high + 1, less) if less > 0 else 1.0
    return min(up, down)


@lru_cache(maxsize=64)
def sample_size(backends: int, shift: float, alpha: float = ALPHA, power: float = POWER) -> int:
    """Fewest attempts from which on a change of one share by ``shift`` is seen with ``power`` (exact).

    Two backends, 10 points, 99.9 %, alpha 1e-6: about 1,620; one backend needs none.
    """
    if backends < 2:
        return 1
    n = 16
    while shift_power(n, backends, shift, alpha) < power:
        n *= 2
    low = n // 2
    while n - low > 64:
        middle = (low + n) // 2
        low, n = (low, middle) if shift_power(middle, backends, shift, alpha) >= power else (middle, n)
    # The power is a sawtooth in n, so walk down from well above and stop at the first that falls short.
    n += 64
    while n > 1 and shift_power(n - 1, backends, shift, alpha) >= power:
        n -= 1
    return n


@lru_cache(maxsize=256)
def smallest_shift(n: int, backends: int, alpha: float = ALPHA, power: float = POWER) -> float | None:
    """The smallest change of one share that ``n`` attempts show with ``power``; None when none is."""
    if backends < 2 or n < 1:
        return None
    low, high = 0.0, 1 - 1 / backends
    if shift_power(n, backends, high - 1e-9, alpha) < power:
        return None
    for _ in range(30):
        middle = (low + high) / 2
        low, high = (low, middle) if shift_power(n, backends, middle, alpha) >= power else (middle, high)
    return high


def unseen_chance(n: int, backends: int) -> float:
    """At most this is the chance that ``n`` independent equal picks leave one of ``backends`` unseen."""
    return 1.0 if n == 0 else min(1.0, backends * (1 - 1 / backends) ** n) if backends > 1 else 0.0


def cover_size(backends: int, alpha: float = ALPHA) -> int:
    """Fewest attempts after which an unseen backend is no chance (at most ``alpha``): 21 for two."""
    if backends < 2:
        return 1
    return math.ceil(math.log(alpha / backends) / math.log1p(-1 / backends))


@dataclass(frozen=True)
class Quantile:
    """A quantile of a sample with its order-statistic interval; an end is None when n is too small for it."""

    n: int
    value: float
    low: float | None
    high: float | None


def quantile(values: Sequence[float], q: float, confidence: float = CONFIDENCE) -> Quantile:
    """The ``q`` quantile (nearest rank) and a distribution-free interval; each end is wrong with at most
    (1 - ``confidence``) / 2. Raises ValueError on an empty sample.
    """
    if not values:
        raise ValueError("a quantile needs at least one value")
    ordered, n, wrong = sorted(values), len(values), (1 - confidence) / 2
    rank = min(n, max(1, math.ceil(n * q)))
    below = sum(1 for k in range(n) if at_most(n, k, q) <= wrong) if at_most(n, 0, q) <= wrong else 0
    high = quantile_bound(ordered, q, 1 - wrong)
    return Quantile(n, ordered[rank - 1], ordered[below - 1] if below else None, high)


def quantile_bound(values: Sequence[float], q: float, confidence: float = CONFIDENCE) -> float | None:
    """The true ``q`` quantile is at most this, wrong with at most 1 - ``confidence``; None: n too small.

    A bound of p99 at 95 % needs n ≥ 299, one of p99.9 n ≥ 2,995.
    """
    n = len(values)
    if n == 0 or at_most(n, n - 1, q) < confidence:
        return None
    rank = _first(0, n - 1, lambda k: at_most(n, k, q) >= confidence) + 1
    return sorted(values)[rank - 1]


def _first(low: int, high: int, holds: Callable[[int], bool]) -> int:
    """The first of low … high for which the monotone ``holds`` is true; ``high`` when none before it is."""
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(middle) else (middle + 1, high)
    return low
