"""How the kinds of the core group and of discovery are shown. Pure; columns of Kubernetes 1.36."""

from __future__ import annotations

from clusters.apiserver.columns import (
    NONE,
    UNKNOWN,
    UNSET,
    Cells,
    Layout,
    Object,
    age,
    columns,
    name,
    number,
    pairs,
    part,
    since,
    some,
)


def _service_ports(ports: list[Object]) -> str:
    return ",".join(
        f"{port.get('port')}{':' + str(port['nodePort']) if port.get('nodePort') else ''}/"
        f"{port.get('protocol', 'TCP')}"
        for port in ports
    )


def _external(service: Object) -> str:
    spec = part(service, "spec")
    kind, told = spec.get("type", "ClusterIP"), list(spec.get("externalIPs") or ())
    if kind == "ExternalName":
        return str(spec.get("externalName", ""))
    if kind == "LoadBalancer":
        ingress = part(service, "status", "loadBalancer").get("ingress") or ()
        given = dict.fromkeys(at.get("ip") or at.get("hostname") or "" for at in ingress)
        return ",".join([*filter(None, given), *told]) or "<pending>"
    return ",".join(told) or NONE


def _service(service: Object, now: float) -> Cells:
    spec = part(service, "spec")
    address = next(iter(spec.get("clusterIPs") or ()), spec.get("clusterIP"))
    return [
        name(service),
        spec.get("type", "ClusterIP"),
        address or NONE,
        _external(service),
        _service_ports(spec.get("ports") or []) or NONE,
        age(service, now),
        pairs(spec.get("selector")),
    ]


def _node(node: Object, now: float) -> Cells:
    ready = [c for c in part(node, "status", "conditions") or () if c.get("type") == "Ready"]
    status = ("Ready" if ready[0].get("status") == "True" else "NotReady") if ready else "Unknown"
    if part(node, "spec").get("unschedulable"):
        status += ",SchedulingDisabled"
    labels = node["metadata"].get("labels") or {}
    roles = {key.partition("/")[2] for key in labels if key.startswith("node-role.kubernetes.io/")}
    roles |= {labels["kubernetes.io/role"]} if labels.get("kubernetes.io/role") else set()
    addresses = part(node, "status", "addresses") or []

    def address(kind: str) -> str:
        return next((str(at.get("address")) for at in addresses if at.get("type") == kind), NONE)

    info = part(node, "status", "nodeInfo")
    return [
        name(node),
        status,
        ",".join(sorted(filter(None, roles))) or NONE,
        age(node, now),
        info.get("kubeletVersion", ""),
        address("InternalIP"),
        address("ExternalIP"),
        *(info.get(field) or UNKNOWN for field in ("osImage", "kernelVersion", "containerRuntimeVersion")),
    ]


def _host_port(address: str, port: object) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def _endpoints(obj: Object, now: float) -> Cells:
    subsets = obj.get("subsets") or []
    found: list[str] = []
    for subset in subsets:
        addresses = [str(at.get("ip", "")) for at in subset.get("addresses") or ()]
        ports = [port.get("port") for port in subset.get("ports") or ()]
        found += addresses if not ports else [_host_port(ip, port) for port in ports for ip in addresses]
    return [name(obj), some(found, "" if subsets else NONE), age(obj, now)]


def _slice(obj: Object, now: float) -> Cells:
    ports = [str(port.get("port") or port.get("name") or "*") for port in obj.get("ports") or ()]
    addresses = [ip for endpoint in obj.get("endpoints") or () for ip in endpoint.get("addresses") or ()]
    return [
        name(obj),
        obj.get("addressType", ""),
        some(ports, UNSET),
        some(addresses, UNSET),
        age(obj, now),
    ]


def _size(obj: Object) -> int:
    return len(obj.get("data") or ()) + len(obj.get("binaryData") or ())


def _event(event: Object, now: float) -> Cells:
    about, series = part(event, "involvedObject"), part(event, "series")
    first = event.get("firstTimestamp") or event.get("eventTime")
    last = series.get("lastObservedTime") or event.get("lastTimestamp") or first
    source = part(event, "source")
    component = source.get("component") or event.get("reportingComponent", "")
    host = source.get("host") or ("" if source.get("component") else event.get("reportingInstance", ""))
    return [
        since(last, now),
        event.get("type", ""),
        event.get("reason", ""),
        f"{about.get('kind', '').lower()}/{about.get('name', '')}",
        about.get("fieldPath", ""),
        ", ".join(filter(None, (component, host))),
        event.get("message", "").strip(),
        since(first, now),
        series.get("count") or event.get("count") or 1,
        name(event),
    ]


def _namespace(obj: Object, now: float) -> Cells:
    return [name(obj), part(obj, "status").get("phase", ""), age(obj, now)]


_MODES = {"ReadWriteOnce": "RWO", "ReadOnlyMany": "ROX", "ReadWriteMany": "RWX", "ReadWriteOncePod": "RWOP"}


def _modes(found: list[str]) -> str:
    return ",".join(_MODES[mode] for mode in _MODES if mode in found)


def _claim(obj: Object, now: float) -> Cells:
    spec, status = part(obj, "spec"), part(obj, "status")
    phase = "Terminating" if "deletionTimestamp" in obj["metadata"] else status.get("phase", "")
    bound = bool(spec.get("volumeName"))
    return [
        name(obj),
        phase,
        spec.get("volumeName", ""),
        part(status, "capacity").get("storage", "") if bound else "",
        _modes(status.get("accessModes") or []) if bound else "",
        spec.get("storageClassName", ""),
        spec.get("volumeAttributesClassName") or UNSET,
        age(obj, now),
        spec.get("volumeMode") or UNSET,
    ]


def _volume(obj: Object, now: float) -> Cells:
    spec, status = part(obj, "spec"), part(obj, "status")
    claim = part(spec, "claimRef")
    phase = "Terminating" if "deletionTimestamp" in obj["metadata"] else status.get("phase", "")
    return [
        name(obj),
        part(spec, "capacity").get("storage", ""),
        _modes(spec.get("accessModes") or []),
        spec.get("persistentVolumeReclaimPolicy", ""),
        phase,
        f"{claim.get('namespace', '')}/{claim.get('name', '')}" if claim else "",
        spec.get("storageClassName", ""),
        spec.get("volumeAttributesClassName") or UNSET,
        status.get("reason", ""),
        age(obj, now),
        spec.get("volumeMode") or UNSET,
    ]


def _quota(obj: Object, now: float) -> Cells:
    hard, used = part(obj, "status", "hard"), part(obj, "status", "used")
    texts = {key: f"{key}: {used.get(key, '0')}/{hard[key]}" for key in sorted(hard)}
    return [
        name(obj),
        ", ".join(text for key, text in texts.items() if not key.startswith("limits.")),
        ", ".join(text for key, text in texts.items() if key.startswith("limits.")),
        age(obj, now),
    ]


LAYOUTS = {
    "Service": Layout(columns("Name, Type, Cluster-IP, External-IP, Port(s), Age, Selector*"), _service),
    "Node": Layout(
        columns(
            "Name, Status, Roles, Age, Version, Internal-IP*, External-IP*, OS-Image*, Kernel-Version*, "
            "Container-Runtime*"
        ),
        _node,
    ),
    "Endpoints": Layout(columns("Name, Endpoints, Age"), _endpoints),
    "EndpointSlice": Layout(columns("Name, AddressType, Ports, Endpoints, Age"), _slice),
    "ConfigMap": Layout(columns("Name, Data, Age"), lambda obj, now: [name(obj), _size(obj), age(obj, now)]),
    "Secret": Layout(
        columns("Name, Type, Data#, Age"),
        lambda obj, now: [name(obj), obj.get("type", ""), _size(obj), age(obj, now)],
    ),
    "Namespace": Layout(columns("Name, Status, Age"), _namespace),
    "ServiceAccount": Layout(
        columns("Name, Secrets, Age"),
        lambda obj, now: [name(obj), len(obj.get("secrets") or ()), age(obj, now)],
    ),
    "Event": Layout(
        columns("Last Seen, Type, Reason, Object, Subobject*, Source*, Message, First Seen*, Count#*, Name*"),
        _event,
    ),
    "PersistentVolumeClaim": Layout(
        columns(
            "Name, Status, Volume, Capacity, Access Modes, StorageClass, VolumeAttributesClass, Age, "
            "VolumeMode*"
        ),
        _claim,
    ),
    "PersistentVolume": Layout(
        columns(
            "Name, Capacity, Access Modes, Reclaim Policy, Status, Claim, StorageClass, "
            "VolumeAttributesClass, Reason, Age, VolumeMode*"
        ),
        _volume,
    ),
    "ResourceQuota": Layout(columns("Name, Request, Limit, Age"), _quota),
    "PodTemplate": Layout(columns("Name, Age"), lambda obj, now: [name(obj), age(obj, now)]),
    "Lease": Layout(
        columns("Name, Holder, Age"),
        lambda obj, now: [name(obj), part(obj, "spec").get("holderIdentity", ""), age(obj, now)],
    ),
    "PriorityClass": Layout(
        columns("Name, Value#, Global-Default, Age, PreemptionPolicy"),
        lambda obj, now: [
            name(obj),
            number(obj, "value"),
            str(bool(obj.get("globalDefault"))).lower(),
            age(obj, now),
            obj.get("preemptionPolicy", ""),
        ],
    ),
}
