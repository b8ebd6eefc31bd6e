"""Tells of what the controllers did, as Event objects: the same ones are counted, not repeated.

Names, counting and what is dropped follow ``client-go/tools/record``: telling must never delay doing.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from typing import Any

from clusters.client import ApiError, Client, NotFound, Unreachable
from clusters.controllers.pods import stamp_of

Object = dict[str, Any]
_MOST_WAITING, _MOST_KNOWN = 1000, 4096  # events not yet written; written ones that can be counted on
_AGAIN = 1.0  # seconds between tries at a server that does not answer
_Key = tuple[str, ...]


def event(
    about: Object, component: str, kind: str, reason: str, message: str, at: float, *,
    host: str = "", field: str = "",
) -> Object:
    """The Event of something that happened to ``about``, or its ``field``, at ``at`` (seconds since 1970).

    ``host``: the node whose component tells it.
    """
    meta, stamp = about["metadata"], stamp_of(at)
    space = meta.get("namespace") or "default"  # where Kubernetes puts those of cluster-wide objects
    reference = {
        "kind": about.get("kind", ""), "apiVersion": about.get("apiVersion", ""), "name": meta["name"],
        "namespace": meta.get("namespace"), "uid": meta.get("uid"),
        "resourceVersion": meta.get("resourceVersion"), "fieldPath": field,
    }
    return {
        "apiVersion": "v1", "kind": "Event",
        "metadata": {"name": f"{meta['name']}.{int(at * 1e9):x}", "namespace": space},
        "involvedObject": {name: value for name, value in reference.items() if value},
        "type": kind, "reason": reason, "message": message, "count": 1,
        "firstTimestamp": stamp, "lastTimestamp": stamp,
        "source": {"component": component} | ({"host": host} if host else {}),
        "reportingComponent": component, "reportingInstance": host,
    }


class Recorder:
    """Writes events one after the other, in the background."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._waiting: asyncio.Queue[Object] = asyncio.Queue(_MOST_WAITING)
        self._known: OrderedDict[_Key, tuple[str, int]] = OrderedDict()  # → path, count

    def note(
        self, about: Object, component: str, reason: str, message: str, kind: str = "Normal", *,
        host: str = "", field: str = "",
    ) -> None:
        """Tell of something that happened to ``about`` (see ``event``); ``kind`` is Normal or Warning."""
        if not self._waiting.full():
            self._waiting.put_nowait(
                event(about, component, kind, reason, message, time.time(), host=host, field=field))

    def warn(self, about: Object, component: str, reason: str, message: str) -> None:
        """Tell of something that went wrong with ``about``."""
        self.note(about, component, reason, message, "Warning")

    async def run(self) -> None:
        """Write what is told, for ever."""
        while True:
            told = await self._waiting.get()
            while True:
                try:
                    await self._write(told)
                    break
                except Unreachable:
                    await asyncio.sleep(_AGAIN)
                except ApiError:
                    break  # a namespace that is going wants no more news

    async def _write(self, told: Object) -> None:
        about, where = told["involvedObject"], f"/api/v1/namespaces/{told['metadata']['namespace']}/events"
        key = (str(about.get("uid")), about.get("name", ""), told["type"], told["reason"], told["message"],
               told["source"]["component"], about.get("fieldPath", ""))
        path, count = self._known.pop(key, ("", 0))
        if path:
            try:
                body = {"count": count + 1, "lastTimestamp": told["lastTimestamp"]}
                await self._client.patch(path, body)
                self._known[key] = path, count + 1
                return
            except NotFound:  # somebody cleared the events away
                pass
        await self._client.create(where, told)
        self._known[key] = f"{where}/{told['metadata']['name']}", 1
        if len(self._known) > _MOST_KNOWN:
            self._known.popitem(last=False)
