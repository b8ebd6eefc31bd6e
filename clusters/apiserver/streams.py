"""Logs, exec, attach and port-forward of pods: from kubectl's requests to the kubelet's (see ``kubelet``).

Over HTTP: ``log`` is plain text. ``exec`` and ``attach`` are WebSockets with the subprotocols v5 and
v4.channel.k8s.io (KEP-4006): each message begins with the byte of its channel; ``portforward`` is in a module
of its own. An upgrade to SPDY itself is refused.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec
from aiohttp import WSMsgType, web

from clusters.apiserver import kubelet, portforward, routes
from clusters.apiserver.listing import whole_number
from clusters.apiserver.parameters import flag
from clusters.apiserver.registry import Registry
from clusters.apiserver.status import Refused, bad_request

NAMES = frozenset({"log", "exec", "attach", "portforward"})
_BLOCK = 64 * 1024  # bytes read from a log at once
Object = dict[str, Any]


def container_of(pod: Object, asked: str) -> str:
    """The container a request means. Refused 400, in Kubernetes' words, when it is not clear or not there."""
    name, spec = pod["metadata"]["name"], pod["spec"]
    groups = [spec.get(field) or [] for field in ("containers", "initContainers", "ephemeralContainers")]
    known = [container["name"] for group in groups for container in group]
    if asked:
        if asked not in known:
            raise bad_request(f"container {asked} is not valid for pod {name}")
        return asked
    usual = (pod["metadata"].get("annotations") or {}).get("kubectl.kubernetes.io/default-container")
    if usual in known:
        return str(usual)
    if len(groups[0]) > 1:
        choice = " ".join(container["name"] for container in groups[0])
        raise bad_request(f"a container name must be specified for pod {name}, choose one of: [{choice}]")
    return str(known[0])


def log_request(query: Mapping[str, str], now: float) -> Object:
    """What a log request asks of the kubelet. Refused 400."""
    since: float | None = None
    if query.get("sinceSeconds"):
        since = whole_number(query["sinceSeconds"], "sinceSeconds")
    elif query.get("sinceTime"):
        try:
            since = max(0.0, now - datetime.fromisoformat(query["sinceTime"]).timestamp())
        except ValueError:
            raise bad_request(f'sinceTime: Invalid value: "{query["sinceTime"]}": must be RFC 3339') from None
    return {
        "op": "logs",
        "follow": flag(query.get("follow", "")),
        "previous": flag(query.get("previous", "")),
        "timestamps": flag(query.get("timestamps", "")),
        "tail": whole_number(query["tailLines"], "tailLines") if query.get("tailLines") else None,
        "since": since,
        "limit": whole_number(query["limitBytes"], "limitBytes") if query.get("limitBytes") else None,
    }


def end_status(data: bytes) -> Object:
    """The ``Status`` that ends an exec, from the kubelet's last frame."""
    try:
        told = msgspec.json.decode(data)
    except msgspec.DecodeError:
        told = {}
    code = told.get("status") if isinstance(told, dict) else None
    if code == 0:
        return {"metadata": {}, "status": "Success"}
    if isinstance(code, int):
        return {
            "metadata": {},
            "status": "Failure",
            "message": f"command terminated with non-zero exit code: exit status {code}",
            "reason": "NonZeroExitCode",
            "details": {"causes": [{"reason": "ExitCode", "message": str(code)}]},
        }
    words = told.get("error") if isinstance(told, dict) else None
    return {
        "metadata": {},
        "status": "Failure",
        "message": f"Internal error occurred: {words or 'the kubelet went away before the command ended'}",
        "reason": "InternalError",
        "code": 500,
    }


class Pipes:
    """Carries what was asked to the kubelet and back. ``socket``: the kubelet's path, empty for none."""

    def __init__(self, socket: str) -> None:
        self._socket = socket

    async def log(self, request: web.BaseRequest, asked: Object) -> web.StreamResponse:
        """A log as plain text, for as long as the kubelet sends it. Refused: as the kubelet refuses."""
        stream = await kubelet.ask(self._socket, asked)
        answer = web.StreamResponse(headers={"Content-Type": "text/plain"})
        answer.enable_chunked_encoding()
        try:
            await answer.prepare(request)
            while data := await stream.reader.read(_BLOCK):
                await answer.write(data)
            await answer.write_eof()
        finally:
            stream.close()
        return answer

    async def talk(self, request: web.BaseRequest, asked: Object) -> web.StreamResponse:
        """``exec`` or ``attach`` over a WebSocket. Refused 400 without one."""
        socket = await _upgraded(request, portforward.CHANNELS)
        try:
            stream = await kubelet.ask(self._socket, asked)
        except Refused as refused:
            # Told on the last channel: a refusal before the upgrade sends kubectl to SPDY, and so astray.
            await _finish(socket, msgspec.json.encode({"error": refused.message}))
            return socket
        hearing = asyncio.create_task(_hear(socket, stream))
        try:
            outputs = [number for number, name in ((kubelet.STDOUT, "stdout"), (kubelet.STDERR, "stderr"))
                       if asked[name]]
            await _tell(socket, stream, outputs)
        finally:
            stream.close()
            hearing.cancel()
            with contextlib.suppress(asyncio.CancelledError, ConnectionError):
                await hearing
        return socket

    async def forward(self, request: web.BaseRequest, asked: Object) -> web.StreamResponse:
        """``portforward`` over a WebSocket. Refused 400 without one."""
        spoken = request.headers.get("Sec-WebSocket-Protocol", "")
        if portforward.TUNNEL in [word.strip() for word in spoken.split(",")]:
            socket = await _upgraded(request, (portforward.TUNNEL,))
            await portforward.Tunnel(socket, self._socket, asked).serve()
            return socket
        ports = portforward.ports_of(request.query.getall("ports", [])) if _upgrades(request) else []
        socket = await _upgraded(request, portforward.CHANNELS)
        await portforward.serve_channels(socket, self._socket, asked, ports)
        return socket

class Streams(Pipes):
    """Answers the streaming requests about pods, as the API server is asked for them."""

    def __init__(self, registry: Registry, socket: str) -> None:
        super().__init__(socket)
        self._registry = registry

    async def answer(self, request: web.BaseRequest, target: routes.Target) -> web.StreamResponse:
        """Streams until one side ends. Refused: 400, 404, 503, and as the kubelet refuses."""
        pod = self._registry.get(target.resource, target.key).object
        about: Object = {"namespace": target.namespace, "pod": target.name, "container": ""}
        if target.subresource == "portforward":
            _check_scheduled(pod)
            return await self.forward(request, {"op": "portforward", **about})
        about["container"] = container_of(pod, request.query.get("container", ""))
        if target.subresource == "log":
            asked = {**log_request(request.query, self._registry.now()), **about}
            if not pod["spec"].get("nodeName"):
                return web.Response(text="")  # no kubelet has it yet, and Kubernetes says nothing then
            return await self.log(request, asked)
        query = request.query
        wanted = {name: flag(query.get(name, "")) for name in ("stdin", "stdout", "stderr", "tty")}
        asked = {"op": target.subresource, **about, **wanted}
        if target.subresource == "exec":
            asked["command"] = query.getall("command", [])
            if not asked["command"]:
                raise bad_request("you must specify at least 1 command for the container")
        _check_scheduled(pod)
        return await self.talk(request, asked)


def _check_scheduled(pod: Object) -> None:
    """Refused 400 for a pod that is on no node yet."""
    if not pod["spec"].get("nodeName"):
        raise bad_request(f"pod {pod['metadata']['name']} does not have a host assigned")


def _upgrades(request: web.BaseRequest) -> bool:
    return request.headers.get("Upgrade", "").lower() == "websocket"


async def _upgraded(request: web.BaseRequest, protocols: Sequence[str]) -> web.WebSocketResponse:
    """The WebSocket of a request. Refused 400 for one that wants SPDY, or nothing at all."""
    if not _upgrades(request):
        words = "Upgrade request required: this server speaks WebSocket (kubectl 1.31 or later), not SPDY"
        raise bad_request(words)
    socket = web.WebSocketResponse(protocols=protocols, autoclose=False, max_msg_size=0)
    await socket.prepare(request)
    return socket


async def _finish(socket: web.WebSocketResponse, end: bytes) -> None:
    await socket.send_bytes(bytes([kubelet.END]) + msgspec.json.encode(end_status(end)))
    await socket.close()


async def _hear(socket: web.WebSocketResponse, stream: kubelet.Stream) -> None:
    """From kubectl to the kubelet, until kubectl ends."""
    try:
        async for message in socket:
            if message.type is WSMsgType.BINARY:
                data = message.data
            elif message.type is WSMsgType.TEXT:
                data = message.data.encode()
            else:
                continue
            if data and data[0] in {kubelet.STDIN, kubelet.RESIZE, kubelet.CLOSE}:
                await stream.send(data[0], data[1:])
    finally:
        stream.close()  # the other direction ends with it


async def _tell(socket: web.WebSocketResponse, stream: kubelet.Stream, outputs: Sequence[int]) -> None:
    """From the kubelet to kubectl, until the command has ended."""
    end = b""
    with contextlib.suppress(ConnectionError):
        # kubectl waits for a first message on each output before it begins.
        for channel in (*outputs, kubelet.END):
            await socket.send_bytes(bytes([channel]))
        while (found := await stream.frame()) is not None:
            channel, data = found
            if channel == kubelet.END:
                end = data
                break
            if channel in {kubelet.STDOUT, kubelet.STDERR}:
                await socket.send_bytes(bytes([channel]) + data)
        await _finish(socket, end)
