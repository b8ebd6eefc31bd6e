"""What a request's query and body say, read and checked: flags, selectors, dry run, unknown fields."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from aiohttp import web

from clusters.apiserver.bodies import JSON, parse_body
from clusters.apiserver.resources import Resource
from clusters.apiserver.selectors import Test, selector
from clusters.apiserver.shapes import shaped
from clusters.apiserver.status import bad_request


def response(body: Any, status: int = 200) -> web.Response:
    """An answer in JSON; bytes are taken as JSON already."""
    data = body if isinstance(body, bytes) else msgspec.json.encode(body)
    return web.Response(body=data, status=status, content_type=JSON)


def bearer(request: web.BaseRequest) -> str:
    """The bearer token of a request, empty when it has none."""
    kind, _, token = request.headers.get("Authorization", "").partition(" ")
    return token.strip() if kind.lower() == "bearer" else ""


def flag(text: str) -> bool:
    """A boolean query parameter."""
    return text.lower() in {"1", "true", "t"}


def dry_run(query: Mapping[str, str]) -> bool:
    """True for ``dryRun=All``; Refused 400 for other values."""
    value = query.get("dryRun", "")
    if value not in {"", "All"}:
        raise bad_request(f'dryRun: Unsupported value: "{value}": supported values: "All"')
    return value == "All"


def read_json(request: web.BaseRequest, body: bytes) -> Any:
    """The decoded body; None when it is empty. Refused: 400 malformed, 415 a form nobody reads here."""
    return parse_body(request.content_type if request.headers.get("Content-Type") else JSON, body)


def request_selector(holder: Resource, query: Mapping[str, str], name: str = "") -> Test | None:
    """The test of a request's selectors, narrowed to one name when there is one. Refused 400."""
    fields = query.get("fieldSelector", "")
    if name:
        fields = f"metadata.name={name}" + (f",{fields}" if fields else "")
    return selector(holder, query.get("labelSelector", ""), fields)


def unknown_fields(resource: Resource, value: Any, query: Mapping[str, str]) -> str:
    """Unknown fields as ``fieldValidation`` says: Refused 400, a text to warn with, or nothing."""
    mode = query.get("fieldValidation", "Warn")
    if mode == "Ignore":
        return ""
    _, unknown = shaped(resource, value)
    told = ", ".join(f'unknown field "{name}"' for name in unknown)
    if told and mode == "Strict":
        raise bad_request(
            f'{resource.kind} in version "{resource.version}" cannot be handled as a {resource.kind}: '
            f"strict decoding error: {told}"
        )
    return "".join(sign if sign.isprintable() and sign != '"' else "'" for sign in told)
