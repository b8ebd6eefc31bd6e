"""The SPDY frames of port-forwards: what comes is understood or refused, in whatever pieces it comes."""

from __future__ import annotations

import contextlib
import struct
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clusters.apiserver import spdy


def control(kind: int, content: bytes, flags: int = 0, version: int = 3) -> bytes:
    return struct.pack(">HHI", 1 << 15 | version, kind, flags << 24 | len(content)) + content


class Client:
    """Writes a client's frames; its headers are one compressed stream, as the protocol wants."""

    def __init__(self) -> None:
        self._deflate = zlib.compressobj(zdict=spdy.DICTIONARY)

    def opens(self, stream: int, **headers: str) -> bytes:
        block = struct.pack(">I", len(headers))
        for text in (text.encode() for pair in headers.items() for text in pair):
            block += struct.pack(">I", len(text)) + text
        packed = self._deflate.compress(block) + self._deflate.flush(zlib.Z_SYNC_FLUSH)
        return control(1, struct.pack(">IIBB", stream, 0, 0, 0) + packed)


def test_the_dictionary_is_the_protocols() -> None:
    """Adler-32 as a zlib stream names it: the dictionary of draft 3.1 has 1423 bytes and this sum."""
    assert len(spdy.DICTIONARY) == 1423
    assert zlib.adler32(spdy.DICTIONARY) == 0xE3C6A7C2


def test_streams_are_opened_with_their_headers_and_carry_data() -> None:
    client, session = Client(), spdy.Session()
    sent = client.opens(1, streamType="error", port="80", requestID="0")
    sent += client.opens(3, streamType="data", port="80", requestID="0")
    sent += spdy.data(3, b"hello") + spdy.data(3, b"", fin=True) + spdy.reset(3) + spdy.ping(7)
    about = {"port": "80", "requestid": "0"}
    assert session.feed(sent) == [
        spdy.Opened(1, {"streamtype": "error", **about}, fin=False),
        spdy.Opened(3, {"streamtype": "data", **about}, fin=False),
        spdy.Data(3, b"hello", fin=False), spdy.Data(3, b"", fin=True), spdy.Reset(3), spdy.Ping(7),
    ]  # fmt: skip


def test_a_reply_can_be_read_by_a_client() -> None:
    session, inflate = spdy.Session(), zlib.decompressobj(zdict=spdy.DICTIONARY)
    for stream in (1, 3):
        frame = session.reply(stream)
        kind, size, number = struct.unpack_from(">III", frame)
        assert (kind, size, number) == (0x80030002, len(frame) - 8, stream)
        assert inflate.decompress(frame[12:]) == bytes(4)


@given(st.lists(st.integers(1, 40), max_size=20))
def test_pieces_of_any_size_give_the_same(sizes: list[int]) -> None:
    sent = Client().opens(1, streamType="data", port="1") + spdy.data(1, b"x" * 50, fin=True) + spdy.ping(2)
    session, found = spdy.Session(), []
    for size in [*sizes, len(sent)]:
        found += session.feed(sent[:size])
        sent = sent[size:]
    assert found == [
        spdy.Opened(1, {"streamtype": "data", "port": "1"}, fin=False),
        spdy.Data(1, b"x" * 50, fin=True), spdy.Ping(2),
    ]  # fmt: skip


@given(st.binary(max_size=80))
def test_any_bytes_are_frames_or_malformed(received: bytes) -> None:
    with contextlib.suppress(spdy.Malformed):
        spdy.Session().feed(received)


@pytest.mark.parametrize(
    ("frame", "words"),
    [
        (control(6, bytes(4), version=2), "SPDY version 2"),
        (control(6, b""), "type 6 with 0 bytes"),
        (control(1, bytes(20)), "cannot be decompressed"),
        (struct.pack(">II", 1, (1 << 24) - 1), "at most"),
        (control(1, bytes(10) + zlib.compress(b"\0\0\0\1\0\0\0\x09ab")), "within a name or a value"),
        (control(1, bytes(10) + zlib.compress(bytes(70_000))), "longer than"),
    ],
)
def test_what_is_not_spdy_is_named(frame: bytes, words: str) -> None:
    with pytest.raises(spdy.Malformed, match=words):
        spdy.Session().feed(frame)
