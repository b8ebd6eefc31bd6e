"""Where the configuration comes from: MetalLB's objects and the old ConfigMap, followed in the API.

A change that cannot be used is said in one sentence and changes nothing: the last good configuration stays
in force.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

import aiohttp
import msgspec

from implementation.loadbalancer.pools import Configuration, configuration
from implementation.objects.balanced import parse_labels
from implementation.objects.fields import ObjectError
from implementation.objects.poolmap import parse_config_map
from implementation.objects.pools import parse_l2_advertisement, parse_pool
from implementation.watch import FIRST_WAIT, Kind, Part, Server, Watch

log = logging.getLogger("loadbalancer.config")

_KNOWN, _UNKNOWN = "known", "unknown"
ABSENT_SECONDS = 2.0  # between looks whether a kind the server did not know has been installed


class Objects:
    """The objects of one kind by namespace/name, as raw JSON; calls ``changed(key)`` or ``listed()``."""

    def __init__(self, changed: Callable[[str], None], listed: Callable[[], None]) -> None:
        self.raw: dict[str, msgspec.Raw] = {}
        self.synced = False
        self._coming: dict[str, msgspec.Raw] = {}
        self._changed, self._listed = changed, listed

    def on_list(self, part: Part) -> None:
        """Take a list, which is told with its last part."""
        if part.first:
            self._coming = {}
        self._coming.update({key: raw for raw in part.items if (key := _key(raw))})
        if part.last:
            self.raw, self._coming, self.synced = self._coming, {}, True
            self._listed()

    def on_event(self, kind: str, raw: msgspec.Raw) -> None:
        """Take one change."""
        key = _key(raw)
        if not key:
            return
        if kind == "DELETED":
            self.raw.pop(key, None)
        else:
            # Raw is a view into the whole answer; a copy lets that answer go.
            self.raw[key] = raw.copy()
        self._changed(key)


class _Named(msgspec.Struct):
    name: str = ""
    namespace: str = ""


class _Meta(msgspec.Struct):
    metadata: _Named


_meta = msgspec.json.Decoder(_Meta)


def _key(raw: msgspec.Raw) -> str:
    try:
        found = _meta.decode(raw).metadata
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return ""
    return f"{found.namespace}/{found.name}" if found.namespace else found.name


class Sources:
    """The configuration in force; ``changed`` is called when it, or what is wrong with a newer one,
    changes.
    """

    def __init__(self, namespace: str, changed: Callable[[], None]) -> None:
        self.config: Configuration | None = None
        self.problem = ""  # why the newest state is not in force; empty when it is
        self._changed = changed
        again = self._again
        group = f"/apis/metallb.io/v1beta1/namespaces/{namespace}"
        self._pools = Objects(lambda _key: again(), again)
        self._adverts = Objects(lambda _key: again(), again)
        self._map = Objects(lambda _key: again(), again)
        self._followed = (
            (Kind("ipaddresspools", f"{group}/ipaddresspools"), self._pools),
            (Kind("l2advertisements", f"{group}/l2advertisements"), self._adverts),
            (Kind("configmaps", f"/api/v1/namespaces/{namespace}/configmaps", fields="metadata.name=config"),
             self._map),
        )

    def watches(self, server: Server) -> list[Follow]:
        """What to run beside each other to stay informed."""
        return [Follow(server, kind, objects) for kind, objects in self._followed]

    def _again(self) -> None:
        if not all(objects.synced for _, objects in self._followed):
            return
        try:
            legacy = next((parse_config_map(raw) for raw in self._map.raw.values()), None)
            found = configuration(
                [parse_pool(raw) for raw in self._pools.raw.values()],
                [parse_l2_advertisement(raw) for raw in self._adverts.raw.values()], legacy,
            )
        except ObjectError as error:
            if self.problem != str(error):
                log.error("configuration not taken: %s; the last good one stays in force", error)
                self.problem = str(error)
                self._changed()
            return
        healed, self.problem = bool(self.problem), ""
        if found != self.config:
            self.config = found
            log.info("configuration: %d pools, %d layer-2 advertisements", len(found.pools), len(found.l2))
            self._changed()
        elif healed:
            self._changed()


class Follow:
    """A watch of a kind that the server may not know (yet): unknown counts as a list without objects."""

    def __init__(self, server: Server, kind: Kind, objects: Objects) -> None:
        self._server, self._kind, self._objects = server, kind, objects

    async def run(self) -> None:
        """Follow until cancelled."""
        failures = 0
        while (told := await self._asked()) != _KNOWN:
            if told == _UNKNOWN:
                self._server.found(self._kind.name)
                failures = 0
                if not self._objects.synced:
                    self._objects.on_list(Part([]))
            else:
                # Neither yes nor no: a watch begun now would wait for ever for a kind that is not there.
                failures += 1
                if failures > 1:
                    self._server.lost(self._kind.name, told)
            pause = FIRST_WAIT * 2 ** min(failures, 10) if failures else ABSENT_SECONDS
            await asyncio.sleep(min(ABSENT_SECONDS, pause))
        await Watch(self._server, self._kind, self._objects.on_list, self._objects.on_event).run()

    async def _asked(self) -> str:
        """Whether the server has this kind, or why it does not say."""
        timeout = aiohttp.ClientTimeout(total=10)
        try:
            # With its selectors: who may read one Secret by name may not list them all.
            asked = {"limit": "1", **self._kind.selectors()}
            async with self._server.get(self._kind.path, asked, timeout) as answer:
                return {200: _KNOWN, 404: _UNKNOWN}.get(answer.status, f"list: {answer.status}")
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            return str(error) or type(error).__name__


def labels_by_name(objects: Objects) -> dict[str, dict[str, str]]:
    """Labels of cluster-wide objects by name; one that cannot be read is left out."""
    found = {}
    for raw in objects.raw.values():
        try:
            name, labels = parse_labels(raw)
        except ObjectError as error:
            log.warning("left out: %s", error)
            continue
        found[name] = labels
    return found
