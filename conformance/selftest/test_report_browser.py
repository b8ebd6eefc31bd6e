"""The report in a real browser, on a desktop and on a phone: what a reader sees first, and that all fits."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from conformance.report import html
from conformance.report.model import build
from conformance.selftest.browser import Browser, browser
from conformance.selftest.test_report import every_verdict
from conformance.selftest.test_report_html import failover

DESKTOP, PHONE = (1280, 800), (390, 844)
_SEEN = "(e => { const b = e.getBoundingClientRect(); return b.width > 0 && b.height > 0 })"
_RUNS_OVER = """[...document.querySelectorAll('body *')].filter(e => {
  const b = e.getBoundingClientRect();
  let own = e; while (own && getComputedStyle(own).overflowX !== 'auto') own = own.parentElement;
  return !own && !e.closest('svg') && b.right > document.documentElement.clientWidth + 1
}).map(e => e.tagName + '.' + e.className).slice(0, 5)"""


@pytest.fixture(scope="module")
def window(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """One browser for all tests of this file."""
    with browser(tmp_path_factory.mktemp("browser")) as made:
        yield made


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Reports on disk: one with every verdict, one with a failover in it."""
    folder = tmp_path_factory.mktemp("reports")
    found = {"verdicts": every_verdict(), "failover": failover()}
    for name, records in found.items():
        (folder / f"{name}.html").write_text(html.render(build(records)), encoding="utf-8")
    return {name: folder / f"{name}.html" for name in found}


@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
@pytest.mark.parametrize("name", ["verdicts", "failover"])
def test_the_verdict_is_what_one_sees_first_and_nothing_runs_over_the_edge(
    window: Browser, pages: dict[str, Path], name: str, size: tuple[int, int], tmp_path: Path,
) -> None:
    window.open(pages[name], width=size[0], height=size[1])
    window.picture(tmp_path / f"{name}.png")  # for whoever looks into a failure
    assert window.read("document.querySelector('h1').innerText").startswith("FAILED")
    edges = window.read("(b => [b.top, b.bottom])(document.querySelector('h1').getBoundingClientRect())")
    assert 0 <= edges[0] < edges[1] < size[1], "the verdict is in the first window"
    assert window.read("document.documentElement.scrollWidth") <= size[0]
    assert window.read(_RUNS_OVER) == []
    assert float(window.read("parseFloat(getComputedStyle(document.body).fontSize)")) >= 14
    assert window.read(f"[...document.querySelectorAll('section > h2, article h3')].every({_SEEN})")


def test_each_failure_shows_its_seven_parts_and_how_to_run_it_again(
    window: Browser, pages: dict[str, Path],
) -> None:
    window.open(pages["verdicts"], width=PHONE[0], height=PHONE[1])
    parts = window.read("[...document.querySelectorAll('article.fail dl.finding dt')].map(e => e.innerText)")
    assert parts[:7] == ["requirement", "done", "expected", "actual", "where", "when", "next step"]
    again = window.read("[...document.querySelectorAll('article.fail > pre')].map(e => e.innerText)")
    assert any(line.strip().endswith("CLUSTERIP-01") for line in again)


def test_plots_are_drawn_and_their_marks_stay_inside(window: Browser, pages: dict[str, Path]) -> None:
    for width, height in (DESKTOP, PHONE):
        window.open(pages["failover"], width=width, height=height)
        drawn = window.read("""[...document.querySelectorAll('svg.plot')].map(s => {
          const box = s.getBoundingClientRect();
          const marks = [...s.querySelectorAll('rect, line')].map(e => e.getBoundingClientRect());
          const inside = m =>
            m.left >= box.left - 2 && m.right <= box.right + 2 && m.bottom <= box.bottom + 2;
          return [box.width, marks.length, marks.every(inside)]
        })""")
        assert drawn
        assert all(wide > 200 and many > 1 and inside for wide, many, inside in drawn), drawn
    looks = window.read("""['ok', 'bad', 'gap'].map(c => {
      const s = getComputedStyle(document.querySelector('svg.plot .' + c));
      return s.fill + s.opacity + s.fillOpacity
    })""")
    assert len(set(looks)) == 3, "acceptable, not acceptable and silent differ"


def test_details_open_and_the_links_lead_somewhere(window: Browser, pages: dict[str, Path]) -> None:
    window.open(pages["verdicts"], width=DESKTOP[0], height=DESKTOP[1])
    links = "[...document.querySelectorAll('a[href^=\"#\"]')]"
    assert window.read(f"{links}.length") > 3
    assert window.read(f"{links}.every(a => document.getElementById(a.hash.slice(1)))")
    window.read("document.querySelector('details summary').click()")
    assert window.read("document.querySelector('details').open")
    assert window.read("performance.getEntriesByType('resource').length") == 0, "nothing is fetched"
