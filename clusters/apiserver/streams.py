"""Logs, exec and attach of pods: from kubectl's requests to the kubelet's (see ``kubelet``), and back.

Over HTTP: ``log`` is plain text. ``exec`` and ``attach`` are WebSockets with the subprotocols v5 and
v4.channel.k8s.io (KEP-4006): each message begins with the byte of its channel. SPDY is not spoken.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec
from aiohttp import WSMsgType, web

from clusters.apiserver import kubelet, routes
from clusters.apiserver.listing import whole_number
from clusters.apiserver.parameters import flag
from clusters.apiserver.registry import Registry
from clusters.apiserver.status import Refused, bad_request

NAMES = frozenset({"log", "exec", "attach"})
_PROTOCOLS = ("v5.channel.k8s.io", "v4.channel.k8s.io")
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


def check_started(pod: Object, container: str) -> None:
    """Refused 400 for a container that has not begun: there is nothing to read or to run in."""
    status = pod.get("status") or {}
    for field in ("containerStatuses", "initContainerStatuses"):
        for told in status.get(field) or ():
            waiting = (told.get("state") or {}).get("waiting")
            if told.get("name") == container and waiting and not told.get("lastState"):
                name, why = pod["metadata"]["name"], waiting.get("reason", "")
                raise bad_request(f'container "{container}" in pod "{name}" is waiting to start: {why}')


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
        "message": str(words or "the kubelet went away before the command ended"),
        "reason": "InternalError",
        "code": 500,
    }


class Streams:
    """Answers the streaming requests about pods. ``socket``: the kubelet's path, empty for none."""

    def __init__(self, registry: Registry, socket: str) -> None:
        self._registry, self._socket = registry, socket

    async def answer(self, request: web.BaseRequest, target: routes.Target) -> web.StreamResponse:
        """Streams until one side ends. Refused: 400, 404, 503, and as the kubelet refuses."""
        pod = self._registry.get(target.resource, target.key).object
        container = container_of(pod, request.query.get("container", ""))
        check_started(pod, container)
        about = {"namespace": target.namespace, "pod": target.name, "container": container}
        if target.subresource == "log":
            asked = log_request(request.query, self._registry.now())
            return await self._log(request, {**asked, **about})
        query = request.query
        wanted = {name: flag(query.get(name, "")) for name in ("stdin", "stdout", "stderr", "tty")}
        asked = {"op": target.subresource, **about, **wanted}
        if target.subresource == "exec":
            asked["command"] = query.getall("command", [])
            if not asked["command"]:
                raise bad_request("you must specify at least 1 command for the container")
        return await self._talk(request, asked)

    async def _log(self, request: web.BaseRequest, asked: Object) -> web.StreamResponse:
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

    async def _talk(self, request: web.BaseRequest, asked: Object) -> web.StreamResponse:
        if request.headers.get("Upgrade", "").lower() != "websocket":
            raise Refused(
                400,
                "BadRequest",
                "Upgrade request required: exec and attach are served over WebSocket (kubectl 1.31 or later)",
            )
        stream = await kubelet.ask(self._socket, asked)
        socket = web.WebSocketResponse(protocols=_PROTOCOLS, autoclose=False, max_msg_size=0)
        hearing: asyncio.Task[None] | None = None
        try:
            await socket.prepare(request)
            hearing = asyncio.create_task(_hear(socket, stream))
            await _tell(socket, stream)
        finally:
            stream.close()
            if hearing is not None:
                hearing.cancel()
                with contextlib.suppress(asyncio.CancelledError, ConnectionError):
                    await hearing
        return socket


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


async def _tell(socket: web.WebSocketResponse, stream: kubelet.Stream) -> None:
    """From the kubelet to kubectl, until the command has ended."""
    end = b""
    with contextlib.suppress(ConnectionError):
        # kubectl waits for a first message on each output before it begins.
        for channel in (kubelet.STDIN, kubelet.STDOUT, kubelet.STDERR, kubelet.END):
            await socket.send_bytes(bytes([channel]))
        while (found := await stream.frame()) is not None:
            channel, data = found
            if channel == kubelet.END:
                end = data
                break
            if channel in {kubelet.STDOUT, kubelet.STDERR}:
                await socket.send_bytes(bytes([channel]) + data)
        await socket.send_bytes(bytes([kubelet.END]) + msgspec.json.encode(end_status(end)))
        await socket.close()
