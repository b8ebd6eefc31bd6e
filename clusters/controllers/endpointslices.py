"""Service + Pods → EndpointSlices: which endpoints there must be, and the fewest writes that get there. Pure.

Rules: reference "EndpointSlices", and the conduct of upstream's controller: one set of slices for each
address family.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from clusters.controllers.pods import is_finished, is_ready, is_terminating

Object = dict[str, Any]
Family = str  # "IPv4" or "IPv6", as addressType has it

MOST = 100  # endpoints in one slice, upstream's default
MANAGER = "endpointslice-controller.k8s.io"
SERVICE_LABEL = "kubernetes.io/service-name"
MANAGED_LABEL = "endpointslice.kubernetes.io/managed-by"
HEADLESS_LABEL = "service.kubernetes.io/headless"
TRIGGER = "endpoints.kubernetes.io/last-change-trigger-time"
_OURS = (SERVICE_LABEL, MANAGED_LABEL, HEADLESS_LABEL)


@dataclass
class Changes:
    """The writes that make the slices of one Service right."""

    create: list[Object] = field(default_factory=list)
    update: list[Object] = field(default_factory=list)
    delete: list[Object] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.create or self.update or self.delete)


def is_managed(service: Object) -> bool:
    """Whether this controller makes slices for the Service: it has a selector and is not an ExternalName."""
    spec = service.get("spec") or {}
    return bool(spec.get("selector")) and spec.get("type") != "ExternalName"


def selects(service: Object, labels: Object | None) -> bool:
    """Whether the Service's selector selects ``labels``."""
    return is_managed(service) and service["spec"]["selector"].items() <= (labels or {}).items()


def families(service: Object) -> list[Family]:
    """The address families the Service has slices for."""
    spec = service.get("spec") or {}
    if spec.get("ipFamilies"):
        return list(spec["ipFamilies"])
    return ["IPv6" if ":" in (spec.get("clusterIP") or "") else "IPv4"]


def addresses(pod: Object, family: Family) -> list[str]:
    """The pod's addresses of one family, as they stand in its status."""
    status = pod.get("status") or {}
    found = [entry.get("ip") for entry in status.get("podIPs") or ()] or [status.get("podIP")]
    return [ip for ip in found if ip and _family(ip) == family]


def _family(address: str) -> Family | None:
    try:
        return f"IPv{ipaddress.ip_address(address).version}"
    except ValueError:
        return None


def port_number(pod: Object, port: Object) -> int | None:
    """The number a Service port has on this pod; None when the pod has no port of the name asked for."""
    target = port.get("targetPort") or port["port"]
    if isinstance(target, int):
        return target
    spec = pod.get("spec") or {}
    sidecars = [c for c in spec.get("initContainers") or () if c.get("restartPolicy") == "Always"]
    for container in [*(spec.get("containers") or ()), *sidecars]:
        for given in container.get("ports") or ():
            if given.get("name") == target and given.get("protocol", "TCP") == port.get("protocol", "TCP"):
                return int(given["containerPort"])
    return None


def ports_of(service: Object, pod: Object) -> list[Object]:
    """The slice's list of ports for this pod: those of the Service that the pod has."""
    found = []
    for port in service["spec"].get("ports") or ():
        number = port_number(pod, port)
        if number is not None:
            entry = {"name": port.get("name") or "", "port": number, "protocol": port.get("protocol", "TCP")}
            if port.get("appProtocol"):
                entry["appProtocol"] = port["appProtocol"]
            found.append(entry)
    return found


def endpoint_of(service: Object, pod: Object, node: Object | None, ips: list[str]) -> Object:
    """One endpoint: addresses, conditions, where it is, and which pod it is."""
    meta, spec = pod["metadata"], pod.get("spec") or {}
    serving, terminating = is_ready(pod), is_terminating(pod)
    publish = bool(service["spec"].get("publishNotReadyAddresses"))
    endpoint: Object = {
        "addresses": ips,
        "conditions": {
            "ready": publish or (serving and not terminating), "serving": serving, "terminating": terminating,
        },
        "targetRef": {"kind": "Pod", **{part: meta[part] for part in ("namespace", "name", "uid")}},
    }
    if spec.get("nodeName"):
        endpoint["nodeName"] = spec["nodeName"]
    zone = ((node or {}).get("metadata", {}).get("labels") or {}).get("topology.kubernetes.io/zone")
    if zone:
        endpoint["zone"] = zone
    if spec.get("hostname") and spec.get("subdomain") == service["metadata"]["name"]:
        endpoint["hostname"] = spec["hostname"]
    if hints := _hints(service, endpoint):
        endpoint["hints"] = hints
    return endpoint


def _hints(service: Object, endpoint: Object) -> Object:
    """Topology hints for spec.trafficDistribution ("Traffic distribution"): its own zone or node."""
    wish, hints = service["spec"].get("trafficDistribution"), {}
    if not endpoint["conditions"]["ready"]:
        return {}
    if wish in ("PreferClose", "PreferSameZone", "PreferSameNode") and endpoint.get("zone"):
        hints["forZones"] = [{"name": endpoint["zone"]}]
    if wish == "PreferSameNode" and endpoint.get("nodeName"):
        hints["forNodes"] = [{"name": endpoint["nodeName"]}]
    return hints


def desired(
    service: Object, pods: Sequence[Object], nodes: Mapping[str, Object], family: Family,
) -> list[tuple[list[Object], list[Object]]]:
    """What the slices of one family must hold: for each list of ports, its endpoints.

    ``pods`` are those the Service selects. Ended pods and pods without an address are left out, and pods on a
    node that is gone, unless the Service publishes addresses that are not ready.
    """
    groups: dict[bytes, tuple[list[Object], list[Object]]] = {}
    publish = bool(service["spec"].get("publishNotReadyAddresses"))
    for pod in pods:
        ips = addresses(pod, family)
        name = (pod.get("spec") or {}).get("nodeName")
        if not ips or is_finished(pod) or (name and name not in nodes and not publish):
            continue
        ports = ports_of(service, pod)
        group = groups.setdefault(_ports_key(ports), (ports, []))
        group[1].append(endpoint_of(service, pod, nodes.get(name or ""), ips))
    return list(groups.values())


def _ports_key(ports: Sequence[Object] | None) -> bytes:
    rows = sorted((port.get("name") or "", port.get("port") or 0, port.get("protocol", "TCP"),
                   port.get("appProtocol") or "") for port in ports or ())
    return msgspec.json.encode(rows)


def _identity(endpoint: Object) -> tuple[Any, ...]:
    reference = endpoint.get("targetRef") or {}
    return reference.get("uid"), reference.get("name"), tuple(endpoint.get("addresses") or ())


def labels_of(service: Object) -> dict[str, str]:
    """The labels of a slice: the Service's own, and those of the controller."""
    given = service["metadata"].get("labels") or {}
    own = {name: value for name, value in given.items() if name not in _OURS}
    if service["spec"].get("clusterIP") == "None":
        own[HEADLESS_LABEL] = ""
    return own | {SERVICE_LABEL: service["metadata"]["name"], MANAGED_LABEL: MANAGER}


def reconcile(
    service: Object, pods: Sequence[Object], nodes: Mapping[str, Object], slices: Sequence[Object],
    trigger: str | None = None,
) -> Changes:
    """The writes that turn ``slices`` (those this controller made for the Service) into what they must be.

    ``trigger`` is the time of the change that caused this, for the annotation on every slice written.
    """
    changes = Changes()
    wanted_families = families(service)
    changes.delete += [held for held in slices if held.get("addressType") not in wanted_families]
    for family in wanted_families:
        mine = [held for held in slices if held.get("addressType") == family and not is_terminating(held)]
        one = _Family(service, family, mine, desired(service, pods, nodes, family)).changes()
        changes.create += one.create
        changes.update += one.update
        changes.delete += one.delete
    for written in (*changes.create, *changes.update):
        notes = {k: v for k, v in (written["metadata"].get("annotations") or {}).items() if k != TRIGGER}
        written["metadata"]["annotations"] = notes | ({TRIGGER: trigger} if trigger else {})
    return changes


class _Family:
    """The slices of one Service and one address family."""

    def __init__(
        self, service: Object, family: Family, slices: Sequence[Object],
        groups: list[tuple[list[Object], list[Object]]],
    ) -> None:
        self.service, self.family, self.slices, self.groups = service, family, slices, groups
        self.labels, self.owner = labels_of(service), _owner(service)

    def changes(self) -> Changes:
        """Each list of ports by itself; slices of lists that are no more are reused rather than deleted."""
        found = Changes()
        groups = self.groups or [([], [])]  # none at all: one empty slice stands for the Service
        left = list(self.slices)
        for ports, endpoints in groups:
            key = _ports_key(ports)
            mine = [held for held in left if _ports_key(held.get("ports")) == key]
            left = [held for held in left if held not in mine]
            self._group(ports, endpoints, mine, found, keep_empty=not self.groups)
        found.delete += left
        while found.create and found.delete:
            old, new = found.delete.pop(0), found.create.pop()
            found.update.append(self._written(old, new["ports"], new["endpoints"]))
        return found

    def _group(
        self, ports: list[Object], endpoints: list[Object], slices: list[Object], found: Changes, *,
        keep_empty: bool,
    ) -> None:
        missing = {_identity(endpoint): endpoint for endpoint in endpoints}
        same: list[tuple[Object, list[Object]]] = []
        touched: list[tuple[Object, list[Object]]] = []
        for held in slices:
            before = held.get("endpoints") or []
            after = [missing.pop(_identity(e)) for e in before if _identity(e) in missing]
            if not after and not (keep_empty and not same and not touched):
                found.delete.append(held)
            elif after != before or self._header_differs(held):
                touched.append((held, after))
            else:
                same.append((held, after))
        rest = list(missing.values())
        for _, after in sorted(touched, key=lambda entry: -len(entry[1])):
            room = MOST - len(after)
            after.extend(rest[:room])
            rest = rest[room:]
        roomy = [entry for entry in same if len(entry[1]) + len(rest) <= MOST]
        if rest and roomy:
            entry = max(roomy, key=lambda entry: len(entry[1]))
            touched.append((entry[0], entry[1] + rest))
            rest = []
        found.update += [self._written(held, ports, after) for held, after in touched]
        found.create += [self._new(ports, rest[at:at + MOST]) for at in range(0, len(rest), MOST)]
        if keep_empty and not slices:
            found.create.append(self._new([], []))

    def _header_differs(self, held: Object) -> bool:
        meta = held["metadata"]
        return bool(meta.get("labels") != self.labels or meta.get("ownerReferences") != [self.owner])

    def _written(self, held: Object, ports: list[Object], endpoints: list[Object]) -> Object:
        meta = held["metadata"] | {"labels": self.labels, "ownerReferences": [self.owner]}
        return held | {"metadata": meta, "ports": ports, "endpoints": endpoints}

    def _new(self, ports: list[Object], endpoints: list[Object]) -> Object:
        meta = self.service["metadata"]
        return {
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
            "metadata": {
                "generateName": f"{meta['name']}-", "namespace": meta["namespace"], "labels": self.labels,
                "ownerReferences": [self.owner],
            },
            "addressType": self.family, "ports": ports, "endpoints": endpoints,
        }


def _owner(service: Object) -> Object:
    meta = service["metadata"]
    return {"apiVersion": "v1", "kind": "Service", "name": meta["name"], "uid": meta["uid"],
            "controller": True, "blockOwnerDeletion": True}


def trigger_time(service: Object, pods: Sequence[Object], seen: dict[str, str]) -> str | None:
    """The earliest change since the last call, by pods' Ready times and the Service's making; None when none.

    ``seen`` remembers the times of the last call by uid; it is brought up to date here.
    """
    times = {service["metadata"]["uid"]: service["metadata"].get("creationTimestamp") or ""}
    for pod in pods:
        ready = [c.get("lastTransitionTime") for c in (pod.get("status") or {}).get("conditions") or ()
                 if c.get("type") == "Ready"]
        if ready and ready[0]:
            times[pod["metadata"]["uid"]] = ready[0]
    fresh = [at for uid, at in times.items() if at and at > seen.get(uid, "")]
    seen.clear()
    seen.update(times)
    return min(fresh, default=None)
