"""What a Pod's specification asks of the kubelet: commands, environment, name resolution. Pure."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from clusters.netns import plan

Object = dict[str, Any]
_DOMAIN = "cluster.local"
_FROM = {"configmap": "configMap", "secret": "secret"}  # a kind, and how the fields that name one begin
TOKEN_REQUEST: Object = {  # good for longer than any cluster lives
    "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest",
    "spec": {"expirationSeconds": 30 * 86400},
}
_REFERENCE = re.compile(r"\$\$|\$\(([-._A-Za-z0-9]+)\)")


@dataclass(frozen=True)
class Facts:
    """What is known of a pod only where it runs."""

    addresses: tuple[str, ...]  # one a family, the cluster's first family first
    host_addresses: tuple[str, ...]
    node: str


def expand(text: str, environment: Mapping[str, str]) -> str:
    """``$(NAME)`` by its value, ``$$`` by ``$``; an unknown name stays as written (Kubernetes' rule)."""
    def one(found: re.Match[str]) -> str:
        if found[0] == "$$":
            return "$"
        return environment.get(found[1], found[0])

    return _REFERENCE.sub(one, text)


def _downward(pod: Object, path: str, facts: Facts) -> str:
    meta = pod["metadata"]
    known = {
        "metadata.name": meta["name"], "metadata.namespace": meta.get("namespace", "default"),
        "metadata.uid": meta.get("uid", ""), "spec.nodeName": facts.node,
        "spec.serviceAccountName": pod["spec"].get("serviceAccountName", "default"),
        "status.podIP": facts.addresses[0], "status.podIPs": ",".join(facts.addresses),
        "status.hostIP": facts.host_addresses[0], "status.hostIPs": ",".join(facts.host_addresses),
    }
    for kind in ("labels", "annotations"):
        if path.startswith(f"metadata.{kind}['") and path.endswith("']"):
            return str((meta.get(kind) or {}).get(path[len(f"metadata.{kind}['"):-2], ""))
    if path not in known:
        raise ValueError(f"fieldRef {path!r} is not supported; the fields are {', '.join(sorted(known))}")
    return str(known[path])


def environment(
    pod: Object, container: Object, facts: Facts, maps: Mapping[str, Mapping[str, str]],
) -> dict[str, str]:
    """The container's own environment; ``maps``: the ConfigMaps and Secrets it names, by ``sources``' words.

    ValueError names a bad entry.
    """
    found = {
        "HOSTNAME": hostname(pod), "KUBERNETES_SERVICE_HOST": plan.API_SERVICE,
        "KUBERNETES_SERVICE_PORT": "443", "KUBERNETES_SERVICE_PORT_HTTPS": "443",
    }
    for source in container.get("envFrom") or ():
        for kind, field in _FROM.items():
            if reference := source.get(f"{field}Ref"):
                for name, value in maps.get(f"{kind}/{reference.get('name', '')}", {}).items():
                    found[source.get("prefix", "") + name] = value
    for entry in container.get("env") or ():
        source = entry.get("valueFrom") or {}
        if "fieldRef" in source:
            found[entry["name"]] = _downward(pod, source["fieldRef"].get("fieldPath", ""), facts)
        elif kind := next((kind for kind, field in _FROM.items() if f"{field}KeyRef" in source), ""):
            reference = source[f"{_FROM[kind]}KeyRef"]
            values = maps.get(f"{kind}/{reference.get('name', '')}", {})
            if reference.get("key") in values:
                found[entry["name"]] = values[reference["key"]]
            elif not reference.get("optional"):
                raise ValueError(f"env {entry['name']}: {kind} {reference.get('name')!r} has no key "
                                 f"{reference.get('key')!r}")
        elif source:
            raise ValueError(f"env {entry['name']}: only value, fieldRef, configMapKeyRef and secretKeyRef "
                             "are supported")
        else:
            found[entry["name"]] = expand(str(entry.get("value") or ""), found)
    return found


def sources(pod: Object) -> dict[str, bool]:
    """What a pod needs to start, as ``configmap/NAME`` and ``secret/NAME``, and whether it may be missing."""
    found: dict[str, bool] = {}

    def add(kind: str, reference: Object | None) -> None:
        if reference:
            source = f"{kind}/{reference.get('secretName') or reference.get('name', '')}"
            found[source] = found.get(source, True) and bool(reference.get("optional"))

    for kind, field in _FROM.items():
        for volume in pod["spec"].get("volumes") or ():
            add(kind, volume.get(field))
        for container in [*(pod["spec"].get("containers") or ()), *(pod["spec"].get("initContainers") or ())]:
            for source in container.get("envFrom") or ():
                add(kind, source.get(f"{field}Ref"))
            for entry in container.get("env") or ():
                add(kind, (entry.get("valueFrom") or {}).get(f"{field}KeyRef"))
    return found


def texts(item: Object) -> dict[str, str]:
    """The data of a ConfigMap or Secret as text."""
    data = item.get("data") or {}
    if item.get("kind") != "Secret":
        return dict(data)
    return {name: base64.b64decode(value).decode("utf-8", "surrogateescape") for name, value in data.items()}


def hostname(pod: Object) -> str:
    """The pod's host name: its own wish, else its name (at most 63 characters)."""
    name: str = pod["spec"].get("hostname") or pod["metadata"]["name"]
    return name[:63].rstrip("-.")


def resolv_conf(pod: Object) -> str:
    """The pod's /etc/resolv.conf, by its dnsPolicy and dnsConfig.

    Nodes have no name server of their own, so the policy ``Default`` gives an empty file.
    """
    spec = pod["spec"]
    policy = spec.get("dnsPolicy") or "ClusterFirst"
    servers: list[str] = []
    search: list[str] = []
    options: dict[str, str] = {}
    on_host = spec.get("hostNetwork") and policy == "ClusterFirst"
    if policy in ("ClusterFirst", "ClusterFirstWithHostNet") and not on_host:
        namespace = pod["metadata"].get("namespace", "default")
        servers = [plan.DNS_SERVICE]
        search = [f"{namespace}.svc.{_DOMAIN}", f"svc.{_DOMAIN}", _DOMAIN]
        options = {"ndots": "5"}
    more = spec.get("dnsConfig") or {}
    servers += more.get("nameservers") or []
    search += more.get("searches") or []
    for option in more.get("options") or ():
        options[option["name"]] = option.get("value") or ""
    lines = [f"search {' '.join(search)}"] if search else []
    lines += [f"nameserver {server}" for server in servers]
    if options:
        lines.append("options " + " ".join(f"{name}:{value}" if value else name
                                           for name, value in options.items()))
    return "\n".join(lines) + "\n"


def hosts_file(pod: Object, facts: Facts) -> str:
    """The pod's /etc/hosts."""
    name = facts.node if pod["spec"].get("hostNetwork") else hostname(pod)
    lines = ["127.0.0.1\tlocalhost", "::1\tlocalhost ip6-localhost ip6-loopback"]
    lines += [f"{address}\t{name}" for address in facts.addresses]
    for alias in pod["spec"].get("hostAliases") or ():
        lines.append(f"{alias.get('ip')}\t{' '.join(alias.get('hostnames') or ())}")
    return "\n".join(lines) + "\n"
