"""The program inside every vantage: it answers probes (echo) and sends them (prober).

One file, standard library, any Python >= 3.8. It knows its own name and nonce and nothing else: never what
is expected, nor of whom. Commands come as HTTP with the token of the run to the control port; what it saw
goes back as plain JSON and is judged elsewhere.

    agent.py --control PORT --token T --name N --nonce X [--echo tcp:80] [--echo udp:80] [--delay-ready]
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import errno
import hmac
import json
import socket
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    Attempt = dict[str, Any]

VERSION = "2"
_LINE = 65536  # the longest line or head taken from anybody
_UNREACHABLE = {errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EHOSTDOWN, errno.ENETDOWN, errno.EPERM}
_RESET = {errno.ECONNRESET, errno.EPIPE, errno.ECONNABORTED}
_STREAMS = ("tcp", "http", "connect", "held")
# Protocol and target -> source ports of failed attempts, and until when to leave them alone: connection
# tracking sends what comes from such a port as it did the first time, past the rules made since.
_SPENT: dict[tuple[str, tuple[str, int]], dict[int, float]] = {}
_REMEMBERED, _TRIES = {"tcp": 130.0, "udp": 35.0}, 64  # seconds; ports looked at before any will do


def address(pair: Any) -> str:
    """``ip:port`` of a socket address, brackets round IPv6; empty for none."""
    if not pair:
        return ""
    host = pair[0]
    return f"[{host}]:{pair[1]}" if ":" in host else f"{host}:{pair[1]}"


def meaning(problem: BaseException) -> str:
    """What a socket's error means to whoever asked: refused, reset, unreachable, timeout, closed or error."""
    if isinstance(problem, (asyncio.TimeoutError, TimeoutError)):
        return "timeout"
    if isinstance(problem, EOFError):
        return "closed"
    number = getattr(problem, "errno", None)
    if number == errno.ECONNREFUSED:
        return "refused"
    if number in _RESET:
        return "reset"
    if number in _UNREACHABLE:  # EPERM: a rule of the sender's own host would not let it out
        return "unreachable"
    return "timeout" if number == errno.ETIMEDOUT else "error"


# ---------------------------------------------------------------- echo


class StreamEcho(asyncio.Protocol):
    """Answers every line with one JSON line: who answered, and which address the line came from."""

    def __init__(self, identity: Identity) -> None:
        self.identity, self.rest, self.wire = identity, b"", None  # type: Identity, bytes, Any

    def connection_made(self, wire: Any) -> None:
        """Keep the transport."""
        self.wire = wire

    def data_received(self, data: bytes) -> None:
        """Answer each complete line; a line longer than 64 KiB ends the connection."""
        lines = (self.rest + data).split(b"\n")
        self.rest = lines.pop()
        for _ in lines:
            seen = (self.wire.get_extra_info("peername"), self.wire.get_extra_info("sockname"))
            self.wire.write(self.identity.answer(*seen))
        if len(self.rest) > _LINE:
            self.wire.abort()


class DatagramEcho(asyncio.DatagramProtocol):
    """Answers every datagram with one JSON line, as StreamEcho does."""

    def __init__(self, identity: Identity) -> None:
        self.identity, self.wire = identity, None  # type: Identity, Any

    def connection_made(self, wire: Any) -> None:
        """Keep the transport."""
        self.wire = wire

    def datagram_received(self, data: bytes, peer: Any) -> None:  # noqa: ARG002 - the base's names
        """Answer the datagram to where it came from."""
        self.wire.sendto(self.identity.answer(peer, self.wire.get_extra_info("sockname")), peer)


class Identity:
    """Name and nonce of this agent: all it knows."""

    def __init__(self, name: str, nonce: str) -> None:
        self.name, self.nonce = name, nonce

    def answer(self, peer: Any, local: Any) -> bytes:
        """The line an echo answers with."""
        said = {"name": self.name, "nonce": self.nonce, "peer": address(peer), "local": address(local)}
        return json.dumps(said).encode() + b"\n"


class Echoes:
    """The listeners of this agent, by ``tcp:80``; each on every address, IPv6 too where the kernel has it."""

    def __init__(self, identity: Identity) -> None:
        self.identity = identity
        self.open: dict[str, list[Any]] = {}

    async def add(self, spec: str) -> None:
        """Start to listen at ``tcp:PORT`` or ``udp:PORT``; nothing happens when it is open already."""
        if spec in self.open:
            return
        protocol, _, port = spec.partition(":")
        if protocol not in ("tcp", "udp") or not port.isdigit() or not 0 < int(port) < 65536:
            raise ValueError(f"echo {spec!r}: expected tcp:PORT or udp:PORT")
        loop = asyncio.get_running_loop()
        made: list[Any] = []
        for wire in _bound(protocol, int(port)):
            if protocol == "tcp":
                made.append(await loop.create_server(self._stream, sock=wire, backlog=4096))
            else:
                made.append((await loop.create_datagram_endpoint(self._datagram, sock=wire))[0])
        self.open[spec] = made

    def _stream(self) -> StreamEcho:
        return StreamEcho(self.identity)

    def _datagram(self) -> DatagramEcho:
        return DatagramEcho(self.identity)

    def remove(self, spec: str) -> None:
        """Stop to listen there; nothing happens when it is not open."""
        for listener in self.open.pop(spec, ()):
            listener.close()


def _bound(protocol: str, port: int) -> Iterator[socket.socket]:
    """Sockets bound to ``port`` on every IPv4 address, and on every IPv6 one where that family works."""
    kind = socket.SOCK_STREAM if protocol == "tcp" else socket.SOCK_DGRAM
    for family, anywhere in ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")):
        wire = None
        try:
            wire = socket.socket(family, kind)
            if family == socket.AF_INET6:
                wire.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            if protocol == "tcp":
                wire.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            else:
                wire.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
            wire.setblocking(False)
            wire.bind((anywhere, port))
        except OSError:
            if wire is not None:
                wire.close()
            if family == socket.AF_INET:
                raise
            continue
        yield wire


# ---------------------------------------------------------------- prober


class Prober:
    """One series of attempts, each from a fresh source port, each with one deadline up to its answer."""

    def __init__(self, command: dict[str, Any]) -> None:
        self.kind = command["kind"]
        self.protocol = command.get("protocol", "udp" if self.kind == "udp" else "tcp")
        if self.kind not in (*_STREAMS, "udp", "exchange") or self.protocol not in ("tcp", "udp"):
            raise ValueError(f"kind {self.kind!r} over {self.protocol!r}: expected tcp, udp, http, connect, "
                             "held or exchange, over tcp or udp")
        self.target = (str(command["target"][0]), int(command["target"][1]))
        self.family = socket.AF_INET6 if ":" in self.target[0] else socket.AF_INET
        self.count, self.timeout = int(command.get("count", 1)), float(command.get("timeout", 1.0))
        self.concurrency = max(1, int(command.get("concurrency", 32)))
        self.interval = None if command.get("interval") is None else float(command["interval"])
        self.payload = base64.b64decode(command.get("payload") or "", validate=True) or b"who"
        self.path, self.host = command.get("path") or "/", command.get("host") or address(self.target)
        self.source_port, self.keep = int(command.get("source_port") or 0), bool(command.get("data"))
        self.began, self.spent = time.monotonic(), _SPENT.setdefault((self.protocol, self.target), {})

    async def run(self) -> list[Attempt]:
        """Send them all; gives the attempts in the order they were due, times in seconds since ``began``."""
        if self.kind == "held":
            found = await asyncio.gather(*[self._conversation() for _ in range(self.concurrency)])
            return sorted((one for rows in found for one in rows), key=lambda one: one["at"])
        if self.interval is not None and self.source_port:
            return [await self._due(number) for number in range(self.count)]
        if self.interval is not None:
            return list(await asyncio.gather(*map(self._due, range(self.count))))
        attempts: list[Attempt] = [{} for _ in range(self.count)]
        numbers = iter(range(self.count))

        async def worker() -> None:
            for number in numbers:
                attempts[number] = await self._attempt(number)

        await asyncio.gather(*[worker() for _ in range(min(self.concurrency, self.count))])
        return attempts

    async def _due(self, number: int) -> Attempt:
        """Attempt ``number`` at its own instant, whatever became of those before it."""
        await asyncio.sleep(max(0.0, self.began + number * (self.interval or 0.0) - time.monotonic()))
        return await self._attempt(number)

    async def _conversation(self) -> list[Attempt]:
        """``count`` exchanges on one connection, at their instants; it ends with the first that fails."""
        rows: list[Attempt] = []
        with self._fresh() as wire:
            wire.setblocking(False)
            for number in range(self.count):
                wait = self.began + number * (self.interval or 0.0) - time.monotonic()
                await asyncio.sleep(max(0.0, wait))
                rows.append(await self._timed(wire, number, opened=number > 0))
                if rows[-1]["outcome"] != "answered":
                    break
        return rows

    async def _attempt(self, number: int) -> Attempt:
        with self._fresh() as wire:
            return await self._timed(wire, number)

    def _fresh(self) -> socket.socket:
        """A socket, not with the port of an attempt at the same target that failed just now."""
        kind = socket.SOCK_STREAM if self.protocol == "tcp" else socket.SOCK_DGRAM
        held = [socket.socket(self.family, kind)]  # closed only then, or the same port would be given again
        while self.spent and not self.source_port and len(held) < _TRIES:
            held[-1].bind(("", 0))
            if self.spent.get(held[-1].getsockname()[1], 0.0) <= time.monotonic():
                break
            held.append(socket.socket(self.family, kind))
        for wire in held[:-1]:
            wire.close()
        return held[-1]

    async def _timed(self, wire: socket.socket, number: int, *, opened: bool = False) -> Attempt:
        """One attempt on ``wire``, which may be open already; it ends in exactly one outcome."""
        began = time.monotonic()
        seen: Attempt = {"at": began - self.began, "by": "", "peer": "", "source": "", "detail": ""}
        try:
            wire.setblocking(False)
            if self.source_port and not opened:
                wire.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                wire.bind(("::" if self.family == socket.AF_INET6 else "0.0.0.0", self.source_port))
            await asyncio.wait_for(self._talk(wire, seen, number, opened), self.timeout)
            seen["outcome"] = "answered"
        except (OSError, asyncio.TimeoutError, EOFError, ValueError) as problem:  # noqa: UP041 - two types until 3.11
            seen["outcome"] = meaning(problem)
            seen["detail"] = seen["detail"] or str(problem)
            self.spent[wire.getsockname()[1]] = time.monotonic() + _REMEMBERED[self.protocol]
        seen["ms"] = (time.monotonic() - began) * 1000
        return seen

    async def _talk(self, wire: socket.socket, seen: Attempt, number: int, opened: bool) -> None:
        """One exchange on ``wire``; what was seen goes into ``seen``, a failure is raised."""
        loop = asyncio.get_running_loop()
        seen["detail"] = "connecting"
        if not opened:
            await loop.sock_connect(wire, self.target)
        seen["source"], seen["detail"] = address(wire.getsockname()), "waiting for the answer"
        if self.kind == "connect":
            seen["detail"] = ""
            return
        await loop.sock_sendall(wire, self._request(number))
        data = await self._answer(loop, wire)
        seen["detail"] = ""
        if self.kind == "http":
            self._read_http(data, seen)
        elif self.kind == "exchange":
            seen["data"] = base64.b64encode(data).decode()
        else:
            self._read_echo(data, seen)

    def _request(self, number: int) -> bytes:
        if self.kind == "http":
            path = self.path.replace("{n}", str(number))
            lines = (f"GET {path} HTTP/1.1", f"Host: {self.host}", "User-Agent: service-conformance",
                     "Connection: close", "", "")
            return "\r\n".join(lines).encode()
        if self.kind == "exchange":
            return (len(self.payload).to_bytes(2, "big") if self.protocol == "tcp" else b"") + self.payload
        return self.payload + b"\n"

    async def _answer(self, loop: asyncio.AbstractEventLoop, wire: socket.socket) -> bytes:
        """The bytes of one whole answer; EOFError when the other side closes before it."""
        if self.protocol == "udp":
            return await loop.sock_recv(wire, 65535)
        data = b""
        while True:
            part = await loop.sock_recv(wire, 65536)
            data += part
            if self.kind == "http" and not part and data:
                return data
            if self.kind in ("tcp", "held") and data.endswith(b"\n"):
                return data
            if self.kind == "exchange" and len(data) >= 2 + int.from_bytes(data[:2], "big") > 2:
                return data[2:]
            if not part:
                raise EOFError("closed before a whole answer")

    def _read_echo(self, data: bytes, seen: Attempt) -> None:
        """Who answered; somebody who is no agent answered too, and has no nonce."""
        try:
            said = json.loads(data)
            seen["by"], seen["peer"] = str(said["nonce"]), str(said["peer"])
        except (ValueError, KeyError, TypeError):
            seen["detail"] = f"not an agent's answer: {data[:60]!r}"

    def _read_http(self, data: bytes, seen: Attempt) -> None:
        head, _, body = data.partition(b"\r\n\r\n")
        first = head.split(b"\r\n", 1)[0].split()
        if len(first) < 2 or not first[0].startswith(b"HTTP/"):
            seen["detail"] = f"not HTTP: {data[:60]!r}"
            return
        seen["detail"] = f"{first[1].decode('ascii', 'replace')}, {len(body)} bytes"
        if self.keep:
            seen["data"] = base64.b64encode(body).decode()


# ---------------------------------------------------------------- control


def resolver() -> dict[str, Any]:
    """Nameservers, search list and ndots of this place's /etc/resolv.conf."""
    found: dict[str, Any] = {"nameservers": [], "search": [], "ndots": 1}
    try:
        lines = Path("/etc/resolv.conf").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return found
    for words in (line.split() for line in lines):
        if words[:1] == ["nameserver"]:
            found["nameservers"] += words[1:2]
        elif words[:1] == ["search"]:
            found["search"] = words[1:]
        elif words[:1] == ["options"]:
            told = [word[6:] for word in words if word.startswith("ndots:") and word[6:].isdigit()]
            found["ndots"] = int(told[-1]) if told else found["ndots"]
    return found


class Control:
    """The control port: small HTTP/1.1, one request a connection, nothing without the token but /readyz."""

    def __init__(self, options: argparse.Namespace, identity: Identity, echoes: Echoes) -> None:
        self.token, self.identity, self.echoes = options.token.encode(), identity, echoes
        self.ready = not options.delay_ready

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one request and close."""
        try:
            status, body = await self._handle(reader)
            lines = (f"HTTP/1.1 {status} -", "Content-Type: application/json", f"Content-Length: {len(body)}",
                     "Connection: close", "", "")
            writer.write("\r\n".join(lines).encode() + body)
            await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def _handle(self, reader: asyncio.StreamReader) -> tuple[int, bytes]:
        try:
            lines = (await reader.readuntil(b"\r\n\r\n")).split(b"\r\n")
            method, path, _ = lines[0].decode("latin-1").split(" ", 2)
            fields = [line.partition(b":") for line in lines[1:] if line]
            headers = {name.strip().lower(): value.strip() for name, _, value in fields}
            if (method, path) == ("GET", "/readyz"):
                return (200, b"ok") if self.ready else (503, b"not ready")
            if not self._allowed(headers):
                return 401, b'{"error": "commands are taken only with the token of the run"}'
            # No request has a body: a pod proxy cuts an answer that comes before its end (golang/go #40747).
            command = json.loads(headers.get(b"x-agent-command", b"{}"))
            if not isinstance(command, dict):
                return 400, b'{"error": "a command is a JSON object"}'
            return 200, json.dumps(await self._command(method, path, command)).encode()
        except asyncio.LimitOverrunError:
            return 431, b'{"error": "a request is longer than 64 KiB"}'
        except (ValueError, KeyError, TypeError, IndexError, OSError) as problem:
            return 400, json.dumps({"error": f"{type(problem).__name__}: {problem}"}).encode()

    def _allowed(self, headers: dict[bytes, bytes]) -> bool:
        """True with the run's token; a pod proxy keeps Authorization to itself, so X-Agent-Token will do."""
        given = headers.get(b"x-agent-token") or headers.get(b"authorization", b"").partition(b"Bearer ")[2]
        return hmac.compare_digest(given, self.token)

    async def _command(self, method: str, path: str, command: dict[str, Any]) -> dict[str, Any]:
        if (method, path) == ("GET", "/v1/hello"):
            return self._hello()
        if (method, path) == ("POST", "/v1/probe"):
            prober = Prober(command)
            return {"began": prober.began, "attempts": await prober.run()}
        if (method, path) == ("POST", "/v1/resolve"):
            family, timeout = int(command.get("family", 4)), float(command.get("timeout", 5))
            return await resolve(command["name"], family, timeout)
        if (method, path) == ("POST", "/v1/echo"):
            for spec in command.get("remove", ()):
                self.echoes.remove(spec)
            for spec in command.get("add", ()):
                await self.echoes.add(spec)
            return {"open": sorted(self.echoes.open)}
        if (method, path) == ("POST", "/v1/ready"):
            self.ready = bool(command["ready"])
            return {"ready": self.ready}
        raise ValueError(f"no command {method} {path}")

    def _hello(self) -> dict[str, Any]:
        return {"version": VERSION, "name": self.identity.name, "nonce": self.identity.nonce,
                "now": time.monotonic(), "addresses": own_addresses(), "resolv": resolver(),
                "python": sys.version.split()[0], "open": sorted(self.echoes.open)}


def own_addresses() -> list[str]:
    """The addresses other hosts would see this one use, primary family first; no packet is sent for it."""
    found = []
    for family, far in ((socket.AF_INET, "203.0.113.1"), (socket.AF_INET6, "2001:db8::1")):
        try:
            with socket.socket(family, socket.SOCK_DGRAM) as wire:
                wire.connect((far, 9))
                found.append(wire.getsockname()[0])
        except OSError:
            continue
    return found


async def resolve(name: str, family: int, timeout: float) -> dict[str, Any]:
    """Addresses that the system's own resolver gives for ``name`` in family 4 or 6, sorted, each once."""
    wanted, began = socket.AF_INET6 if family == 6 else socket.AF_INET, time.monotonic()
    asked = asyncio.get_running_loop().getaddrinfo(name, None, family=wanted, type=socket.SOCK_STREAM)
    try:
        answer = await asyncio.wait_for(asked, timeout)
    except socket.gaierror as problem:
        return {"addresses": [], "error": problem.strerror or str(problem), "ms": _since(began)}
    except asyncio.TimeoutError:  # noqa: UP041 - two types until 3.11
        return {"addresses": [], "error": f"no answer within {timeout:g} s", "ms": _since(began)}
    return {"addresses": sorted({row[4][0] for row in answer}), "error": "", "ms": _since(began)}


def _since(began: float) -> float:
    return (time.monotonic() - began) * 1000


async def serve(options: argparse.Namespace, started: Callable[[int], None] | None = None) -> None:
    """Run the agent until it is cancelled; ``started`` is called with the control port once it listens."""
    identity = Identity(options.name, options.nonce)
    echoes = Echoes(identity)
    for spec in options.echo:
        await echoes.add(spec)
    control = Control(options, identity, echoes)
    server = await asyncio.start_server(control.serve, options.bind, options.control, limit=_LINE)
    try:
        if started is not None:
            started(server.sockets[0].getsockname()[1])
        await asyncio.get_running_loop().create_future()
    finally:
        server.close()
        for spec in list(echoes.open):
            echoes.remove(spec)


def parse(argv: list[str] | None) -> argparse.Namespace:
    """The command line as an argparse namespace; ends the program with a sentence when it is wrong."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--control", type=int, required=True, help="port of the control HTTP")
    parser.add_argument("--bind", default="0.0.0.0", help="address of the control HTTP")
    parser.add_argument("--token", required=True, help="commands are taken only with this")
    parser.add_argument("--name", required=True)
    parser.add_argument("--nonce", required=True, help="told in every answer")
    parser.add_argument("--echo", action="append", default=[], metavar="tcp:PORT|udp:PORT")
    parser.add_argument("--delay-ready", action="store_true", help="not ready until told")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Run until ended from outside; gives the exit status."""
    try:
        asyncio.run(serve(parse(argv)))
    except KeyboardInterrupt:
        return 0
    except (OSError, ValueError) as problem:
        sys.stderr.write(f"agent: {problem}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
