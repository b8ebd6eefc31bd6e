"""The exact statistics agree with scipy, and their error rates are computed exactly, not simulated."""

from __future__ import annotations

import itertools
import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from conformance.statistics import (
    ALPHA,
    POWER,
    acceptance,
    at_least,
    at_most,
    cover_size,
    equal_shares,
    log_pmf,
    quantile,
    quantile_bound,
    sample_size,
    shift_power,
    smallest_shift,
    unseen_chance,
    upper_bound,
)

chances = st.floats(0.001, 0.999)


@settings(max_examples=150, deadline=None)
@given(st.integers(1, 10_000), st.data(), chances)
def test_binomial_tails_agree_with_scipy(n: int, data: st.DataObject, p: float) -> None:
    k = data.draw(st.integers(-1, n + 1))
    assert at_most(n, k, p) == pytest.approx(stats.binom.cdf(k, n, p), rel=1e-7, abs=1e-290)
    assert at_least(n, k, p) == pytest.approx(stats.binom.sf(k - 1, n, p), rel=1e-7, abs=1e-290)
    assert math.exp(log_pmf(n, k, p)) == pytest.approx(stats.binom.pmf(k, n, p), rel=1e-7, abs=1e-290)


@pytest.mark.parametrize("p", [0.0, 1.0])
def test_binomial_tails_at_certainty(p: float) -> None:
    for k in range(4):
        assert at_most(3, k, p) == stats.binom.cdf(k, 3, p)
        assert at_least(3, k, p) == stats.binom.sf(k - 1, 3, p)


@pytest.mark.parametrize(
    ("failures", "n", "bound"),
    [
        (0, 10, 0.26),
        (0, 200, 0.015),
        (0, 300, 0.010),
        (0, 3000, 0.0010),
        (0, 0, 1.0),
        (5, 5, 1.0),
    ],
)
def test_upper_bounds_of_the_catalogue(failures: int, n: int, bound: float) -> None:
    assert upper_bound(failures, n) == pytest.approx(bound, rel=0.01)


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 5_000), st.data(), st.sampled_from([0.9, 0.95, 0.999]))
def test_upper_bound_is_clopper_pearson(n: int, data: st.DataObject, confidence: float) -> None:
    failures = data.draw(st.integers(0, n - 1))
    exact = stats.beta.ppf(confidence, failures + 1, n - failures)
    assert upper_bound(failures, n, confidence) == pytest.approx(exact, rel=1e-6)


@pytest.mark.parametrize(
    ("backends", "shift", "n"),
    [
        (2, 0.10, 1620),
        (3, 0.10, 1550),
        (5, 0.10, 1220),
        (2, 0.05, 6560),
        (3, 0.05, 6110),
        (5, 0.05, 4670),
        (2, 0.20, 390),
    ],
)
def test_sample_sizes_are_those_of_the_catalogue(backends: int, shift: float, n: int) -> None:
    assert sample_size(backends, shift) == pytest.approx(n, rel=0.05)


@pytest.mark.parametrize(("backends", "shift"), [(2, 0.10), (3, 0.10), (5, 0.10), (2, 0.05), (10, 0.10)])
def test_from_the_sample_size_on_the_power_holds(backends: int, shift: float) -> None:
    n = sample_size(backends, shift)
    assert all(shift_power(more, backends, shift) >= POWER for more in range(n, n + 40))
    assert shift_power(n - 1, backends, shift) < POWER


def chance_of_failing(n: int, p: float, tolerance: float = 0.10) -> float:
    """Exact chance that two backends with shares p and 1 - p are called unequal or lie outside."""
    total = 0.0
    for count in range(n + 1):
        result = equal_shares({"a": count, "b": n - count}, tolerance=tolerance)
        if result.unequal or result.outside:
            total += stats.binom.pmf(count, n, p)
    return total


@pytest.mark.parametrize("n", [1586, 1620, 2000])
def test_a_healthy_pair_fails_at_most_once_in_a_million_and_a_60_40_pair_almost_always(n: int) -> None:
    assert chance_of_failing(n, 0.5) <= ALPHA
    assert chance_of_failing(n, 0.6) >= POWER
    assert chance_of_failing(n, 0.4) >= POWER


def test_the_tolerance_adds_no_false_alarms_from_the_sample_size_on() -> None:
    for backends in (2, 3, 4, 5, 8):
        n = sample_size(backends, 0.10)
        low, high = acceptance(n, backends)
        assert low / n > 1 / backends - 0.10
        assert high / n < 1 / backends + 0.10


@pytest.mark.parametrize(("backends", "n", "alpha"), [(3, 60, 1e-3), (4, 24, 1e-2), (3, 90, 1e-6)])
def test_more_than_two_equal_backends_are_called_unequal_with_at_most_alpha(
    backends: int,
    n: int,
    alpha: float,
) -> None:
    low, high = acceptance(n, backends, alpha)
    alarm = 0.0
    for cuts in itertools.combinations(range(n + backends - 1), backends - 1):
        edges = (-1, *cuts, n + backends - 1)
        counts = [after - before - 1 for before, after in itertools.pairwise(edges)]
        if any(not low <= count <= high for count in counts):
            alarm += math.exp(math.lgamma(n + 1) - sum(math.lgamma(c + 1) for c in counts)) / backends**n
    assert alarm <= alpha


@settings(max_examples=150, deadline=None)
@given(st.lists(st.integers(0, 3000), min_size=2, max_size=6))
def test_unequal_means_outside_the_acceptance_region(counts: list[int]) -> None:
    n, named = sum(counts), {str(number): count for number, count in enumerate(counts)}
    result = equal_shares(named, tolerance=0.1)
    if n:
        low, high = acceptance(n, len(counts))
        assert result.unequal == any(not low <= count <= high for count in counts)
        assert sum(result.shares.values()) == pytest.approx(1)
    assert 0 <= result.p_value <= 1


@given(st.integers(0, 4000))
def test_two_backends_are_tested_as_scipy_does(count: int) -> None:
    result = equal_shares({"a": count, "b": 4000 - count}, tolerance=0.1)
    assert result.p_value == pytest.approx(stats.binomtest(count, 4000, 0.5).pvalue, rel=1e-6, abs=1e-300)


@pytest.mark.parametrize("backends", [1, 2, 3, 5])
@pytest.mark.parametrize("n", [0, 7, 1620, 10_000])
def test_round_robin_is_never_unequal(backends: int, n: int) -> None:
    counts = {str(one): n // backends + (one < n % backends) for one in range(backends)}
    result = equal_shares(counts, tolerance=0.10)
    assert not result.unequal
    assert result.p_value > 0.05


def test_the_smallest_shift_is_what_the_sample_shows() -> None:
    for n, backends in ((1620, 2), (1620, 3), (6560, 2)):
        shift = smallest_shift(n, backends)
        assert shift is not None
        assert shift_power(n, backends, shift) >= POWER
        assert shift_power(n, backends, shift * 0.98) < POWER
    assert smallest_shift(10, 2) is None
    assert smallest_shift(1000, 1) is None


def test_an_unseen_backend_is_no_chance_from_the_cover_size_on() -> None:
    for backends in (2, 3, 5, 20):
        n = cover_size(backends)
        assert unseen_chance(n, backends) <= ALPHA < unseen_chance(n - 1, backends)
    assert (cover_size(1), cover_size(2)) == (1, 21)
    assert unseen_chance(0, 3) == 1.0
    assert unseen_chance(5, 1) == 0.0


@pytest.mark.parametrize(("q", "enough"), [(0.5, 5), (0.9, 29), (0.99, 299), (0.999, 2995)])
def test_a_quantile_is_bounded_from_the_n_of_the_catalogue_on(q: float, enough: int) -> None:
    assert quantile_bound(range(enough), q) == enough - 1
    assert quantile_bound(range(enough - 1), q) is None


def test_the_interval_of_a_quantile_covers_it_as_often_as_promised() -> None:
    """Ranks are distribution-free: the coverage is exact from the binomial."""
    for n, q in ((100, 0.5), (1000, 0.9), (2000, 0.99)):
        found = quantile([float(value) for value in range(1, n + 1)], q)
        assert found.low is not None
        assert found.high is not None
        assert stats.binom.cdf(found.low - 1, n, q) <= 0.025
        assert stats.binom.cdf(found.low, n, q) > 0.025
        assert stats.binom.sf(found.high - 1, n, q) <= 0.025
        assert stats.binom.sf(found.high - 2, n, q) > 0.025


def test_a_quantile_of_few_values_has_open_ends_and_order_does_not_matter() -> None:
    values = [float(value) for value in range(10)]
    random.Random(1).shuffle(values)
    found = quantile(values, 0.99)
    assert (found.n, found.value, found.high) == (10, 9.0, None)
    assert quantile([3.0], 0.5).low is None
    with pytest.raises(ValueError, match="at least one"):
        quantile([], 0.5)
