"""The page says what the other reports say, holds nothing it must not, and no evidence breaks it."""

from __future__ import annotations

import hashlib
import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conformance import report as reports
from conformance.cli.main import main
from conformance.evidence import KINDS, EvidenceError, Outcome, Record
from conformance.report import html
from conformance.report.model import build
from conformance.requirements import locked_ids
from conformance.selftest.runs import ANSWERED, done, expect, probes, run, series
from conformance.selftest.test_report import IDS, every_verdict

HOSTILE = '"><script>alert(1)</script><img src=x onerror=y>\u202e\x00\x1b[2J&\udc80'
VOID = {"meta", "link", "br", "use", "img", "path", "circle", "rect", "line", "hr"}
SCRIPTED = {"script", "img", "iframe", "object", "embed", "link", "base", "form"}


class Page(HTMLParser):
    """Reads a page strictly: each element that opens is closed, in order, and none is out of place."""

    def __init__(self, whole: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(whole)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag not in SCRIPTED
        assert not any(name.startswith("on") for name, _ in attrs)
        self.seen.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert tag in VOID or self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.seen if name == tag]

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def failover() -> list[Record]:
    """One vantage that hears nothing from 0.3 s to 0.6 s, around a fault."""
    return run(
        probes(series("ok", "ok", "ok", "timeout", "timeout", "timeout", "ok", "ok")),
        {"type": "fault", "id": "DNS-01", "at": 0.25, "text": "node-2 was cut off"},
        {"type": "snapshot", "id": "DNS-01", "node": "node-2", "name": "nft",
         "file": "snapshots/DNS-01/a b.txt"},
        expect("longest_gap", {"bound": 0.1}), done(),
    )


def test_the_verdict_comes_first_in_words_and_shape() -> None:
    page = Page(html.render(build(every_verdict())))
    body = page.text[page.text.index("FAILED", page.text.index("}")) :]
    assert body.startswith("FAILED proxy 1 on netns://?seed At least one requirement was seen not to hold.")
    assert "Exit status 1." in body
    assert {"href": "#s-fail"} in page.all("use")
    assert page.all("html") == [{"lang": "en"}]
    assert len(page.all("h1")) == 1


def test_the_few_facts_that_matter_stand_beside_the_verdict() -> None:
    made = build(every_verdict(suite="0.1.0", commit="0123456789abcdef", dirty=True, kernel="6.1"))
    assert html.outline(made) == [
        ("started", "2026-01-01T00:00:00+00:00"), ("suite", "0.1.0 (0123456789ab, changed)"),
        ("kernel", "6.1"), ("declared features", "sctp=True")]
    assert ("suite", "0.1.0") in html.outline(build(every_verdict(suite="0.1.0")))


def test_each_requirement_is_told_once_in_the_part_of_its_verdict() -> None:
    page = Page(html.render(build(every_verdict())))
    told = {str(one["id"]): str(one["class"]) for one in page.all("article")}
    assert told == {
        "CLUSTERIP-01": "card fail", "DNS-01": "card unknown", "API-01": "card suite-error",
        "NODEPORT-02": "card not-run", "BALANCE-02": "card pass", "LB-01": "card unsupported",
    }
    assert [one["id"] for one in page.all("h2")] == [
        "matrix", "failures", "undecided", "held", "unsupported", "run", "again"]


def test_a_failure_has_its_seven_parts_in_order() -> None:
    page = Page(html.render(build(every_verdict())))
    parts = ["requirement", "done", "expected", "actual", "where", "when", "next step"]
    start = page.words.index("requirement")
    assert [word for word in page.words[start:] if word in parts][:7] == parts
    assert "no answer (timed out) after 0.0 ms" in page.text


def test_the_matrix_counts_every_id_ever_published() -> None:
    made = html.areas(build(every_verdict()))
    published = {id for id, area in locked_ids().items() if area != "dropped"}
    assert {id for area in made for id, _ in area.tiles} == published | set(IDS)
    assert sum(count for area in made for count in area.counts.values()) == len(published)
    balance = next(area for area in made if area.name == "BALANCE")
    assert balance.counts == {"pass": 1, html.ABSENT: 11}
    page = Page(html.render(build(every_verdict())))
    assert all(one.get("scope") in {"col", "row"} for one in page.all("th"))


def test_it_needs_nothing_but_itself() -> None:
    page = Page(html.render(build(every_verdict())))
    policy = next(one for one in page.all("meta") if "http-equiv" in one)
    assert policy["content"] == "default-src 'none'; style-src 'unsafe-inline'"
    assert any("width=device-width" in str(one.get("content")) for one in page.all("meta"))
    assert all(str(one["href"]).startswith("#") for tag in ("a", "use") for one in page.all(tag))
    styles = page.text[: page.text.index("Requirements by area")]
    assert "prefers-color-scheme: dark" in styles and "@media print" in styles and "url(" not in styles


def test_it_says_how_to_repeat_the_run_and_how_to_check_the_evidence(tmp_path: Path) -> None:
    file = tmp_path / "evidence.jsonl"
    file.write_text("".join(json.dumps(record) + "\n" for record in every_verdict()))
    page = Page(html.render(reports.load(file)))
    assert hashlib.sha256(file.read_bytes()).hexdigest() in page.words
    assert "service-conformance certify --profile core" in page.words
    assert "service-conformance certify CLUSTERIP-01 DNS-01 API-01 NODEPORT-02" in page.words


def test_numbers_come_with_their_bounds() -> None:
    page = Page(html.render(build(every_verdict())))
    assert "attempts 1,620" in page.text
    assert "shares 50.0% / 50.0% chance of such a split from equal shares p = 1" in page.text
    assert "1 seen; the true rate is ≤ 86.46% at 95 %" in page.text
    assert html.figures({"longest_gap_s": None, "first_answer_s": 2}) == [
        ("longest gap", "never good"), ("first answer", "2.000 s")]


def test_each_plot_says_in_words_what_it_shows() -> None:
    page = Page(html.render(build(failover())))
    plots = [one for one in page.all("svg") if one.get("class") == "plot"]
    assert len(plots) == 2
    assert all(one["role"] == "img" and len(str(one["aria-label"])) > 30 for one in plots)
    assert "▼1 at 0.250 s: node-2 was cut off" in page.text
    assert "8 attempts, 3 not as they must be (tall marks); longest gap 0.400 s (shaded)" in page.text


def test_what_was_stored_on_failure_is_linked() -> None:
    page = Page(html.render(build(failover()), base="../run"))
    assert "./../run/snapshots/DNS-01/a%20b.txt" in [one["href"] for one in page.all("a")]


@pytest.mark.parametrize("file", ["/etc/passwd", "//evil.example/x", "../../x", "a/../../x", "", "."])
def test_nothing_outside_the_evidence_is_linked(file: str) -> None:
    assert html.link(file) == ""


def test_a_file_name_is_no_scheme() -> None:
    assert html.link("javascript:alert(1)") == "./javascript%3Aalert%281%29"


def test_what_the_judged_says_stays_words() -> None:
    outcomes = [Outcome("answered", HOSTILE, detail=HOSTILE, at=0.1 * n, ms=1.0) for n in range(4)]
    facts: Any = {"kernel": HOSTILE, "cluster": HOSTILE, "command": HOSTILE, HOSTILE: HOSTILE}
    named = {"name": HOSTILE, "version": HOSTILE, "features": {HOSTILE: HOSTILE}}
    whole = html.render(build(run(
        {"type": "step", "id": "DNS-01", "at": 0.0, "text": HOSTILE},
        {"type": "fault", "id": "DNS-01", "at": 0.2, "text": HOSTILE},
        {"type": "snapshot", "id": "DNS-01", "node": HOSTILE, "name": HOSTILE, "file": HOSTILE},
        probes(outcomes, series=HOSTILE, origin=HOSTILE),
        expect("every", {"acceptable": {"ended": ["refused"]}}, series=HOSTILE, says=HOSTILE),
        expect("longest_gap", {"bound": 0.1}, series=HOSTILE, says=HOSTILE),
        expect("covers", {"backends": [HOSTILE]}, series=HOSTILE, says=HOSTILE), done(),
        implementation=named, **facts,
    )))
    page = Page(whole)  # which refuses scripts, images and handlers
    assert page.text.count("<script>alert(1)</script>") > 10
    assert not set(whole) & set("\x00\x1b\u202e\udc80")


words = st.text(max_size=12)
instants = st.floats(-1e3, 1e12, allow_nan=False)
params = st.one_of(
    st.just(ANSWERED), st.just({"bound": 0.1}), st.just({"bound": 1, "interval": 0.1}), st.just({}),
    st.fixed_dictionaries({"backends": st.one_of(st.lists(words, max_size=3), words),
                           "tolerance": st.one_of(st.floats(), st.booleans(), st.none(), st.integers())}),
    st.just({"acceptable": {"ended": ["timeout"]}, "within": 1, "since": 0}), st.dictionaries(words, words),
)
kinds = st.sampled_from(
    ["every", "settles", "shares", "covers", "single", "longest_gap", "lost", "equals", "?"])
rows = st.tuples(instants, st.sampled_from(KINDS), words, words, st.floats(-1, 1e13), words, words).map(list)


@st.composite
def records(draw: Any) -> list[Record]:
    """Any run of two requirements."""
    ids = st.sampled_from(IDS[:2])
    one: Any = st.one_of(
        st.builds(lambda id, seen, name, origin: {
            **probes([], id=id, series=name, origin=origin), "n": len(seen), "outcomes": seen,
        }, ids, st.lists(rows, max_size=12), st.sampled_from("st"), words),
        st.builds(lambda id, kind, given, name, says: expect(kind, given, id=id, series=name, says=says),
                  ids, kinds, params, st.sampled_from("st"), words),
        st.builds(lambda id, at, said: {"type": "fault", "id": id, "at": at, "text": said},
                  ids, instants, words),
        st.builds(lambda id, file: {"type": "snapshot", "id": id, "node": file, "name": "n", "file": file},
                  ids, words),
        st.builds(lambda id, seen: {"type": "value", "id": id, "at": 0, "name": "first_s", "value": seen},
                  ids, st.one_of(words, st.floats(0, 1e9), st.booleans(), st.none())),
        ids.map(done),
    )
    return run(*draw(st.lists(one, max_size=14)), ids=IDS[:2], interrupted=draw(st.booleans()))


@settings(max_examples=50, deadline=None)
@given(records())
def test_no_evidence_breaks_the_page(found: list[Record]) -> None:
    Page(html.render(build(found)))


def test_a_long_run_makes_a_small_page() -> None:
    """Twelve rows of 1,000 attempts each, all with every plot."""
    names = ["backend-a", "backend-b"]
    many = [Outcome("answered", names[n % 2], at=n * 0.005, ms=1 + n % 97) for n in range(1000)]
    many[50:900:7] = [Outcome("timeout", at=one.at, ms=2000) for one in many[50:900:7]]
    ids = list(locked_ids())[:12]
    parts = [
        record for id in ids for record in (
            probes(many, id=id), expect("shares", {"backends": names}, id=id),
            expect("longest_gap", {"bound": 0.1}, id=id), done(id))
    ]
    assert len(html.render(build(run(*parts, ids=ids))).encode()) < 400_000


def stored(folder: Path) -> str:
    """The evidence of a red run in ``folder``."""
    (folder / "run").mkdir()
    (folder / "run/evidence.jsonl").write_text("".join(json.dumps(one) + "\n" for one in failover()))
    return str(folder / "run/evidence.jsonl")


def test_the_command_makes_each_format_again(tmp_path: Path, capsys: Any) -> None:
    evidence = stored(tmp_path)
    assert main(["report", evidence, "--html", str(tmp_path / "site/page.html")]) == 0
    page = Page((tmp_path / "site/page.html").read_text())
    place = next(str(one["href"]) for one in page.all("a") if "snapshots" in str(one["href"]))
    assert place == "./../run/snapshots/DNS-01/a%20b.txt"
    capsys.readouterr()
    for option, begins in (("--json", "{"), ("--junit", "<?xml"), ("--text", "FAILED  "), ("", "FAILED  ")):
        assert main(["report", evidence, *([option] if option else [])]) == 0
        assert capsys.readouterr().out.startswith(begins)


def test_the_command_says_what_it_cannot_read_or_write(tmp_path: Path, capsys: Any) -> None:
    evidence = stored(tmp_path)
    assert main(["report", str(tmp_path / "none"), "--json"]) == 3
    assert main(["report", evidence, "--html", f"{evidence}/page.html"]) == 3
    assert "name a file that can be written, with --html" in capsys.readouterr().err
    with pytest.raises(EvidenceError):
        reports.load(tmp_path / "none")
