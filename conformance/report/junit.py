"""The report for continuous integration: JUnit XML as Jenkins and pytest write it.

fail is a failure · unknown and suite-error are errors · unsupported and not-run are skipped.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from typing import Any
from xml.etree import ElementTree

from conformance.report import text
from conformance.report.model import Report, Row
from conformance.verdict import Verdict

_ELEMENTS = {
    Verdict.FAIL: "failure", Verdict.UNKNOWN: "error", Verdict.SUITE_ERROR: "error",
    Verdict.UNSUPPORTED: "skipped", Verdict.NOT_RUN: "skipped",
}
_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def render(report: Report) -> str:
    """The whole document, with its XML declaration."""
    suite = _element("testsuite", name="service-conformance", **_counts(report))
    if report.facts.get("started"):
        suite.set("timestamp", _clean(report.facts["started"]))
    properties = ElementTree.SubElement(suite, "properties")
    for key, value in report.facts.items():
        _property(properties, key, value)
    suite.extend(_case(row) for row in report.rows)
    suites = _element("testsuites", **_counts(report))
    suites.append(suite)
    ElementTree.indent(suites)
    return ElementTree.tostring(suites, encoding="unicode", xml_declaration=True) + "\n"


def _counts(report: Report) -> dict[str, Any]:
    seen = Counter(_ELEMENTS.get(row.verdict, "") for row in report.rows)
    return {
        "tests": len(report.rows), "failures": seen["failure"], "errors": seen["error"],
        "skipped": seen["skipped"], "time": f"{sum(row.seconds for row in report.rows):.3f}",
    }


def _case(row: Row) -> ElementTree.Element:
    """One requirement: its numbers as properties, and its failure in the seven lines."""
    case = _element("testcase", classname=f"conformance.{row.area}", name=row.id, time=f"{row.seconds:.3f}")
    properties = ElementTree.SubElement(case, "properties")
    for key, value in {"sentence": row.sentence, "level": row.level, **row.numbers}.items():
        _property(properties, key, value)
    name = _ELEMENTS.get(row.verdict)
    if name is None:
        return case
    message = row.findings[0].actual if row.findings else row.reason
    told = ElementTree.SubElement(case, name, message=_clean(message))
    if name != "skipped":
        told.set("type", row.verdict.value)
    told.text = _clean("\n".join(text.failures(row)) or row.reason)
    return case


def _property(properties: ElementTree.Element, name: str, value: object) -> None:
    shown = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    ElementTree.SubElement(properties, "property", name=_clean(name), value=_clean(shown))


def _element(tag: str, /, **attributes: object) -> ElementTree.Element:
    return ElementTree.Element(tag, {key: _clean(value) for key, value in attributes.items()})


def _clean(value: object) -> str:
    """The text without what XML cannot hold."""
    return _NOT_XML.sub("�", str(value))
