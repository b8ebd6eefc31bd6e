"""SPDY/3.1 frames, as many as a server of port-forwards needs (KEP-4006: inside WebSockets). Pure.

Source: "SPDY Protocol - Draft 3.1". Flow control is not spoken, as Kubernetes' own SPDY does not speak it.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass, field

_SYN_STREAM, _SYN_REPLY, _RST_STREAM, _PING, _HEADERS = 1, 2, 3, 6, 8
_VERSION, _FIN = 3, 1
_HEAD, _NUMBER = struct.Struct(">II"), struct.Struct(">I")
_LONGEST_FRAME = 1 << 20  # bytes; Go's io.Copy writes 32 KiB at once
_LONGEST_HEADERS = 64 * 1024  # bytes, decompressed
# The preset dictionary of the headers' compression (section 2.6.10.1): names with their lengths, a text.
_NAMES = (
    "options,head,post,put,delete,trace,accept,accept-charset,accept-encoding,accept-language,accept-rang"
    "es,age,allow,authorization,cache-control,connection,content-base,content-encoding,content-language,c"
    "ontent-length,content-location,content-md5,content-range,content-type,date,etag,expect,expires,from,"
    "host,if-match,if-modified-since,if-none-match,if-range,if-unmodified-since,last-modified,location,ma"
    "x-forwards,pragma,proxy-authenticate,proxy-authorization,range,referer,retry-after,server,te,trailer"
    ",transfer-encoding,upgrade,user-agent,vary,via,warning,www-authenticate,method,get,status,200 OK,ver"
    "sion,HTTP/1.1,url,public,set-cookie,keep-alive,origin"
)
_TEXT = (
    "100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505203 Non-Au"
    "thoritative Information204 No Content301 Moved Permanently400 Bad Request401 Unauthorized403 Forbidd"
    "en404 Not Found500 Internal Server Error501 Not Implemented503 Service UnavailableJan Feb Mar Apr Ma"
    "y Jun Jul Aug Sept Oct Nov Dec 00:00:00 Mon, Tue, Wed, Thu, Fri, Sat, Sun, GMTchunked,text/html,imag"
    "e/png,image/jpg,image/gif,application/xml,application/xhtml+xml,text/plain,text/javascript,publicpri"
    "vatemax-age=gzip,deflate,sdchcharset=utf-8charset=iso-8859-1,utf-,*,enq=0."
)
DICTIONARY = b"".join(_NUMBER.pack(len(word)) + word.encode() for word in _NAMES.split(",")) + _TEXT.encode()


class Malformed(Exception):
    """What came is not SPDY/3.1; the session cannot go on."""


@dataclass(frozen=True)
class Opened:
    """The client opened a stream; header names are in lower case."""

    stream: int
    headers: dict[str, str]
    fin: bool  # it will send nothing on it


@dataclass(frozen=True)
class Data:
    """The client sent bytes on a stream; ``fin``: the last ones."""

    stream: int
    data: bytes
    fin: bool


@dataclass(frozen=True)
class Reset:
    """The client gave up a stream."""

    stream: int


@dataclass(frozen=True)
class Ping:
    """The client wants the same number back."""

    number: int


Event = Opened | Data | Reset | Ping


def data(stream: int, content: bytes, *, fin: bool = False) -> bytes:
    """A frame of content; ``fin``: the server sends no more on this stream."""
    return _HEAD.pack(stream, (_FIN if fin else 0) << 24 | len(content)) + content


def ping(number: int) -> bytes:
    """The answer to a ping."""
    return _control(_PING, _NUMBER.pack(number))


def reset(stream: int) -> bytes:
    """The server gives up a stream (CANCEL)."""
    return _control(_RST_STREAM, _NUMBER.pack(stream) + _NUMBER.pack(5))


def _control(kind: int, content: bytes) -> bytes:
    return _HEAD.pack(1 << 31 | _VERSION << 16 | kind, len(content)) + content


@dataclass
class Session:
    """The server's side of one connection: bytes in, events out; and the frames that need its state."""

    _rest: bytes = b""
    _inflate: zlib._Decompress = field(default_factory=lambda: zlib.decompressobj(zdict=DICTIONARY))
    _deflate: zlib._Compress = field(default_factory=lambda: zlib.compressobj(zdict=DICTIONARY))

    def reply(self, stream: int) -> bytes:
        """The stream is accepted (SYN_REPLY without headers)."""
        packed = self._deflate.compress(_NUMBER.pack(0)) + self._deflate.flush(zlib.Z_SYNC_FLUSH)
        return _control(_SYN_REPLY, _NUMBER.pack(stream) + packed)

    def feed(self, received: bytes) -> list[Event]:
        """What the bytes mean, with those that came before. Malformed: they are not SPDY/3.1."""
        self._rest += received
        found: list[Event] = []
        while len(self._rest) >= _HEAD.size:
            first, second = _HEAD.unpack_from(self._rest)
            flags, size = second >> 24, second & 0xFFFFFF
            if size > _LONGEST_FRAME:
                raise Malformed(f"a frame of {size} bytes; at most {_LONGEST_FRAME} are taken")
            if len(self._rest) < _HEAD.size + size:
                break
            content = self._rest[_HEAD.size : _HEAD.size + size]
            self._rest = self._rest[_HEAD.size + size :]
            if not first >> 31:
                found.append(Data(first, content, bool(flags & _FIN)))
            elif event := self._control_frame(first >> 16 & 0x7FFF, first & 0xFFFF, flags, content):
                found.append(event)
        return found

    def _control_frame(self, version: int, kind: int, flags: int, content: bytes) -> Event | None:
        if version != _VERSION:
            raise Malformed(f"SPDY version {version}; only {_VERSION} is spoken")
        least = {_SYN_STREAM: 10, _RST_STREAM: 8, _PING: 4, _HEADERS: 4}.get(kind, 0)
        if len(content) < least:
            raise Malformed(f"a control frame of type {kind} with {len(content)} bytes; {least} at least")
        number = _NUMBER.unpack_from(content)[0] if least else 0
        if kind == _SYN_STREAM:
            return Opened(number & 0x7FFFFFFF, self._headers(content[10:]), bool(flags & _FIN))
        if kind == _HEADERS:
            self._headers(content[4:])  # nothing in them matters here, but the compression goes on
        if kind == _RST_STREAM:
            return Reset(number & 0x7FFFFFFF)
        return Ping(number) if kind == _PING else None

    def _headers(self, packed: bytes) -> dict[str, str]:
        try:
            block = self._inflate.decompress(packed, _LONGEST_HEADERS)
        except zlib.error as error:
            raise Malformed(f"headers that cannot be decompressed: {error}") from None
        if self._inflate.unconsumed_tail:
            raise Malformed(f"headers longer than {_LONGEST_HEADERS} bytes")
        texts: list[str] = []
        at = _NUMBER.size
        while at < len(block):
            if at + _NUMBER.size > len(block):
                raise Malformed("headers that end within a length")
            size = _NUMBER.unpack_from(block, at)[0]
            texts.append(block[at + _NUMBER.size : at + _NUMBER.size + size].decode("latin-1"))
            at += _NUMBER.size + size
        if at != max(len(block), _NUMBER.size) or len(texts) % 2:
            raise Malformed("headers that end within a name or a value")
        return {name.lower(): value for name, value in zip(texts[::2], texts[1::2], strict=True)}
