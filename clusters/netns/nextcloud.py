"""The stand-in for the NextCloud image: a login page of our own on port 80, and Apache's kind of access log.

It is not NextCloud and says so in the page and in a header. The page has the 6,815 bytes that the seed post's
``curl`` counted. One asyncio process; a new connection for every request is no trouble (thousands a second).
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Sequence

PAGE_BYTES = 6815
_LONGEST_HEAD = 16 * 1024
_NAME = "service-conformance-stand-in"


def page() -> bytes:
    """The login page, exactly ``PAGE_BYTES`` long."""
    text = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>Login - Nextcloud (stand-in)</title>
<!-- This is not NextCloud: it is a stand-in served by service-conformance's embedded cluster. -->
<style>
body { font-family: sans-serif; background: #0b6aa8; color: #fff; margin: 0; }
main { max-width: 20em; margin: 6em auto; padding: 2em; background: #0d4f7c; border-radius: 8px; }
input, button { display: block; width: 100%; margin: .5em 0; padding: .6em; box-sizing: border-box; }
</style>
</head>
<body>
<main>
<h1>Log in</h1>
<form method="post" action="/login" autocomplete="on">
<label>Account name or email <input name="user" required></label>
<label>Password <input name="password" type="password" required></label>
<button type="submit">Log in</button>
</form>
<p><small>A stand-in: nothing you type here goes anywhere.</small></p>
</main>
<!--"""
    end = "-->\n</body>\n</html>\n"
    line = " The page is filled up to the size the post shows.\n"
    room = PAGE_BYTES - len(text) - len(end)
    return (text + (line * (room // len(line) + 1))[:room] + end).encode()


_PAGE = page()
_STATUS = b'{"installed":true,"maintenance":false,"productname":"stand-in"}'


class Session(asyncio.Protocol):
    """One client's connection: requests one after the other, answers at once."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._head = b""
        self._skip = 0  # bytes of a request's body still to come

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client has come."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Answer every request that is complete."""
        self._head += data
        while self._transport is not None and not self._transport.is_closing():
            skipped = min(self._skip, len(self._head))
            self._head, self._skip = self._head[skipped:], self._skip - skipped
            head, found, rest = self._head.partition(b"\r\n\r\n")
            if not found:
                if len(self._head) > _LONGEST_HEAD:
                    self._answer("-", b"", 431, {}, close=True)
                return
            self._head = rest
            self._request(head)

    def _request(self, head: bytes) -> None:
        first, *lines = head.decode("latin-1").split("\r\n")
        fields = {}
        for line in lines:
            name, _, value = line.partition(":")
            fields[name.strip().lower()] = value.strip()
        words = first.split(" ")
        if len(words) != 3 or not words[2].startswith("HTTP/1."):
            self._answer(first, b"", 400, fields, close=True)
            return
        length = fields.get("content-length", "0")
        self._skip = int(length) if length.isdigit() else 0
        method, target, version = words
        keep = fields.get("connection", "").lower()
        close = keep == "close" or (version == "HTTP/1.0" and keep != "keep-alive")
        if method not in ("GET", "HEAD"):
            self._answer(first, b"", 405, fields, close=close)
        elif target.partition("?")[0] == "/status.php":
            self._answer(first, _STATUS, 200, fields, close=close, kind="application/json",
                         bare=method == "HEAD")
        else:
            self._answer(first, _PAGE, 200, fields, close=close, bare=method == "HEAD")

    def _answer(
        self, line: str, body: bytes, status: int, fields: dict[str, str], *, close: bool,
        kind: str = "text/html; charset=UTF-8", bare: bool = False,
    ) -> None:
        assert self._transport is not None
        reason = {200: "OK", 400: "Bad Request", 405: "Method Not Allowed"}.get(status, "Refused")
        head = (
            f"HTTP/1.1 {status} {reason}\r\nServer: {_NAME}\r\nX-Stand-In: not NextCloud\r\n"
            f"Content-Type: {kind}\r\nContent-Length: {len(body)}\r\n"
            f"Connection: {'close' if close else 'keep-alive'}\r\n\r\n"
        )
        peer = (self._transport.get_extra_info("peername") or ("-",))[0]
        # The line first: who has the answer and then counts lines must find it.
        log(peer, line, status, 0 if bare else len(body), fields)
        self._transport.write(head.encode() + (b"" if bare else body))
        if close:
            self._transport.close()


def log(peer: str, line: str, status: int, size: int, fields: dict[str, str]) -> None:
    """One line of Apache's combined log format; quotes and control signs of the client are escaped."""
    when = time.strftime("%d/%b/%Y:%H:%M:%S +0000", time.gmtime())
    said = [_escape(text) for text in (line, fields.get("referer", "-"), fields.get("user-agent", "-"))]
    sys.stdout.write(f'{peer} - - [{when}] "{said[0]}" {status} {size} "{said[1]}" "{said[2]}"\n')


def _escape(text: str) -> str:
    return "".join(
        sign if " " <= sign < "\x7f" and sign not in '"\\' else f"\\x{ord(sign):02x}" for sign in text
    )


async def serve(port: int) -> None:
    """Serve on all addresses until cancelled."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Session, "0.0.0.0", port, backlog=1024)
    async with server:
        await server.serve_forever()


def main(args: Sequence[str]) -> int:
    """Run until killed; the port may be given as the only argument (default 80)."""
    asyncio.run(serve(int(args[0]) if args and args[0].isdigit() else 80))
    return 0


if __name__ == "__main__":  # the program of an image, where there is no embedded cluster
    sys.exit(main(sys.argv[1:]))
