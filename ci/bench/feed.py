"""An API server that holds nothing but very many Services: lists and watches from ready-made bytes, so that
a measurement is of the proxy and not of the server. Speaks JSON over HTTP to any kube-proxy.

Its moment of acknowledgement is just before an event is handed to the watchers' sockets, so what is measured
from there on holds the whole way to the proxy.
"""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

from scale import LISTS, NODES, SERVICES, SLICES, SPARE, endpoints, node, service, slice_of

from implementation.tests.api import KUBECONFIG


class Feed:
    """The server. ``listed`` is when the last byte of the last list went out (monotonic seconds)."""

    def __init__(self, size: int) -> None:
        self.size, self.version, self.spare = size, 2_000_000, 0
        self.listed = 0.0
        self.addresses: dict[int, list[str]] = {}
        self._watchers: dict[str, list[socket.socket]] = {kind: [] for kind in LISTS}
        self._lock = threading.Lock()
        made = {
            SERVICES: [service(n) for n in range(size)],
            NODES: [node()],
            "servicecidrs": [],
            SLICES: [slice_of(n, endpoints(n)) for n in range(size)],
        }
        self._items = {
            kind: [json.dumps(one, separators=(",", ":")).encode() for one in every]
            for kind, every in made.items()
        }

    def list_of(self, kind: str) -> bytes:
        """The whole list."""
        version, name = LISTS[kind]
        head = json.dumps(
            {"kind": name, "apiVersion": version, "metadata": {"resourceVersion": str(self.version)}}
        )
        return head[:-1].encode() + b',"items":[' + b",".join(self._items[kind]) + b"]}"

    def initial(self, kind: str) -> bytes:
        """The same as events, for clients that ask for the list within the watch."""
        mark = {
            "kind": LISTS[kind][1][:-4],
            "apiVersion": LISTS[kind][0],
            "metadata": {
                "resourceVersion": str(self.version),
                "annotations": {"k8s.io/initial-events-end": "true"},
            },
        }
        lines = [self._event(kind, "ADDED", one) for one in self._items[kind]]
        return b"".join([*lines, json.dumps({"type": "BOOKMARK", "object": mark}).encode() + b"\n"])

    def watch(self, kind: str, made: socket.socket, first: bytes) -> None:
        """Send ``first`` and from now on every change of ``kind`` to this socket."""
        with self._lock:
            if first:
                _chunk(made, first)
            self._watchers[kind].append(made)

    def watched(self) -> bool:
        """True when somebody follows Services and slices."""
        return bool(self._watchers[SERVICES] and self._watchers[SLICES])

    def replace(self, number: int) -> tuple[str, float]:
        """Replace the older endpoint of Service ``number`` by an address never used; gives it, and when."""
        self.spare += 1
        self.version += 1
        new = str(SPARE + self.spare)
        found = self.addresses.get(number) or endpoints(number)
        self.addresses[number] = [found[1], new]
        body = json.dumps(
            slice_of(number, self.addresses[number], self.version), separators=(",", ":")
        ).encode()
        self._items[SLICES][number] = body
        line = self._event(SLICES, "MODIFIED", body)
        at = time.monotonic()
        with self._lock:
            for made in list(self._watchers[SLICES]):
                try:
                    _chunk(made, line)
                except OSError:
                    self._watchers[SLICES].remove(made)
        return new, at

    def _event(self, kind: str, event: str, body: bytes) -> bytes:
        version, name = LISTS[kind]
        typed = f'{{"kind":"{name[:-4]}","apiVersion":"{version}",'.encode()
        return b'{"type":"' + event.encode() + b'","object":' + typed + body[1:] + b"}\n"

    def kubeconfig(self, url: str) -> str:
        """What a client needs to reach it."""
        return KUBECONFIG.replace("SERVER", url)

    def end(self) -> None:
        """Nothing to do: it ends with its process."""

    def start(self, host: str) -> str:
        """Listen; gives the URL."""
        feed = self

        class Handler(_Handler):
            server_feed = feed

        server = ThreadingHTTPServer((host, 0), Handler)
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return f"http://{host}:{server.server_address[1]}"


def _chunk(made: socket.socket, data: bytes) -> None:
    made.sendall(b"%x\r\n" % len(data) + data + b"\r\n")


class _Handler(BaseHTTPRequestHandler):
    """GET of lists, watches and single Nodes; what is written (Events) is taken and forgotten."""

    protocol_version = "HTTP/1.1"
    server_feed: Feed

    def handle(self) -> None:
        """Answer until the client hangs up, which a proxy that is stopped does at any moment."""
        with contextlib.suppress(ConnectionError):
            super().handle()

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        query = {key: values[-1] for key, values in parse_qs(url.query).items()}
        parts = url.path.strip("/").split("/")
        kind = next((part for part in parts if part in LISTS), "")
        if not kind:
            self._send(
                404, b'{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"NotFound","code":404}'
            )
        elif parts[-1] != kind:
            self._send(200, b'{"kind":"Node","apiVersion":"v1",' + json.dumps(node()).encode()[1:])
        elif query.get("watch") not in ("true", "1"):
            self._send(200, self.server_feed.list_of(kind))
            self.server_feed.listed = time.monotonic()
        else:
            self._follow(kind, query)

    def _follow(self, kind: str, query: dict[str, str]) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        first = self.server_feed.initial(kind) if query.get("sendInitialEvents") == "true" else b""
        self.server_feed.watch(kind, self.connection, first)
        if first:
            self.server_feed.listed = time.monotonic()
        while self.connection.recv(4096):  # until the client hangs up
            pass

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", "0")))
        self._send(
            201,
            b'{"kind":"Event","apiVersion":"events.k8s.io/v1","metadata":{"name":"e","namespace":"default"}}',
        )

    def do_PATCH(self) -> None:
        self.do_POST()

    def _send(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: the table is the output."""
