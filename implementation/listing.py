"""The items of a list as its bytes arrive, so that a long list is read while the server still sends it, and
is never held as a whole.

No JSON parser for parts is needed. All items begin with the same key, so that key behind "},{" is where one
may end; one does exactly if that is valid JSON, as no beginning of an object is.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

_START, _END = b'"items":[', b"]}"


class _Meta(msgspec.Struct, rename="camel"):
    resource_version: str = ""


class _List(msgspec.Struct):
    metadata: _Meta
    items: list[msgspec.Raw] | None = None


_lists = msgspec.json.Decoder(_List)
_items = msgspec.json.Decoder(msgspec.Raw)


class Listing:
    """Takes the bytes of one list; ``version`` is its resourceVersion once :meth:`end` was called."""

    def __init__(self) -> None:
        self.version = ""
        self._head: bytes | None = None  # what stands before the first item; None until that is known
        self._between = b""  # what may be the end of an item and the start of the next
        self._rest = b""  # not given out yet

    def take(self, chunk: bytes) -> list[msgspec.Raw]:
        """The items that are complete with these bytes."""
        self._rest += chunk
        return list(self._complete()) if self._begun() else []

    def end(self) -> list[msgspec.Raw]:
        """The items that were left. Raises msgspec.MsgspecError where the bytes are no list."""
        found = _lists.decode((self._head or b"") + self._rest)
        self.version = found.metadata.resource_version
        return found.items or []

    def _begun(self) -> bool:
        """True once the first item's first key is known."""
        if self._head is None:
            at = self._rest.find(_START)
            head = self._rest[: at + len(_START)]
            try:
                msgspec.json.decode(head + _END)
            except msgspec.MsgspecError:
                return False  # not there yet, or in the middle of something else: then end() sees to it
            self._head, self._rest = head, self._rest[len(head) :]
        if not self._between and self._rest[:2] == b'{"':
            key, colon, _ = self._rest.partition(b":")
            self._between = b"}," + key + colon if colon else b""
        return bool(self._between)

    def _complete(self) -> Iterator[msgspec.Raw]:
        """Each item that another one follows."""
        begin, at = 0, self._rest.find(self._between)
        while at >= 0:
            try:
                yield _items.decode(self._rest[begin : at + 1])
                begin = at + 2
            except msgspec.MsgspecError:
                pass  # between two objects within the item
            at = self._rest.find(self._between, at + 1)
        self._rest = self._rest[begin:]
