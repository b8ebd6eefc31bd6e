"""Verdicts merge by the written order, depend only on what was seen, and say seven things of a failure."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conformance import kinds, values
from conformance.evidence import KINDS, EvidenceError, Outcome, Record
from conformance.selftest.runs import ANSWERED, done, expect, footer, header, probes, run, series, value
from conformance.verdict import Overall, Verdict, exit_code, judge

PASSES = [probes(series("ok")), expect("every", ANSWERED)]
FAILS = [probes(series("timeout")), expect("every", ANSWERED)]


def record(kind: str, **more: Any) -> Record:
    return {"type": kind, "id": "DNS-01", "reason": f"because {kind}", "traceback": "", **more}


@pytest.mark.parametrize(
    ("records", "verdict", "reason"),
    [
        ([*PASSES, done()], "pass", ""),
        ([*FAILS, done()], "fail", ""),
        ([done()], "suite-error", "checked nothing: no expectation was recorded"),
        ([], "suite-error", "selected, but nothing says that it ended"),
        ([*PASSES], "suite-error", "selected, but nothing says that it ended"),
        ([record("unsupported")], "unsupported", "because unsupported"),
        ([record("not-run")], "not-run", "because not-run"),
        ([record("unknown")], "unknown", "because unknown"),
        ([record("error")], "suite-error", "because error"),
        ([*FAILS, record("error")], "fail", ""),
        ([*FAILS, record("unknown"), done()], "fail", ""),
        ([*PASSES, record("error")], "suite-error", "because error"),
        ([*PASSES, record("unknown"), done()], "unknown", "because unknown"),
        ([*PASSES, record("unsupported"), record("not-run")], "not-run", "because not-run"),
        ([record("error"), record("unknown")], "suite-error", "because error"),
    ],
)
def test_the_worst_counts_in_the_written_order(records: list[Record], verdict: str, reason: str) -> None:
    ruling = judge(run(*records)).rulings[0]
    assert (ruling.verdict, ruling.reason) == (verdict, reason)


def test_an_interrupted_run_leaves_the_rest_not_run_and_is_not_green() -> None:
    judged = judge(run(*PASSES, done(), ids=("DNS-01", "LB-01"), interrupted=True, level="ext"))
    assert [ruling.verdict for ruling in judged.rulings] == ["pass", "not-run"]
    assert judged.interrupted
    assert exit_code(judged) == 2


def test_what_was_not_selected_is_the_suites_error() -> None:
    ruling = judge(run(*PASSES, done(), {**done("LB-01")})).rulings[1]
    assert (ruling.id, ruling.verdict) == ("LB-01", Verdict.SUITE_ERROR)


@pytest.mark.parametrize(
    ("verdicts", "level", "overall", "code"),
    [
        (["pass"], "core", Overall.CONFORMANT, 0),
        (["pass", "unsupported"], "ext", Overall.CONFORMANT, 0),
        (["pass", "unsupported"], "core", Overall.PARTIAL, 2),
        (["pass", "not-run"], "core", Overall.PARTIAL, 2),
        (["pass", "unknown"], "ext", Overall.UNKNOWN, 2),
        (["unknown", "not-run"], "core", Overall.UNKNOWN, 2),
        (["pass", "fail", "unknown", "error"], "impl", Overall.FAILED, 1),
        (["pass", "error", "unknown"], "core", Overall.SUITE_ERROR, 4),
        (["unsupported"], "ext", Overall.NOTHING, 3),
        ([], "core", Overall.NOTHING, 3),
    ],
)
def test_the_whole_and_its_exit_status(verdicts: list[str], level: str, overall: Overall, code: int) -> None:
    ids = [f"DNS-{number:02}" for number in range(1, len(verdicts) + 1)]
    records: list[Record] = []
    for id, verdict in zip(ids, verdicts, strict=True):
        if verdict in {"pass", "fail"}:
            seen = probes(series("ok" if verdict == "pass" else "refused"), id=id)
            records += [seen, expect("every", ANSWERED, id=id), done(id)]
        else:
            records.append(record(verdict, id=id))
    judged = judge(run(*records, ids=ids, level=level))
    assert judged.overall is overall
    assert exit_code(judged) == code


def test_a_failure_says_seven_things_in_order_and_the_outcomes_until_the_one_that_decided() -> None:
    seen = series(*["ok"] * 14, "refused", "ok", "timeout")
    finding = (
        judge(
            run(
                {"type": "step", "id": "DNS-01", "at": 0.0, "text": "made a Service"},
                {"type": "fault", "id": "DNS-01", "at": 0.9, "text": "cut the link"},
                {"type": "step", "id": "DNS-01", "at": 1.6, "text": "after it was decided"},
                probes(seen),
                expect("every", ANSWERED, says="Each connection is answered"),
                {"type": "snapshot", "id": "DNS-01", "node": "n", "name": "nft", "file": "DNS-01/n-nft.txt"},
                done(),
            )
        )
        .rulings[0]
        .findings[0]
    )
    assert [name for name, _ in finding.lines()] == [
        "requirement",
        "done",
        "expected",
        "actual",
        "where",
        "when",
        "next step",
    ]
    assert finding.requirement == "DNS-01 What DNS-01 says."
    assert finding.done == "made a Service; then cut the link"
    assert finding.expected == "Each connection is answered: each of 17 attempts answered"
    assert finding.actual == "refused after 0.0 ms; 2 of 17 not acceptable: 1 × refused, 1 × timeout"
    assert finding.where == "pod-a → 10.43.0.10:53 (tcp)"
    assert finding.when == "1.400 s into the run (2026-01-01T00:00:01.400+00:00)"
    assert "stored on failure: 1 file in DNS-01" in finding.next_step
    assert len(finding.last) == 10
    assert "refused" in finding.last[-1]
    assert "0.500 s" in finding.last[0]


def test_a_start_that_is_no_time_leaves_the_seconds() -> None:
    finding = judge(run(*FAILS, done(), started="yesterday")).rulings[0].findings[0]
    assert finding.when == "0.000 s into the run"


def test_a_failed_value_says_what_came() -> None:
    finding = (
        judge(
            run(
                value({"code": 201}),
                expect("includes", {"expected": {"code": 422}}, name="v"),
                done(),
            )
        )
        .rulings[0]
        .findings[0]
    )
    assert finding.expected == 'It is so: something with {"code": 422}'
    assert finding.actual == '{"code": 201}'
    assert finding.done == "asked for v"
    assert finding.last == ()


@pytest.mark.parametrize(
    "records",
    [
        [],
        [header("DNS-01")],
        [footer()],
        [header("DNS-01"), done()],
        [footer(), header("DNS-01")],
        [header("DNS-01"), footer(), footer()],
        [header("DNS-01"), {"type": "nothing"}, footer()],
    ],
)
def test_what_is_no_finished_run_is_refused(records: list[Record]) -> None:
    with pytest.raises(EvidenceError):
        judge(records)


# ------------------------------------------------------------------ properties

nonces = st.sampled_from(["", "a", "b", "x"])
outcomes = st.builds(
    Outcome,
    st.sampled_from(KINDS),
    nonces,
    st.sampled_from(["", "10.42.0.7:9", "?"]),
    st.floats(0, 9),
    st.floats(0, 3000),
    st.text(max_size=3),
)
acceptable = st.sampled_from(
    [
        {"answered": {}},
        {"answered": {"by": ["a"]}},
        {"ended": ["refused"]},
        {"answered": {"source": ["10.0.0.0/8"]}},
        {"one_of": [{"answered": {}}, {"ended": ["timeout"]}]},
        {"wrong": 1},
    ]
)
params = st.fixed_dictionaries(
    {},
    optional={
        "acceptable": acceptable,
        "within": st.floats(0, 5),
        "since": st.floats(0, 5),
        "bound": st.floats(0, 5),
        "interval": st.floats(0, 1),
        "backends": st.sampled_from([["a"], ["a", "b"], [], "a"]),
        "minimum": st.integers(0, 40),
        "tolerance": st.sampled_from([0.1, 0.3, 0, "x"]),
        "expected": nonces | st.none(),
        "pattern": st.sampled_from(["a", "(", 1]),
        "alpha": st.sampled_from([1e-6, 0.01]),
    },
)
any_kind = st.sampled_from([*kinds.SERIES, *values.VALUES, "other"])
ids = st.sampled_from(["DNS-01", "LB-01"])
names = st.sampled_from(["s", "v"])
middles = st.one_of(
    st.builds(
        lambda seen, id, name, origin: probes(seen, id=id, series=name, origin=origin),
        st.lists(outcomes, max_size=8),
        ids,
        names,
        st.sampled_from(["p", "q"]),
    ),
    st.builds(
        lambda kind, given, id, name: expect(kind, given, id=id, series=name), any_kind, params, ids, names
    ),
    st.builds(
        lambda kind, given, id, name: expect(kind, given, id=id, name=name), any_kind, params, ids, names
    ),
    st.builds(
        lambda seen, id, name: value(seen, id=id, name=name), nonces | st.none() | st.floats(0, 1), ids, names
    ),
    st.builds(lambda kind, id: record(kind, id=id), st.sampled_from(["error", "unknown", "not-run"]), ids),
    st.builds(done, ids),
)


@settings(max_examples=300, deadline=None)
@given(st.lists(middles, max_size=8), st.booleans())
def test_no_records_crash_the_verdict(records: list[Record], interrupted: bool) -> None:
    judged = judge(run(*records, interrupted=interrupted))
    assert exit_code(judged) in {0, 1, 2, 3, 4}
    for ruling in judged.rulings:
        assert bool(ruling.findings) == (ruling.verdict is Verdict.FAIL)
        assert bool(ruling.reason) == (ruling.verdict not in {Verdict.PASS, Verdict.FAIL})


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.dictionaries(st.sampled_from(["type", "id", "at", "n", "outcomes"]), st.none() | nonces),
        max_size=4,
    )
)
def test_what_is_no_record_is_refused_and_never_crashes(records: list[Record]) -> None:
    try:
        judge([header("DNS-01"), *records, footer()])
    except EvidenceError as error:
        assert str(error)


@settings(max_examples=200, deadline=None)
@given(st.lists(outcomes, min_size=1, max_size=12), st.sampled_from(list(kinds.SERIES)), params, st.randoms())
def test_the_order_in_which_probes_were_written_does_not_matter(
    seen: list[Outcome],
    kind: str,
    given_params: Record,
    rnd: random.Random,
) -> None:
    shuffled = list(seen)
    rnd.shuffle(shuffled)
    cut = rnd.randrange(len(shuffled) + 1)
    parts = [probes(shuffled[:cut]), probes(shuffled[cut:])]
    rnd.shuffle(parts)
    whole = judge(run(probes(seen), expect(kind, given_params), done()))
    assert judge(run(expect(kind, given_params), *parts, done())).rulings == whole.rulings


ALWAYS_WRONG = Outcome("answered", "x", "203.0.113.9:1")
GOOD_PARAMS: Record = {
    "acceptable": {"answered": {"by": ["a", "b"]}},
    "within": 2.0,
    "since": 0.0,
    "bound": 0.5,
    "interval": 0.2,
    "backends": ["a", "b"],
    "minimum": 6,
    "tolerance": 0.3,
}


@settings(max_examples=300, deadline=None)
@given(st.lists(outcomes, min_size=1, max_size=12), st.sampled_from(list(kinds.SERIES)), st.floats(0, 9))
def test_a_violating_outcome_never_makes_a_failure_good(seen: list[Outcome], kind: str, at: float) -> None:
    before = judge(run(probes(seen), expect(kind, GOOD_PARAMS), done())).rulings[0].verdict
    worse = [*seen, Outcome(ALWAYS_WRONG.kind, ALWAYS_WRONG.by, ALWAYS_WRONG.peer, at)]
    after = judge(run(probes(worse), expect(kind, GOOD_PARAMS), done())).rulings[0].verdict
    order = list(Verdict)
    assert order.index(after) <= order.index(before)


@settings(max_examples=100, deadline=None)
@given(st.lists(middles, max_size=6))
def test_a_recorded_failure_of_the_suite_never_makes_anything_green(records: list[Record]) -> None:
    for kind in ("error", "unknown", "not-run", "unsupported"):
        judged = judge(run(*records, record(kind)))
        assert judged.rulings[0].verdict is not Verdict.PASS
