"""Where the configuration comes from: MetalLB's objects and the old ConfigMap, followed in the API.

A change that cannot be used is said in one sentence and changes nothing: the last good configuration stays
in force.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

import msgspec

from implementation.loadbalancer.pools import Configuration, configuration
from implementation.objects.balanced import parse_labels
from implementation.objects.fields import ObjectError
from implementation.objects.poolmap import parse_config_map
from implementation.objects.pools import parse_l2_advertisement, parse_pool
from implementation.watch import Kind, Part, Server, Watch

log = logging.getLogger("loadbalancer.config")


class Objects:
    """The objects of one kind by namespace/name, as raw JSON; calls ``changed(key)`` or ``listed()``."""

    def __init__(self, changed: Callable[[str], None], listed: Callable[[], None]) -> None:
        self.raw: dict[str, msgspec.Raw] = {}
        self.synced = False
        self._coming: dict[str, msgspec.Raw] = {}
        self._changed, self._listed = changed, listed

    def watch(self, server: Server, kind: Kind) -> Watch:
        """What to run to have those of this kind here."""
        return Watch(server, kind, self.on_list, self.on_event)

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
            (Kind("ipaddresspools", f"{group}/ipaddresspools", optional=True), self._pools),
            (Kind("l2advertisements", f"{group}/l2advertisements", optional=True), self._adverts),
            (Kind("configmaps", f"/api/v1/namespaces/{namespace}/configmaps", fields="metadata.name=config"),
             self._map),
        )

    def watches(self, server: Server) -> list[Watch]:
        """What to run beside each other to stay informed."""
        return [objects.watch(server, kind) for kind, objects in self._followed]

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
