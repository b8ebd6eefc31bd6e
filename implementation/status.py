"""The only writer of the API: status and annotations of Services, Events, one Secret.

Everything is a small patch or a new object, so nothing another party wrote is carried back from an old
copy.
"""

from __future__ import annotations

import datetime
import logging
import secrets
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any

import aiohttp
import msgspec

from implementation.kubeconfig import Access

log = logging.getLogger("status")

WRITE_SECONDS = 10.0
REMEMBERED_EVENTS = 4096  # events counted up instead of written again; older ones start anew
_MERGE = "application/merge-patch+json"


class WriteError(Exception):
    """The API server did not take what was written; ``code`` is its answer, 0 when there was none."""

    def __init__(self, message: str, code: int = 0) -> None:
        super().__init__(message)
        self.code = code


class Subject(msgspec.Struct, frozen=True):
    """The object an Event is about."""

    kind: str
    namespace: str
    name: str
    uid: str = ""
    api_version: str = "v1"


class Writer:
    """One API server, to write to. ``component`` names the writer in Events."""

    def __init__(self, access: Access, component: str, host: str = "") -> None:
        self._access, self._component, self._host = access, component, host
        tls = access.tls() if access.server.startswith("https:") else False
        self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=tls, limit=16))
        self._events: OrderedDict[tuple[str, ...], tuple[str, int]] = OrderedDict()

    async def close(self) -> None:
        """End all connections."""
        await self._session.close()

    async def service_ingress(self, namespace: str, name: str, addresses: Sequence[str]) -> None:
        """Make these the addresses of the service's load balancer status (ipMode VIP: nodes serve them
        themselves).
        """
        ingress = [{"ip": address, "ipMode": "VIP"} for address in addresses] or None
        body = {"status": {"loadBalancer": {"ingress": ingress}}}
        await self._send("PATCH", f"{_service(namespace, name)}/status", body)

    async def service_annotations(self, namespace: str, name: str, values: Mapping[str, str | None]) -> None:
        """Set annotations of a service; None removes one."""
        await self._send("PATCH", _service(namespace, name), {"metadata": {"annotations": dict(values)}})

    async def create_secret(self, namespace: str, name: str, data: Mapping[str, str]) -> bool:
        """Make a Secret of these base64 values; false where it is there already."""
        body = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": namespace},
                "type": "Opaque", "data": dict(data)}
        try:
            await self._send("POST", f"/api/v1/namespaces/{namespace}/secrets", body)
        except WriteError as error:
            if error.code == 409:
                return False
            raise
        return True

    async def event(self, subject: Subject, kind: str, reason: str, message: str) -> None:
        """Record an Event (``kind`` Normal or Warning); one seen before is counted up. Never raises: it is
        a note.
        """
        key = (subject.namespace, subject.name, subject.uid, kind, reason, message)
        try:
            name, count = self._events.get(key, ("", 0))
            if not name or not await self._count_up(subject.namespace, name, count + 1):
                name, count = f"{subject.name}.{secrets.token_hex(8)}", 0
                body = self._event(name, subject, kind, reason, message)
                await self._send("POST", f"/api/v1/namespaces/{subject.namespace}/events", body)
        except WriteError as error:
            log.warning("event %s of %s/%s not written: %s", reason, subject.namespace, subject.name, error)
            return
        self._events[key] = (name, count + 1)
        self._events.move_to_end(key)
        if len(self._events) > REMEMBERED_EVENTS:
            self._events.popitem(last=False)

    async def _count_up(self, namespace: str, name: str, count: int) -> bool:
        """Whether the event was still there to be counted up (the server drops them after an hour)."""
        try:
            await self._send("PATCH", f"/api/v1/namespaces/{namespace}/events/{name}",
                             {"count": count, "lastTimestamp": _now()})
        except WriteError as error:
            if error.code == 404:
                return False
            raise
        return True

    def _event(self, name: str, subject: Subject, kind: str, reason: str, message: str) -> dict[str, Any]:
        involved = {"kind": subject.kind, "namespace": subject.namespace, "name": subject.name,
                    "uid": subject.uid, "apiVersion": subject.api_version}
        now = _now()
        return {
            "apiVersion": "v1", "kind": "Event", "metadata": {"name": name, "namespace": subject.namespace},
            "involvedObject": involved, "reason": reason, "message": message, "type": kind, "count": 1,
            "firstTimestamp": now, "lastTimestamp": now,
            "source": {"component": self._component, "host": self._host},
            "reportingComponent": self._component, "reportingInstance": self._host,
        }

    async def _send(self, method: str, path: str, body: Mapping[str, Any]) -> None:
        content = _MERGE if method == "PATCH" else "application/json"
        headers = {"Content-Type": content, "Accept": "application/json"}
        token = self._access.bearer()
        if token:
            headers["Authorization"] = f"Bearer {token}"
        try:
            async with self._session.request(
                method, self._access.server + path, data=msgspec.json.encode(body), headers=headers,
                timeout=aiohttp.ClientTimeout(total=WRITE_SECONDS),
                server_hostname=self._access.server_name or None,
            ) as answer:
                text = await answer.read()
                if answer.status >= 300:
                    raise WriteError(f"{method} {path}: {answer.status} {text[:200]!a}", answer.status)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise WriteError(f"{method} {path}: {str(error) or type(error).__name__}") from error


def _service(namespace: str, name: str) -> str:
    return f"/api/v1/namespaces/{namespace}/services/{name}"


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
