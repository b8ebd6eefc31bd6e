"""A list read in parts gives what the whole of it holds, wherever it is cut."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from implementation.listing import Listing
from implementation.tests.build import slice_json

NASTY = st.sampled_from(['},{"metadata":', '"items":[', "]}", '"}', "{", "\\", "é"])
LEAF = st.none() | st.booleans() | st.integers(-9, 9) | NASTY
VALUE = st.recursive(
    LEAF,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(NASTY | st.sampled_from(["metadata", "name"]), inner, max_size=3)
    ),
    max_leaves=12,
)
ITEM = st.builds(lambda rest: {"metadata": {"name": "x"}, **rest}, st.dictionaries(NASTY, VALUE, max_size=3))


def read(body: bytes, cuts: list[int]) -> tuple[list[Any], str]:
    listing, found = Listing(), list[msgspec.Raw]()
    edges = [0, *sorted(cut % (len(body) + 1) for cut in cuts), len(body)]
    for begin, end in pairwise(edges):
        found += listing.take(body[begin:end])
    found += listing.end()
    return [json.loads(bytes(one)) for one in found], listing.version


@given(st.lists(ITEM, max_size=6), st.lists(st.integers(0, 10_000), max_size=8), st.booleans(), st.booleans())
def test_any_list_cut_anywhere_is_read_whole(
    items: list[Any], cuts: list[int], items_first: bool, blanks: bool
) -> None:
    meta = {"kind": "List", "metadata": {"resourceVersion": "7"}}
    body = {"items": items, **meta} if items_first else {**meta, "items": items}
    separators = (", ", ": ") if blanks else (",", ":")
    encoded = json.dumps(body, ensure_ascii=False, separators=separators).encode()

    assert read(encoded, cuts) == (items, "7")


def test_items_come_out_before_the_list_ends() -> None:
    items = [slice_json(f"s{n}", "10.42.0.1", "10.42.0.2") for n in range(50)]
    body = json.dumps({"metadata": {}, "items": items}, separators=(",", ":")).encode()

    assert len(Listing().take(body[: len(body) // 2])) > 20


@pytest.mark.parametrize(
    "body", [b"", b"rubbish", b'{"items":[]}', b'{"metadata":{},"items":[{"a":1},{"a":', b"[]"]
)
def test_what_is_no_list_is_refused_at_its_end(body: bytes) -> None:
    listing = Listing()
    listing.take(body)

    with pytest.raises(msgspec.MsgspecError):
        listing.end()
