"""Lists: from a version on, in pages, as bytes joined from what the store keeps encoded. Pure."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import msgspec

from clusters.apiserver.resources import Resource
from clusters.apiserver.selectors import Test
from clusters.apiserver.status import Refused, bad_request, expired
from clusters.apiserver.store import Entry, Key, Store

_TOO_OLD = (
    "The provided continue parameter is too old to display a consistent list result. You can start a new "
    "list without the continue parameter, or use the continue token in this response to retrieve the "
    "remainder of the results. Continuing with the provided token results in an inconsistent list - objects "
    "that were created, modified, or deleted between the time the first chunk was returned and now may show "
    "up in the list."
)


@dataclass(frozen=True)
class ListOptions:
    """What of a kind to list: a namespace or all, what a selector matches, at most ``limit`` (0: all) at
    once.
    """

    namespace: str = ""
    test: Test | None = None
    limit: int = 0
    resume: str = ""  # the ``continue`` token of the page before
    version: str = ""
    match: str = ""  # resourceVersionMatch


def whole_number(text: str, name: str) -> int:
    """A parameter that must be a whole number, 0 or more; Refused 400."""
    if not text:
        return 0
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        raise bad_request(f'Invalid value: "{text}": {name} must be a whole number, 0 or more')
    return int(text)


@dataclass(frozen=True)
class Page:
    """What a list holds: its own metadata, and the entries."""

    metadata: dict[str, Any]
    entries: list[Entry]


def page(store: Store, home: Resource, options: ListOptions) -> Page:
    """The objects of a list. ``home`` is the kind that holds them. Refused: 400, 410, 504."""
    version, after = _starting_point(store, options)
    entries = _entries(store, home, options, version, after)
    if options.test is not None:
        test = options.test
        entries = ((key, entry) for key, entry in entries if test(entry.object))
    metadata: dict[str, Any] = {"resourceVersion": str(version)}
    if not options.limit:
        return Page(metadata, [entry for _, entry in entries])
    found: list[Entry] = []
    last: Key | None = None
    for key, entry in entries:
        if len(found) == options.limit:
            metadata["continue"] = _token(version, last)
            if options.test is None:
                metadata["remainingItemCount"] = 1 + sum(1 for _ in entries)
            break
        found.append(entry)
        last = key
    return Page(metadata, found)


def list_body(resource: Resource, found: Page, recode: Callable[[bytes], bytes] | None = None) -> bytes:
    """The JSON of a ``List`` object; ``recode`` gives another face to each body."""
    bodies = [entry.body for entry in found.entries]
    if recode:
        bodies = [recode(body) for body in bodies]
    head = f'{{"kind":"{resource.list_kind}","apiVersion":"{resource.api_version}","metadata":'.encode()
    return b'%s%s,"items":[%s]}' % (head, msgspec.json.encode(found.metadata), b",".join(bodies))


def _starting_point(store: Store, options: ListOptions) -> tuple[int, Key | None]:
    if options.resume:
        return _read_token(store, options.resume)
    asked = whole_number(options.version, "resourceVersion")
    if asked > store.version:
        raise Refused(
            504,
            "Timeout",
            f"Timeout: Too large resource version: {asked}, current: {store.version}",
            {
                "causes": [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}],
                "retryAfterSeconds": 1,
            },
        )
    return (asked if options.match == "Exact" else store.version), None


def _entries(
    store: Store, home: Resource, options: ListOptions, version: int, after: Key | None
) -> Iterable[tuple[Key, Entry]]:
    if version == store.version:
        return store.select(home, options.namespace, after)
    past = store.past(home, version)
    if past is None:
        raise expired(
            _TOO_OLD if options.resume else f"The resourceVersion for the provided list is too old: {version}"
        )
    return (
        (key, entry)
        for key, entry in past
        if (not options.namespace or key[0] == options.namespace) and (after is None or key > after)
    )


class _Token(msgspec.Struct):
    rv: int
    start: Key


def _token(version: int, last: Key | None) -> str:
    text = msgspec.json.encode({"v": "meta.k8s.io/v1", "rv": version, "start": last})
    return base64.urlsafe_b64encode(text).decode().rstrip("=")


def _read_token(store: Store, token: str) -> tuple[int, Key]:
    try:
        data = base64.urlsafe_b64decode(token.encode("ascii") + b"=" * (-len(token) % 4))
        found = msgspec.json.decode(data, type=_Token)
    except (ValueError, UnicodeEncodeError, binascii.Error, msgspec.MsgspecError):
        raise bad_request("continue key is not valid: it must be the token of an earlier page") from None
    if found.rv > store.version:
        raise bad_request("continue key is not valid: it is of another server")
    return found.rv, found.start
