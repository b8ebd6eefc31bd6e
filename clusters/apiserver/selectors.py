"""Label and field selectors: text to a test over an object. Pure and total: bad text gives ``Refused`` 400.

Grammar: ``k8s.io/apimachinery/pkg/labels`` and ``.../fields``.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from clusters.apiserver import names
from clusters.apiserver.resources import Resource
from clusters.apiserver.status import Refused, bad_request

Test = Callable[[dict[str, Any]], bool]

_TOKEN = re.compile(r"\s*(==|!=|=|!|\(|\)|,|<|>|[^\s=!(),<>]+)")
_END = ""


@dataclass(frozen=True)
class Requirement:
    """One condition of a label selector; ``values`` is empty for exists and its opposite."""

    key: str
    operator: str  # in, notin, exists, !, gt, lt
    values: frozenset[str]

    def matches(self, labels: dict[str, str]) -> bool:
        """True when the labels satisfy the condition; ``notin`` also holds where the key is absent."""
        if self.operator == "in":
            return self.key in labels and labels[self.key] in self.values
        if self.operator == "notin":
            return self.key not in labels or labels[self.key] not in self.values
        if self.operator == "exists":
            return self.key in labels
        if self.operator == "!":
            return self.key not in labels
        return self._compares(labels)

    def _compares(self, labels: dict[str, str]) -> bool:
        (bound,) = self.values
        try:
            have, want = int(labels[self.key]), int(bound)
        except (KeyError, ValueError):
            return False
        return have > want if self.operator == "gt" else have < want


def parse_labels(text: str) -> list[Requirement]:
    """The conditions of a ``labelSelector`` parameter; all must hold. Refused 400 for bad grammar."""
    return _Parser(text).parse()


class _Parser:
    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens = _TOKEN.findall(text)
        if re.sub(r"\s", "", "".join(self.tokens)) != re.sub(r"\s", "", text):
            raise self.wrong("it has signs that belong to no selector")

    def wrong(self, why: str) -> Refused:
        return bad_request(f'unable to parse requirement: {why} in "{self.text}"')

    def next(self) -> str:
        return self.tokens.pop(0) if self.tokens else _END

    def peek(self) -> str:
        return self.tokens[0] if self.tokens else _END

    def parse(self) -> list[Requirement]:
        found: list[Requirement] = []
        while self.peek() != _END:
            found.append(self.requirement())
            token = self.next()
            if token not in {",", _END}:
                raise self.wrong(f"found '{token}', expected: ',' or 'end of string'")
            if token == "," and self.peek() == _END:
                raise self.wrong("found '', expected: identifier after ','")
        return found

    def requirement(self) -> Requirement:
        absent = self.peek() == "!"
        if absent:
            self.next()
        key = self.key()
        if absent:
            return Requirement(key, "!", frozenset())
        if self.peek() in {",", _END}:
            return Requirement(key, "exists", frozenset())
        return self.compared(key)

    def key(self) -> str:
        key = self.next()
        if wrong := names.qualified_name(key):
            raise bad_request(
                f'unable to parse requirement: <nil>: Invalid value: "{key}": {"; ".join(wrong)}'
            )
        return key

    def compared(self, key: str) -> Requirement:
        operator = self.next()
        if operator in {"=", "==", "!="}:
            return Requirement(key, "notin" if operator == "!=" else "in", frozenset({self.value()}))
        if operator in {"<", ">"}:
            return Requirement(key, "gt" if operator == ">" else "lt", frozenset({self.value()}))
        if operator in {"in", "notin"}:
            return Requirement(key, operator, self.values())
        raise self.wrong(f"found '{operator}', expected: in, notin, =, ==, !=, gt, lt")

    def value(self) -> str:
        if self.peek() in {",", _END}:
            return ""
        value = self.next()
        if wrong := names.label_value(value):
            raise bad_request(
                f'unable to parse requirement: values[0][]: Invalid value: "{value}": {"; ".join(wrong)}'
            )
        return value

    def values(self) -> frozenset[str]:
        if self.next() != "(":
            raise self.wrong("found no '(', expected: '('")
        found = {""} if self.peek() in {")", ","} else {self.value()}
        while (token := self.next()) == ",":
            found.add("" if self.peek() in {")", ","} else self.value())
        if token != ")":
            raise self.wrong(f"found '{token}', expected: ',' or ')'")
        return frozenset(found)


# Fields each kind can be selected by, beside metadata.name and metadata.namespace (its registry's strategy).
_FIELDS: dict[str, dict[str, str]] = {
    "pods": dict.fromkeys(
        (
            "spec.nodeName",
            "spec.restartPolicy",
            "spec.schedulerName",
            "spec.serviceAccountName",
            "status.phase",
            "status.podIP",
            "status.nominatedNodeName",
        ),
        "",
    ),
    "services": {"spec.clusterIP": "", "spec.type": ""},
    "nodes": {"spec.unschedulable": "false"},
    "namespaces": {"status.phase": ""},
    "secrets": {"type": ""},
    "replicasets": {"status.replicas": "0"},
    "events": dict.fromkeys(
        (
            "involvedObject.kind",
            "involvedObject.namespace",
            "involvedObject.name",
            "involvedObject.uid",
            "involvedObject.apiVersion",
            "involvedObject.resourceVersion",
            "involvedObject.fieldPath",
            "reason",
            "reportingComponent",
            "source",
            "type",
        ),
        "",
    ),
}


def parse_fields(resource: Resource, text: str) -> list[tuple[str, bool, str, str]]:
    """The conditions of a ``fieldSelector``: (path, must be equal, value, value where absent). Refused
    400.
    """
    found = []
    for term in re.split(r"(?<!\\),", text):
        if not term:
            continue
        match = re.fullmatch(r"([^=!]*)(==|!=|=)(.*)", term, re.DOTALL)
        if not match:
            raise bad_request(f"invalid selector: '{text}'; can't understand '{term}'")
        path, operator, value = match.groups()
        allowed = {"metadata.name": "", "metadata.namespace": "", **_FIELDS.get(resource.plural, {})}
        if path not in allowed:
            raise bad_request(f"field label not supported: {path}")
        found.append((path, operator != "!=", re.sub(r"\\(.)", r"\1", value), allowed[path]))
    return found


def _field(obj: dict[str, Any], path: str, absent: str) -> str:
    value: Any = obj
    for name in path.split("."):
        value = value.get(name) if isinstance(value, dict) else None
    if path == "source" and isinstance(value, dict):
        value = value.get("component")
    if value is None:
        return absent
    return str(value).lower() if isinstance(value, bool) else str(value)


def selector(resource: Resource, labels: str, fields: str) -> Test | None:
    """A test for both selectors of a request, or None when both are empty. Refused 400 for bad text."""
    wanted = parse_labels(labels) if labels else []
    paths = parse_fields(resource, fields) if fields else []
    if not wanted and not paths:
        return None

    def test(obj: dict[str, Any]) -> bool:
        have = obj["metadata"].get("labels") or {}
        return all(requirement.matches(have) for requirement in wanted) and all(
            (_field(obj, path, absent) == value) is equal for path, equal, value, absent in paths
        )

    return test


def matches_label_selector(spec: dict[str, Any], labels: dict[str, str]) -> bool:
    """A LabelSelector object (matchLabels, matchExpressions) against labels; an empty one matches
    everything.
    """
    if any(labels.get(key) != value for key, value in (spec.get("matchLabels") or {}).items()):
        return False
    operators = {"In": "in", "NotIn": "notin", "Exists": "exists", "DoesNotExist": "!"}
    return all(
        Requirement(
            str(e.get("key", "")),
            operators.get(str(e.get("operator")), "in"),
            frozenset(e.get("values") or ()),
        ).matches(labels)
        for e in spec.get("matchExpressions") or ()
    )
