"""Label selectors: which objects a list of labels picks (Kubernetes API reference, LabelSelector)."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from implementation.objects.fields import ObjectError, shown

_SET = ("In", "NotIn")
_PRESENCE = ("Exists", "DoesNotExist")


class Expression(msgspec.Struct, frozen=True):
    """One matchExpressions entry; ``values`` is empty for Exists and DoesNotExist."""

    key: str
    operator: str
    values: tuple[str, ...] = ()

    def accepts(self, labels: Mapping[str, str]) -> bool:
        """Whether the labels satisfy this one expression."""
        if self.operator == "Exists":
            return self.key in labels
        if self.operator == "DoesNotExist":
            return self.key not in labels
        if self.operator == "In":
            return labels.get(self.key) in self.values
        return labels.get(self.key) not in self.values  # NotIn is also true where the label is missing


class Selector(msgspec.Struct, frozen=True):
    """A label selector; one without any condition picks everything."""

    labels: tuple[tuple[str, str], ...] = ()
    expressions: tuple[Expression, ...] = ()

    def accepts(self, labels: Mapping[str, str]) -> bool:
        """Whether all conditions hold for these labels."""
        return all(labels.get(key) == value for key, value in self.labels) and all(
            expression.accepts(labels) for expression in self.expressions
        )


class RawExpression(msgspec.Struct):
    """A matchExpressions entry as it is written."""

    key: str = ""
    operator: str = ""
    values: list[str] | None = None


class RawSelector(msgspec.Struct, rename="camel"):
    """A label selector as it is written in the API."""

    match_labels: dict[str, str] | None = None
    match_expressions: list[RawExpression] | None = None


def selector(raw: RawSelector, field: str) -> Selector:
    """The checked selector; ObjectError names ``field`` and the operator that is not one of the four."""
    return Selector(
        labels=tuple(sorted((raw.match_labels or {}).items())),
        expressions=tuple(_expression(e, f"{field}.matchExpressions[{i}]")
                          for i, e in enumerate(raw.match_expressions or ())),
    )


def _expression(raw: RawExpression, field: str) -> Expression:
    if not raw.key:
        raise ObjectError(f"{field}.key is empty; it must name a label")
    if raw.operator not in _SET + _PRESENCE:
        allowed = ", ".join(_SET + _PRESENCE)
        raise ObjectError(f"{field}.operator {shown(raw.operator)} is not one of {allowed}")
    values = tuple(raw.values or ())
    if bool(values) != (raw.operator in _SET):
        wanted = "at least one value" if raw.operator in _SET else "no values"
        raise ObjectError(f"{field}.values: operator {raw.operator} takes {wanted}")
    return Expression(raw.key, raw.operator, values)


def selectors(raw: list[RawSelector] | None, field: str) -> tuple[Selector, ...]:
    """Several selectors of which any may match (a list in MetalLB's objects is an OR)."""
    return tuple(selector(one, f"{field}[{i}]") for i, one in enumerate(raw or ()))
