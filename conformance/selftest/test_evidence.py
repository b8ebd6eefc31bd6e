"""Evidence is written line by line, read back as written, and refused when it was cut or is none."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conformance import evidence
from conformance.evidence import KINDS, Evidence, EvidenceError, Outcome, check, parse, read

SELECTED = [{"id": "DNS-01", "level": "core", "sentence": "It resolves."}]


def ticking() -> Callable[[], float]:
    """A clock that advances by a quarter second each time it is read."""
    moment = iter(range(1_000_000))
    return lambda: next(moment) / 4


def whole(path: Path) -> Evidence:
    """An evidence file with one record of each sort, still open."""
    pen = Evidence(path, clock=ticking())
    pen.header(run="r", started="2026-01-01T00:00:00+00:00", requirements=SELECTED, suite="0.1")
    pen.step("DNS-01", "made a Service")
    pen.probes(
        "DNS-01",
        series="s",
        origin="pod",
        target="10.43.0.10:53",
        protocol="udp",
        outcomes=[Outcome("answered", "a", "10.42.0.2:9", 0.5, 1.5, "", "10.42.0.2:9"), Outcome("timeout")],
    )
    pen.value("DNS-01", "answer", {"code": 0})
    pen.fault("DNS-01", "cut a link")
    pen.expect("DNS-01", "every", series="s", says="all", params={"acceptable": {"answered": {}}})
    pen.expect("DNS-01", "equals", name="answer", says="zero", params={"expected": {"code": 0}})
    pen.unsupported("DNS-01", "r")
    pen.not_run("DNS-01", "r")
    pen.error("DNS-01", "r", "trace")
    pen.unknown("DNS-01", "r")
    pen.snapshot("DNS-01", "n1", "nft", "nft.txt")
    pen.done("DNS-01", 1.0)
    return pen


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    pen = whole(tmp_path / "deep/run.jsonl")
    pen.close(ended="2026-01-01T00:00:09+00:00")
    pen.close(ended="again")
    records = read(pen.path)
    assert [record["type"] for record in records] == [
        "header",
        "step",
        "probes",
        "value",
        "fault",
        "expect",
        "expect",
        "unsupported",
        "not-run",
        "error",
        "unknown",
        "snapshot",
        "done",
        "footer",
    ]
    assert records[-1] == {
        "type": "footer",
        "ended": "2026-01-01T00:00:09+00:00",
        "requirements": 1,
        "interrupted": False,
    }
    assert evidence.outcomes_of(records[2])[0] == Outcome(
        "answered", "a", "10.42.0.2:9", 0.5, 1.5, "", "10.42.0.2:9"
    )


def test_each_line_is_on_disk_at_once(tmp_path: Path) -> None:
    pen = whole(tmp_path / "run.jsonl")
    lines = pen.path.read_text().splitlines()
    assert json.loads(lines[-1])["type"] == "done"


def test_what_a_killed_process_wrote_is_whole_but_refused_for_its_missing_footer(tmp_path: Path) -> None:
    program = (
        "import os, signal, sys; from pathlib import Path; from conformance.evidence import Evidence\n"
        "pen = Evidence(Path(sys.argv[1])); pen.header(run='r', started='s', requirements=[])\n"
        "pen.step('DNS-01', 'the last thing it did'); os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    path = tmp_path / "run.jsonl"
    root = Path(evidence.__file__).parents[1]
    done = subprocess.run(
        [sys.executable, "-c", program, str(path)],
        check=False,
        timeout=20,
        env={**os.environ, "PYTHONPATH": str(root)},
    )
    assert done.returncode == -signal.SIGKILL
    assert "the last thing it did" in path.read_text()
    with pytest.raises(EvidenceError, match=r"line 2 without a footer.*run again"):
        read(path)


@pytest.mark.parametrize("keep", range(13))
def test_a_file_cut_after_any_record_is_refused(tmp_path: Path, keep: int) -> None:
    pen = whole(tmp_path / "run.jsonl")
    pen.close(ended="e")
    lines = pen.path.read_text().splitlines(keepends=True)[:keep]
    with pytest.raises(EvidenceError, match=r"footer|header"):
        parse(lines)


def test_a_file_cut_at_any_byte_is_refused(tmp_path: Path) -> None:
    pen = whole(tmp_path / "run.jsonl")
    pen.close(ended="e")
    text = pen.path.read_text().rstrip("\n")
    for end in range(0, len(text), 7):
        with pytest.raises(EvidenceError):
            parse(text[:end].splitlines(keepends=True))


def test_a_cut_line_is_named(tmp_path: Path) -> None:
    pen = whole(tmp_path / "run.jsonl")
    text = pen.path.read_text()
    pen.path.write_text(text[:-5])
    with pytest.raises(EvidenceError, match=r"run.jsonl, line 13 is no JSON \(the file was cut"):
        read(pen.path)


def test_nothing_is_added_after_the_footer_and_no_file_is_written_over(tmp_path: Path) -> None:
    pen = whole(tmp_path / "run.jsonl")
    pen.close(ended="e")
    with pytest.raises(EvidenceError, match="has its footer already"):
        pen.step("DNS-01", "more")
    with pytest.raises(FileExistsError):
        Evidence(pen.path)


def test_an_unknown_schema_is_refused_with_what_reads_it(tmp_path: Path) -> None:
    pen = whole(tmp_path / "run.jsonl")
    pen.close(ended="e")
    text = pen.path.read_text().replace('"schema":1', '"schema":2', 1)
    with pytest.raises(EvidenceError, match=r"line 1 is of schema 2, this judge reads schema 1"):
        parse(text.splitlines())


def test_a_missing_or_binary_file_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(EvidenceError, match="cannot read evidence"):
        read(tmp_path / "none.jsonl")
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(EvidenceError, match="name a file that a run wrote"):
        read(tmp_path / "binary")


def line(**record: Any) -> str:
    return json.dumps(record)


HEADER = line(type="header", schema=1, run="r", started="s", requirements=SELECTED)
FOOTER = line(type="footer", ended="e", requirements=0, interrupted=False)
PROBES: dict[str, Any] = {
    "type": "probes",
    "id": "DNS-01",
    "at": 0,
    "series": "s",
    "from": "a",
    "to": "b",
    "protocol": "tcp",
    "n": 1,
    "outcomes": [[0, "answered", "", "", 0, "", ""]],
}


@pytest.mark.parametrize(
    ("middle", "said"),
    [
        ('{"type": "step"', "line 2 is no JSON"),
        ("[]", "line 2: a record is an object"),
        (line(type="stepp", id="x"), "no record is of type 'stepp'"),
        (line(type="step", id="DNS-01", at=0), "needs text, which is missing"),
        (line(type="step", id="DNS-01", at="0", text=""), "at of a step record is float or int"),
        (line(type="step", id="DNS-01", at=True, text=""), "not True"),
        ('{"type": "step", "id": "DNS-01", "at": NaN, "text": ""}', "at of a step record"),
        (line(**{**PROBES, "n": 2}), "n is 2, but there are 1 outcomes"),
        (
            line(**{**PROBES, "outcomes": [[0, "answerd", "", "", 0, "", ""]]}),
            "kind 'answerd' is none of answered",
        ),
        (line(**{**PROBES, "outcomes": [[0, "answered"]]}), "an outcome is \\[at, kind"),
        (line(**{**PROBES, "outcomes": [["0", "answered", "", "", 0, "", ""]]}), "are numbers"),
        (line(**{**PROBES, "outcomes": [[0, "answered", 1, "", 0, "", ""]]}), "are text, not 1"),
        (
            line(type="expect", id="DNS-01", at=0, kind="every", params={}, says=""),
            "names one series or one value",
        ),
        (
            line(type="expect", id="D", at=0, kind="every", params={}, says="", series="s", name="n"),
            "names one series",
        ),
        (HEADER, "line 2 is a second header"),
        (FOOTER, "line 2 is a second footer"),
    ],
)
def test_a_wrong_record_is_named_by_its_line(middle: str, said: str) -> None:
    with pytest.raises(EvidenceError, match=said):
        parse([HEADER, middle, FOOTER])


def test_a_header_with_a_wrong_requirement_is_refused() -> None:
    with pytest.raises(EvidenceError, match="has id, level and sentence"):
        parse([line(type="header", schema=1, run="r", started="s", requirements=[{"id": "DNS-01"}]), FOOTER])


def test_the_writer_refuses_what_the_reader_would_refuse(tmp_path: Path) -> None:
    pen = Evidence(tmp_path / "run.jsonl")
    with pytest.raises(EvidenceError, match="kind 'lost' is none of"):
        pen.probes("DNS-01", series="s", origin="a", target="b", protocol="tcp", outcomes=[Outcome("lost")])
    assert pen.path.read_text() == ""


def test_words_that_no_file_can_hold_are_still_written(tmp_path: Path) -> None:
    pen = Evidence(tmp_path / "run.jsonl")
    pen.header(run="r", started="s", requirements=[])
    pen.step("DNS-01", "a lone surrogate \udc80 and a line separator \u2028 end\n")
    pen.close(ended="e")
    assert read(pen.path)[1]["text"] == "a lone surrogate \udc80 and a line separator \u2028 end\n"


def test_the_clock_counts_from_the_beginning_of_the_run(tmp_path: Path) -> None:
    pen = Evidence(tmp_path / "run.jsonl", clock=ticking())
    assert [pen.now(), pen.now()] == [0.25, 0.5]


@given(
    st.builds(
        Outcome,
        st.sampled_from(KINDS),
        st.text(),
        st.text(),
        st.floats(0, 1e6),
        st.floats(0, 1e6),
        st.text(),
        st.text(),
    )
)
def test_an_outcome_survives_its_row(outcome: Outcome) -> None:
    assert Outcome.from_row(json.loads(json.dumps(outcome.to_row()))) == outcome
    assert outcome.sentence()


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=True) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(json_values)
def test_any_json_is_a_record_or_refused_in_one_sentence(value: Any) -> None:
    try:
        assert check(value) is value
    except EvidenceError as error:
        assert str(error)
