"""The reports say the same of a run, keep their shape, and hold nothing that their format cannot."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import jsonschema
import pytest

from conformance import report as reports
from conformance.evidence import Outcome, Record
from conformance.report import junit, text
from conformance.report.json import document
from conformance.report.model import Report, build, rerun_command
from conformance.selftest.runs import ANSWERED, done, expect, probes, run, series

SCHEMA = json.loads((Path(reports.__file__).parent / "schema.json").read_text())
IDS = ("BALANCE-02", "CLUSTERIP-01", "DNS-01", "LB-01", "API-01", "NODEPORT-02")


def said(kind: str, id: str, reason: str) -> Record:
    return {"type": kind, "id": id, "reason": reason, "traceback": ""}


def every_verdict(**facts: Any) -> list[Record]:
    """A run with one requirement of each verdict."""
    return run(
        {"type": "step", "id": "CLUSTERIP-01", "at": 0.0, "text": "made a Service"},
        probes(series(*["a", "b"] * 810), id="BALANCE-02"),
        expect("shares", {"backends": ["a", "b"]}, id="BALANCE-02"),
        done("BALANCE-02"),
        probes(series("ok", "ok", "timeout"), id="CLUSTERIP-01"),
        expect("every", ANSWERED, id="CLUSTERIP-01", says="Each is answered"),
        done("CLUSTERIP-01"),
        said("unknown", "DNS-01", "the agent died"),
        said("unsupported", "LB-01", "not declared: load-balancer"),
        said("error", "API-01", "KeyError"),
        said("not-run", "NODEPORT-02", "no rig"),
        ids=IDS,
        **facts,
    )


@pytest.fixture
def report() -> Report:
    return build(every_verdict())


def test_the_text_begins_with_the_verdict_and_has_a_line_for_each_requirement(report: Report) -> None:
    lines = text.render(report).splitlines()
    assert lines[0] == (
        "FAILED  proxy 1 on netns://?seed: 1 fail, 1 suite-error, 1 unknown, 1 not-run, 1 unsupported, 1 pass"
    )
    assert lines[1] == "(at least one requirement was seen not to hold; exit status 1.)"
    assert [line.split()[:2] for line in lines[3:9]] == [
        ["pass", "BALANCE-02"],
        ["fail", "CLUSTERIP-01"],
        ["unknown", "DNS-01"],
        ["unsupported", "LB-01"],
        ["suite-error", "API-01"],
        ["not-run", "NODEPORT-02"],
    ]
    assert lines[3].endswith("[n 1,620; shares 50.0% / 50.0%, p 1, shows a shift of 9.9 points; took 1.5 s]")
    assert lines[5].endswith("(the agent died)")


def test_a_failure_is_seven_lines_in_order_with_the_outcomes_below(report: Report) -> None:
    lines = text.render(report).splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith("  requirement"))
    assert [line[2:15].strip() for line in lines[start : start + 7]] == [
        "requirement",
        "done",
        "expected",
        "actual",
        "where",
        "when",
        "next step",
    ]
    assert lines[start + 9].endswith("no answer (timed out) after 0.0 ms")


def test_of_several_failures_of_one_requirement_the_first_is_told_in_full() -> None:
    seen = [probes(series("timeout"), series="x"), probes(series("refused"), series="y", origin="pod-b")]
    wanted = [
        expect("every", ANSWERED, series="x"),
        expect("every", ANSWERED, series="y", says="B is answered"),
    ]
    made = build(run(*seen, *wanted, done()))
    lines = text.failures(made.rows[0])
    assert sum(line.startswith("  requirement") for line in lines) == 1
    assert lines[-1].startswith("  also         refused after 0.0 ms; 1 of 1")
    assert "[pod-b → 10.43.0.10:53 (tcp); expected: B is answered: each of 1 attempt answered]" in lines[-1]
    assert lines[-1] in text.render(made)
    assert lines[-1] in junit.render(made).replace("&gt;", ">")
    assert len(document(made)["requirements"][0]["findings"]) == 2


def test_the_text_says_how_to_repeat_what_was_not_run_and_what_the_run_was(report: Report) -> None:
    whole = text.render(report)
    assert ("  service-conformance certify CLUSTERIP-01 DNS-01 API-01 NODEPORT-02\n") in whole
    assert "published requirements (CLUSTERIP 34, DNS 10, BALANCE 11, AFFINITY 17, NODEPORT 20, " in whole
    assert "Declared features: sctp=True" in whole
    assert "command: service-conformance certify --profile core" in whole
    assert "run: r1" in whole


def test_a_green_run_says_conformant_and_has_nothing_to_repeat() -> None:
    made = build(run(probes(series("ok")), expect("every", ANSWERED), done()))
    whole = text.render(made)
    assert whole.startswith("CONFORMANT  proxy 1 on netns://?seed: 1 pass\n")
    assert made.rerun() == ""
    assert "not green" not in whole
    assert made.exit_code == 0


def test_an_interrupted_run_says_so() -> None:
    assert "The run was interrupted." in text.render(build(run(interrupted=True)))


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_colours_are_for_terminals_only(report: Report, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    file, terminal, plain = io.StringIO(), Terminal(), Terminal()
    text.show(report, file)
    text.show(report, terminal)
    monkeypatch.setenv("NO_COLOR", "1")
    text.show(report, plain)
    assert "\x1b[" not in file.getvalue()
    assert "\x1b[31;1mfail" in terminal.getvalue()
    assert plain.getvalue() == file.getvalue() == text.render(report)


def test_the_document_is_described_by_its_schema(report: Report) -> None:
    made = document(report)
    jsonschema.Draft202012Validator(SCHEMA).validate(made)
    assert {row["id"]: row["verdict"] for row in made["requirements"]} == dict(
        zip(IDS, ("pass", "fail", "unknown", "unsupported", "suite-error", "not-run"), strict=True)
    )
    assert list(made["requirements"][1]["findings"][0]) == [
        "requirement",
        "done",
        "expected",
        "actual",
        "where",
        "when",
        "next_step",
        "last",
    ]
    assert made["overall"] == "failed"
    assert (made["exit_code"], made["interrupted"]) == (1, False)


@pytest.mark.parametrize("number", range(len(every_verdict())))
def test_each_record_is_described_by_the_schema(number: int) -> None:
    jsonschema.Draft202012Validator(SCHEMA).validate(every_verdict()[number])


@pytest.mark.parametrize(
    "wrong",
    [
        {"type": "step", "id": "DNS-01", "at": 0.0},
        {"type": "stepp", "id": "DNS-01"},
        {"type": "expect", "id": "D-01", "at": 0, "kind": "evry", "series": "s", "params": {}, "says": ""},
        {
            "type": "expect",
            "id": "D-01",
            "at": 0,
            "kind": "every",
            "series": "s",
            "name": "n",
            "params": {},
            "says": "",
        },
        {**probes(series("ok")), "outcomes": [[0, "lost", "", "", 0, "", ""]]},
        {"kind": "service-conformance-report"},
    ],
)
def test_the_schema_refuses_what_is_no_record(wrong: Record) -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft202012Validator(SCHEMA).validate(wrong)


def jenkins_complaints(root: ElementTree.Element) -> list[str]:
    """What Jenkins' junit schema would refuse: unknown elements or attributes, or missing ones."""
    allowed: dict[str, tuple[set[str], set[str], set[str]]] = {  # required and other attributes, children
        "testsuites": (set(), {"name", "time", "tests", "failures", "errors", "skipped"}, {"testsuite"}),
        "testsuite": (
            {"name", "tests"},
            {"failures", "errors", "skipped", "time", "timestamp"},
            {"properties", "testcase"},
        ),
        "properties": (set(), set(), {"property"}),
        "property": ({"name", "value"}, set(), set()),
        "testcase": ({"name", "classname"}, {"time"}, {"properties", "failure", "error", "skipped"}),
        "failure": (set(), {"type", "message"}, set()),
        "error": (set(), {"type", "message"}, set()),
        "skipped": (set(), {"message"}, set()),
    }
    found = []
    for element in root.iter():
        required, others, children = allowed[element.tag]
        found += [f"{element.tag} lacks {name}" for name in required - set(element.attrib)]
        found += [f"{element.tag} has {name}" for name in set(element.attrib) - required - others]
        found += [f"{element.tag} holds {child.tag}" for child in element if child.tag not in children]
    return found


def test_junit_has_jenkins_shape_and_the_seven_lines(report: Report) -> None:
    root = ElementTree.fromstring(junit.render(report))
    assert root.tag == "testsuites"
    assert jenkins_complaints(root) == []
    suite = root[0]
    assert {name: suite.get(name) for name in ("tests", "failures", "errors", "skipped")} == {
        "tests": "6",
        "failures": "1",
        "errors": "2",
        "skipped": "2",
    }
    cases = {case.get("name"): case for case in suite.iter("testcase")}
    failure = cases["CLUSTERIP-01"].find("failure")
    assert failure is not None and failure.text is not None
    assert [line[2:15].strip() for line in failure.text.splitlines()[:7]][0::6] == [
        "requirement",
        "next step",
    ]
    assert cases["BALANCE-02"].get("classname") == "conformance.BALANCE"
    numbers = {one.get("name"): one.get("value") for one in cases["BALANCE-02"].iter("property")}
    assert numbers["n"] == "1620"
    assert json.loads(str(numbers["shares"])) == {"a": 0.5, "b": 0.5}
    assert cases["DNS-01"].find("error").get("type") == "unknown"  # type: ignore[union-attr]
    assert cases["LB-01"].find("skipped") is not None


def test_words_that_a_format_cannot_hold_are_replaced(tmp_path: Path) -> None:
    bad = "bell \x07, surrogate \udc80, <tag> & \x1b[31m"
    made = build(every_verdict(kernel=bad, suite=bad))
    for path in reports.write(made, tmp_path / "deep"):
        assert path.read_text()
    root = ElementTree.parse(tmp_path / "deep/junit.xml").getroot()
    kernel = next(one for one in root.iter("property") if one.get("name") == "kernel")
    assert kernel.get("value") == "bell �, surrogate �, <tag> & �[31m"


def test_what_the_judged_says_cannot_steer_a_terminal() -> None:
    outcome = Outcome("reset", detail="\x1b[2J\rbye\n\x9b31m")
    made = build(run(probes([outcome]), expect("every", ANSWERED), done(), kernel="a\x1bb"))
    whole = text.render(made)
    assert "(�[2J bye �31m)" in whole
    assert not set(whole) & set("\x1b\r\x9b")


def test_writing_gives_the_four_files(report: Report, tmp_path: Path) -> None:
    assert [path.name for path in reports.write(report, tmp_path)] == [
        "report.txt",
        "report.json",
        "junit.xml",
        "report.html",
    ]
    assert json.loads((tmp_path / "report.json").read_text()) == document(report)


@pytest.mark.parametrize(
    ("command", "again"),
    [
        (
            "service-conformance run --cluster kind://a",
            "service-conformance run --cluster kind://a DNS-01 LB-01",
        ),
        ("sc run API-01 'SEED-*' lb-l2-09 --slower 3", "sc run --slower 3 DNS-01 LB-01"),
        (
            ["sc", "certify", "--area=DNS", "--profile", "core", "--out", "a b"],
            "sc certify --out 'a b' DNS-01 LB-01",
        ),
        ("sc certify --implementation proxy-12 DNS-01", "sc certify --implementation proxy-12 DNS-01 LB-01"),
        ("sc run --implementation 'my proxy", "sc run --implementation ''\"'\"'my' proxy DNS-01 LB-01"),
        (
            "pytest --cluster 'netns://?seed' -k smoke",
            "pytest --cluster 'netns://?seed' -k 'DNS-01 or LB-01'",
        ),
        (None, "service-conformance run DNS-01 LB-01"),
    ],
)
def test_the_command_is_repeated_with_only_those_requirements(command: Any, again: str) -> None:
    assert rerun_command({"command": command}, ["DNS-01", "LB-01"]) == again


def test_a_run_that_names_nobody_is_still_reported() -> None:
    made = build(
        run(implementation={"name": "", "version": ""}, cluster={"url": "kind://a"}, interrupted=True)
    )
    assert "whatever serves there on kind://a" in text.headline(made)
    assert document(build(run(implementation=None, cluster=None)))["implementation"] == {
        "name": "whatever serves there"
    }


def test_a_report_needs_no_requirement_to_be_registered(report: Report) -> None:
    assert next(row.sentence for row in report.rows) == "What BALANCE-02 says."
    assert sum(report.missing.values()) > 300
