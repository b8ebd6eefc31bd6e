"""Objects and lists in the form a request accepts: as they are, as a Table, or their metadata alone. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from clusters.apiserver import faces
from clusters.apiserver.accept import Form
from clusters.apiserver.listing import Page, list_body
from clusters.apiserver.resources import Resource
from clusters.apiserver.store import encode
from clusters.apiserver.table import TableOptions, include_object, partial, row, table

Object = dict[str, Any]


def table_options(form: Form, query: Mapping[str, str]) -> TableOptions:
    """The options of a Table from a request. Refused 400."""
    return TableOptions(include_object(query.get("includeObject", "")), form.version)


def faced(resource: Resource, body: bytes) -> bytes:
    """A stored body as its kind shows it; only kinds that are another view of a store differ."""
    return faces.body_from_home(resource, body) if resource.stored_as else body


def _whole(resource: Resource, obj: Object, body: bytes, options: TableOptions) -> Object:
    """The object a row is made from: with the face's own fields only where they are shown."""
    if resource.stored_as and options.include == "Object":
        return {**msgspec.json.decode(faced(resource, body)), **obj}
    return obj


def list_in(form: Form, resource: Resource, found: Page, query: Mapping[str, str], now: float) -> bytes:
    """A list's answer."""
    if form.kind == "Table":
        options = table_options(form, query)
        rows = [
            row(resource, _whole(resource, entry.object, entry.body, options), options, now)
            for entry in found.entries
        ]
        return table(resource, found.metadata, rows, options)
    if form.kind:
        return msgspec.json.encode(
            {
                "kind": "PartialObjectMetadataList",
                "apiVersion": f"meta.k8s.io/{form.version}",
                "metadata": found.metadata,
                "items": [partial(entry.object) for entry in found.entries],
            }
        )
    return list_body(resource, found, (lambda body: faced(resource, body)) if resource.stored_as else None)


def object_in(
    form: Form,
    resource: Resource,
    obj: Object,
    body: bytes,
    query: Mapping[str, str],
    now: float,
    *,
    with_columns: bool = True,
) -> bytes:
    """One object's answer, alone or in an event of a watch; ``body`` is its stored form."""
    if form.kind == "Table":
        options = table_options(form, query)
        metadata = {"resourceVersion": obj["metadata"].get("resourceVersion", "")}
        rows = [row(resource, _whole(resource, obj, body, options), options, now)]
        return table(resource, metadata, rows, options, with_columns=with_columns)
    if form.kind:
        return msgspec.json.encode(partial(obj))
    return encode(resource, faced(resource, body))
