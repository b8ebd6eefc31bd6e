"""Tables: lists, objects and watch events as rows and columns, for ``kubectl get``. Pure.

``meta.k8s.io/v1`` Table, KEP-491. Which columns a kind has stands in ``table_*.py``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec

from clusters.apiserver import table_apps, table_core, table_pods, table_rules
from clusters.apiserver.columns import Layout
from clusters.apiserver.resources import Resource
from clusters.apiserver.status import bad_request

_LAYOUTS: dict[str, Layout] = {
    **table_core.LAYOUTS,
    **table_apps.LAYOUTS,
    **table_rules.LAYOUTS,
    **table_pods.LAYOUTS,
}
_INCLUDES = ("", "None", "Metadata", "Object")


def layout(resource: Resource) -> Layout:
    """How objects of a kind are shown; kinds nobody described by name and time of creation."""
    return resource.layout or _LAYOUTS.get(resource.kind, table_rules.CREATED)


@dataclass(frozen=True)
class TableOptions:
    """What of the objects goes with their rows: nothing, the metadata or all; and the Table's version."""

    include: str = "Metadata"
    version: str = "v1"


def include_object(text: str) -> str:
    """The parameter ``includeObject``, Metadata when it is left out. Refused 400 for other words."""
    if text not in _INCLUDES:
        raise bad_request(
            f'Invalid value: "{text}": includeObject must be one of "None", "Metadata", "Object"'
        )
    return text or "Metadata"


def partial(obj: dict[str, Any]) -> dict[str, Any]:
    """The metadata of an object alone, as ``PartialObjectMetadata``."""
    return {
        "kind": "PartialObjectMetadata",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": obj["metadata"],
    }


def row(resource: Resource, obj: dict[str, Any], options: TableOptions, now: float) -> dict[str, Any]:
    """One object as a row; ``now`` in seconds since 1970."""
    shown: dict[str, Any] = {"cells": layout(resource).cells(obj, now)}
    if resource.core_kind == "Pod":
        conditions = table_pods.pod_conditions(obj)
        if conditions:
            shown["conditions"] = conditions
    if options.include == "Metadata":
        shown["object"] = partial(obj)
    elif options.include == "Object":
        shown["object"] = {**obj, "kind": resource.kind, "apiVersion": resource.api_version}
    else:
        shown["object"] = None
    return shown


def table(
    resource: Resource,
    metadata: dict[str, Any],
    rows: list[dict[str, Any]],
    options: TableOptions,
    *,
    with_columns: bool = True,
) -> bytes:
    """The JSON of a Table; later events of a watch leave the columns out, as Kubernetes does."""
    told = [column.to_json() for column in layout(resource).columns] if with_columns else []
    return msgspec.json.encode(
        {
            "kind": "Table",
            "apiVersion": f"meta.k8s.io/{options.version}",
            "metadata": metadata,
            "columnDefinitions": told,
            "rows": rows,
        }
    )
