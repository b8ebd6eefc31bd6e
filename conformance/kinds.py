"""The kinds of expectation that judge a series of attempts: what was seen → does it hold. Pure.

``every settles shares covers single longest_gap lost``. An attempt that the prober itself failed at
(``error``) proves nothing: it makes the check unknown, unless another attempt fails it. The kinds that judge
values are in ``values.py``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from conformance import outages, statistics
from conformance.checks import (
    Attempt,
    Check,
    Judge,
    ParameterError,
    Verdict,
    chance_of,
    expectation_of,
    many,
    names_of,
    number_of,
)
from conformance.expectations import Answered, Expectation


def every(attempts: Sequence[Attempt], params: Mapping[str, Any]) -> Check:
    """All attempts are ``acceptable``. The 95 % upper bound of what may still fail is reported."""
    acceptable = expectation_of(params)
    sent = _sent(attempts)
    bad = [one for one in sent if not acceptable.accepts(one.outcome)]
    bound = statistics.upper_bound(len(bad), len(sent))
    numbers = {"n": len(sent), "violations": len(bad), "bound95": bound}
    expected = f"each of {many(len(sent), 'attempt')} {acceptable.sentence()}"
    if bad:
        ended = (
            one.outcome.kind if one.outcome.kind != "answered" else acceptable.objection(one.outcome)
            for one in bad
        )
        tally = Counter(ended).most_common(3)
        kinds = ", ".join(f"{count} × {what}" for what, count in tally)
        first = acceptable.objection(bad[0].outcome)
        said = f"{first}; {len(bad)} of {len(sent)} not acceptable: {kinds}"
        return Check(Verdict.FAIL, expected, said, bad[0], numbers)
    return _unless_errors(attempts, expected, f"all {len(sent)} acceptable", numbers)


def settles(attempts: Sequence[Attempt], params: Mapping[str, Any]) -> Check:
    """The first attempt from which all later ones are acceptable comes ``within`` seconds after ``since``.

    Attempts sent before ``since`` do not count. At least ``streak`` of them (default 1) must be acceptable.
    """
    acceptable = expectation_of(params)
    within, since = number_of(params, "within"), number_of(params, "since")
    later = [one for one in attempts if one.outcome.at >= since]
    sent = _sent(later)
    expected = f"{acceptable.sentence()} within {within:g} s, and from then on"
    if not later:
        raise ParameterError(f"no attempt was sent after {since:g} s, from when it has to settle")
    bad = [number for number, one in enumerate(sent) if not acceptable.accepts(one.outcome)]
    start = bad[-1] + 1 if bad else 0
    numbers: dict[str, Any] = {"n": len(sent)}
    if start == len(sent) and sent:
        last = sent[-1]
        said = (f"never: {acceptable.objection(last.outcome)} at the last of {many(len(sent), 'attempt')}, "
                f"{last.outcome.at - since:.3f} s on")
        return Check(Verdict.FAIL, expected, said, last, numbers)
    if not sent:
        return _unless_errors(later, expected, "", numbers)
    took, streak = sent[start].outcome.at - since, int(number_of(params, "streak", 1))
    numbers["settled_s"] = round(took, 6)
    if len(sent) - start < streak:
        said = f"not settled: only the last {len(sent) - start} of {many(len(sent), 'attempt')} so"
        return Check(Verdict.FAIL, expected, said, sent[bad[-1]] if bad else sent[0], numbers)
    if took > within:
        decided = sent[bad[-1]] if bad else sent[0]
        return Check(Verdict.FAIL, expected, f"settled after {took:.3f} s", decided, numbers)
    return _unless_errors(later, expected, f"settled after {took:.3f} s", numbers)


def shares(attempts: Sequence[Attempt], params: Mapping[str, Any]) -> Check:
    """Each of ``backends`` takes its equal share, within ``tolerance``, and nobody else answers.

    Fails when the exact test proves the shares unequal at ``alpha``, or when, with ``minimum`` attempts or
    more (default: enough to see a shift of the tolerance with 99.9 %), one lies outside. Fewer are unknown.
    """
    backends = names_of(params, "backends")
    alpha, tolerance = chance_of(params, "alpha", statistics.ALPHA), chance_of(params, "tolerance", 0.10)
    minimum = int(number_of(params, "minimum", statistics.sample_size(len(backends), tolerance, alpha)))
    expected = (f"each of {len(backends)} backends takes {1 / len(backends):.1%} ± {tolerance:.0%} of at "
                f"least {minimum} connections, and nobody else any")
    stray = _stray(attempts, backends, expected)
    if stray:
        return stray
    sent = _sent(attempts)
    counts = {name: sum(one.outcome.by == name for one in sent) for name in backends}
    result = statistics.equal_shares(counts, tolerance=tolerance, alpha=alpha)
    split = " / ".join(f"{share:.1%}" for share in result.shares.values())
    numbers = {
        "n": result.n, "shares": dict(result.shares), "p_value": result.p_value,
        "smallest_shift": result.smallest_shift, "minimum": minimum,
    }
    actual = f"shares {split} of {result.n} (p = {result.p_value:.2g} for equal shares)"
    decided = sent[-1] if sent else None
    if result.unequal or (result.outside and result.n >= minimum):
        most = max(counts, key=lambda name: abs(result.shares[name] - 1 / len(backends)))
        said = f"{actual}; {most} took {result.shares[most]:.1%}"
        return Check(Verdict.FAIL, expected, said, decided, numbers)
    if result.n < minimum:
        return Check(Verdict.UNKNOWN, expected, f"{actual}: too few to say", decided, numbers)
    return _unless_errors(attempts, expected, actual, numbers)


def covers(attempts: Sequence[Attempt], params: Mapping[str, Any]) -> Check:
    """Every one of ``backends`` answers at least once, and nobody else.

    A backend unseen by chance fails with at most ``alpha``; fewer attempts than that takes are unknown.
    """
    backends, alpha = names_of(params, "backends"), chance_of(params, "alpha", statistics.ALPHA)
    expected = f"every one of {many(len(backends), 'backend')} answers, and nobody else"
    stray = _stray(attempts, backends, expected)
    if stray:
        return stray
    sent = _sent(attempts)
    unseen = sorted(set(backends) - {one.outcome.by for one in sent})
    seen = len(backends) - len(unseen)
    numbers = {"n": len(sent), "backends_seen": seen}
    actual = f"{seen} of {len(backends)} backends answered {many(len(sent), 'attempt')}"
    if unseen:
        enough = statistics.cover_size(len(backends), alpha)
        verdict = Verdict.FAIL if len(sent) >= enough else Verdict.UNKNOWN
        said = f"{actual}; never {', '.join(unseen)} ({enough} attempts are enough to say)"
        return Check(verdict, expected, said, sent[-1] if sent else None, numbers)
    return _unless_errors(attempts, expected, actual, numbers)


def single(attempts: Sequence[Attempt], params: Mapping[str, Any]) -> Check:
    """One backend answers all attempts (two at least), one of ``backends`` where these are given."""
    backends = names_of(params, "backends") if "backends" in params else None
    sent = _sent(attempts)
    expected = f"one and the same backend answers {many(len(sent), 'attempt')}"
    stray = _stray(attempts, backends, expected)
    if stray:
        return stray
    numbers = {"n": len(sent), "backends_seen": len({one.outcome.by for one in sent})}
    for one in sent:
        if one.outcome.by != sent[0].outcome.by:
            said = f"{sent[0].outcome.by} at first, then {one.outcome.by}"
            return Check(Verdict.FAIL, expected, said, one, numbers)
    if len(sent) < 2:
        return Check(Verdict.UNKNOWN, expected, "fewer than two attempts cannot differ", None, numbers)
    return _unless_errors(attempts, expected, f"only {sent[0].outcome.by}", numbers)


def longest_gap(attempts: Sequence[Attempt], params: Mapping[str, Any]) -> Check:
    """No stretch without success, from the last good attempt before to the first after, is over ``bound`` s.

    Each origin is judged apart. A gap still open at the end counts to the end of the last attempt. With
    ``since``, attempts before it are the control, and noise above a fifth of the bound makes it unknown.
    """
    if "since" in params:
        return _after_fault(attempts, params)
    acceptable, bound = expectation_of(params, Answered()), number_of(params, "bound")
    expected = f"never longer than {bound:g} s without: {acceptable.sentence()}"
    longest, decided = 0.0, None
    for origin in sorted({one.origin for one in attempts}):
        sent = _sent([one for one in attempts if one.origin == origin])
        never = not any(acceptable.accepts(one.outcome) for one in sent)
        for gap in outages.gaps(_marks(sent, acceptable)):
            seconds = float("inf") if never else gap.seconds
            if seconds > longest:
                longest, decided = seconds, next(one for one in sent if one.outcome.at == gap.began)
    never = longest == float("inf")
    numbers = {"n": len(_sent(attempts)), "longest_gap_s": None if never else round(longest, 6)}
    said = "never as it must be" if never else f"longest gap {longest:.3f} s"
    if longest > bound:
        return Check(Verdict.FAIL, expected, said, decided, numbers)
    return _unless_errors(attempts, expected, said, numbers)


NOISE = 0.2  # of the bound: above it the measurement says nothing


def _after_fault(attempts: Sequence[Attempt], params: Mapping[str, Any]) -> Check:
    """One series around a fault: control, longest gap, outage, lost time, number of gaps, time to heal."""
    acceptable, bound = expectation_of(params, Answered()), number_of(params, "bound")
    since, interval = number_of(params, "since"), number_of(params, "interval")
    sent = _sent(attempts)
    marks = _marks(sent, acceptable)
    if not any(mark.at < since for mark in marks) or not any(mark.at >= since for mark in marks):
        raise ParameterError(f"there are no attempts both before and after the fault at {since:.3f} s")
    seen = outages.measure(marks, since)
    longest = seen.longest
    judged = [mark for mark in marks if mark.at >= since]
    numbers = {
        "n": len(sent), "control_gap_s": round(seen.control, 6), "standstill_s": round(seen.still, 6),
        "longest_gap_s": round(longest.seconds, 6) if longest else 0.0,
        "outage_s": round(longest.outage, 6) if longest else 0.0, "gaps": len(seen.gaps),
        "lost_s": round(outages.lost(judged, interval), 6),
        "healed_s": round(seen.gaps[-1].ended - since, 6) if seen.gaps else 0.0,
    }
    expected = f"never longer than {bound:g} s without: {acceptable.sentence()}"
    doubt = _doubt(seen, bound, interval)
    if doubt:
        return Check(Verdict.UNKNOWN, expected, f"{doubt}; run again on a quieter machine", None, numbers)
    if longest and longest.seconds > bound:
        said = f"{'longest gap' if longest.closed else 'never again: a gap of'} {longest.seconds:.3f} s"
        decided = next(one for one in sent if one.outcome.at == longest.began)
        return Check(Verdict.FAIL, expected, said, decided, numbers)
    said = f"longest gap {numbers['longest_gap_s']:.3f} s, {numbers['gaps']} in all"
    return _unless_errors(attempts, expected, said, numbers)


def _doubt(seen: outages.Outages, bound: float, interval: float) -> str:
    """Why the measurement itself decides nothing; empty when it does.

    A gap runs from good to good and so is never too short; but it may be too long by a standstill of the
    prober, and a standstill may hide an outage of its own length.
    """
    if seen.control > NOISE * bound:
        return f"the measurement is off by {seen.control:.3f} s without a fault, over a fifth of {bound:g} s"
    gap = seen.longest.seconds if seen.longest else 0.0
    idle = max(0.0, seen.still - interval)
    if seen.still > bound or bound < gap <= bound + idle:
        return f"the prober itself sent nothing for {seen.still:.3f} s, too long for a bound of {bound:g} s"
    return ""


def _marks(sent: Sequence[Attempt], acceptable: Expectation) -> list[outages.Mark]:
    return [
        outages.Mark(one.outcome.at, acceptable.accepts(one.outcome), one.outcome.ms / 1000) for one in sent
    ]


def lost(attempts: Sequence[Attempt], params: Mapping[str, Any]) -> Check:
    """Attempts not acceptable, each worth ``interval`` seconds of its schedule, make at most ``bound`` s."""
    acceptable, bound, interval = (
        expectation_of(params, Answered()), number_of(params, "bound"), number_of(params, "interval"))
    bad = [one for one in _sent(attempts) if not acceptable.accepts(one.outcome)]
    seconds = len(bad) * interval
    numbers = {"n": len(_sent(attempts)), "violations": len(bad), "lost_s": round(seconds, 6)}
    expected = f"at most {bound:g} s lost in all without: {acceptable.sentence()}"
    actual = f"{seconds:.3f} s lost, {len(bad)} of {numbers['n']} attempts"
    if seconds > bound:
        return Check(Verdict.FAIL, expected, actual, bad[0], numbers)
    return _unless_errors(attempts, expected, actual, numbers)


SERIES: Mapping[str, Judge] = {
    "every": every, "settles": settles, "shares": shares, "covers": covers, "single": single,
    "longest_gap": longest_gap, "lost": lost,
}
def _unless_errors(
    attempts: Sequence[Attempt], expected: str, actual: str, numbers: Mapping[str, Any],
) -> Check:
    """Pass, or unknown when the prober itself failed at an attempt."""
    errors = [one for one in attempts if one.outcome.kind == "error"]
    if not errors:
        return Check(Verdict.PASS, expected, actual, None, numbers)
    detail = errors[0].outcome.detail or "it did not say why"
    said = f"the prober itself failed at {len(errors)} of {many(len(attempts), 'attempt')}: {detail}"
    return Check(Verdict.UNKNOWN, expected, said, errors[0], numbers)


def _stray(attempts: Sequence[Attempt], backends: Sequence[str] | None, expected: str) -> Check | None:
    """A failed check when an attempt was not answered, or by a stranger; else None."""
    acceptable = Answered(None if backends is None else frozenset(backends))
    sent = _sent(attempts)
    bad = [one for one in sent if not acceptable.accepts(one.outcome)]
    if not bad:
        return None
    said = f"{acceptable.objection(bad[0].outcome)}; {len(bad)} of {len(sent)} attempts so"
    return Check(Verdict.FAIL, expected, said, bad[0], {"n": len(sent), "violations": len(bad)})


def _sent(attempts: Sequence[Attempt]) -> list[Attempt]:
    """Those that say something about who is judged."""
    return [one for one in attempts if one.outcome.kind != "error"]
