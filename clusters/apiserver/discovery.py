"""What the server says of itself: versions, groups and resources, each apart or all at once. Pure.

All at once is ``apidiscovery.k8s.io/v2`` (KEP-3352): two answers instead of one for each group.
"""

from __future__ import annotations

import re
from typing import Any

from clusters.apiserver.resources import Catalogue, Resource

VERSION = {
    "major": "1",
    "minor": "36",
    "gitVersion": "v1.36.0+service-conformance",
    "gitCommit": "",
    "gitTreeState": "clean",
    "buildDate": "1970-01-01T00:00:00Z",
    "goVersion": "none",
    "compiler": "none",
    "platform": "embedded/python",
}
AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"

# name of a subresource: group, version and kind of what goes over it (empty: the object itself), its verbs
_SUBRESOURCES: dict[str, tuple[str, str, str, tuple[str, ...]]] = {
    "status": ("", "", "", ("get", "patch", "update")),
    "scale": ("autoscaling", "v1", "Scale", ("get", "patch", "update")),
    "finalize": ("", "", "", ("update",)),
    "binding": ("", "v1", "Binding", ("create",)),
    "eviction": ("policy", "v1", "Eviction", ("create",)),
    "token": ("authentication.k8s.io", "v1", "TokenRequest", ("create",)),
    "log": ("", "v1", "Pod", ("get",)),
    "exec": ("", "v1", "PodExecOptions", ("create", "get")),
    "attach": ("", "v1", "PodAttachOptions", ("create", "get")),
    "portforward": ("", "v1", "PodPortForwardOptions", ("create", "get")),
}


def core_versions(address: str) -> dict[str, Any]:
    """``/api``."""
    return {
        "kind": "APIVersions",
        "versions": ["v1"],
        "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": address}],
    }


def _versions(kinds: Catalogue) -> dict[str, list[str]]:
    """The versions of each group, the preferred one first."""
    found: dict[str, list[str]] = {}
    for name, version in kinds.groups():
        found.setdefault(name, []).append(version)
    return {name: sorted(versions, key=_rank) for name, versions in found.items()}


def _rank(version: str) -> tuple[int, int, str]:
    """Stable versions before beta, beta before alpha; of these the later one first."""
    number = re.match(r"v(\d+)", version)
    least = 2 if "alpha" in version else int("beta" in version)
    return (least, -int(number[1]) if number else 0, version)


def _group(name: str, versions: list[str]) -> dict[str, Any]:
    told = [{"groupVersion": f"{name}/{version}", "version": version} for version in versions]
    return {"name": name, "versions": told, "preferredVersion": told[0]}


def group_list(kinds: Catalogue) -> dict[str, Any]:
    """``/apis``."""
    groups = [_group(name, versions) for name, versions in _versions(kinds).items() if name]
    return {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}


def group(kinds: Catalogue, name: str) -> dict[str, Any] | None:
    """``/apis/<group>``, or None when there is no such group."""
    versions = _versions(kinds).get(name)
    return {"kind": "APIGroup", "apiVersion": "v1", **_group(name, versions)} if versions and name else None


def _served(kinds: Catalogue, name: str, version: str) -> list[Resource]:
    return [resource for resource in kinds.all() if (resource.group, resource.version) == (name, version)]


def resource_list(kinds: Catalogue, name: str, version: str) -> dict[str, Any] | None:
    """``/api/v1`` or ``/apis/<group>/<version>``, or None when there is no such thing."""
    served = _served(kinds, name, version)
    if not served:
        return None
    return {
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": f"{name}/{version}" if name else version,
        "resources": [entry for resource in served for entry in _entries(resource)],
    }


def _subresource(resource: Resource, name: str) -> tuple[str, str, str, tuple[str, ...]]:
    group_name, version, kind, verbs = _SUBRESOURCES[name]
    if not kind:
        return resource.group, resource.version, resource.kind, verbs
    return group_name, version, kind, verbs


def _entries(resource: Resource) -> list[dict[str, Any]]:
    entry: dict[str, Any] = {
        "name": resource.plural,
        "singularName": resource.singular,
        "namespaced": resource.namespaced,
        "kind": resource.kind,
        "verbs": list(resource.verbs),
    }
    if resource.short:
        entry["shortNames"] = list(resource.short)
    if resource.categories:
        entry["categories"] = list(resource.categories)
    entries = [entry]
    for name in resource.subresources:
        group_name, version, kind, verbs = _subresource(resource, name)
        told = {
            "name": f"{resource.plural}/{name}",
            "singularName": "",
            "namespaced": resource.namespaced,
            "kind": kind,
            "verbs": list(verbs),
        }
        if (group_name, version) != (resource.group, resource.version):
            told |= {"group": group_name, "version": version}
        entries.append(told)
    return entries


def aggregated(kinds: Catalogue, *, core: bool) -> dict[str, Any]:
    """``/api`` (``core``) or ``/apis`` with everything below it, as ``APIGroupDiscoveryList``."""
    items = []
    for name, versions in _versions(kinds).items():
        if (name == "") != core:
            continue
        told = [
            {
                "version": version,
                "resources": [_whole(resource) for resource in _served(kinds, name, version)],
                "freshness": "Current",
            }
            for version in versions
        ]
        metadata = {"name": name, "creationTimestamp": None} if name else {"creationTimestamp": None}
        items.append({"metadata": metadata, "versions": told})
    return {
        "kind": "APIGroupDiscoveryList",
        "apiVersion": "apidiscovery.k8s.io/v2",
        "metadata": {},
        "items": items,
    }


def _whole(resource: Resource) -> dict[str, Any]:
    told: dict[str, Any] = {
        "resource": resource.plural,
        "responseKind": {"group": resource.group, "version": resource.version, "kind": resource.kind},
        "scope": "Namespaced" if resource.namespaced else "Cluster",
        "singularResource": resource.singular,
        "verbs": list(resource.verbs),
    }
    if resource.short:
        told["shortNames"] = list(resource.short)
    if resource.categories:
        told["categories"] = list(resource.categories)
    below = []
    for name in resource.subresources:
        group_name, version, kind, verbs = _subresource(resource, name)
        response = {"group": group_name, "version": version, "kind": kind}
        below.append({"subresource": name, "responseKind": response, "verbs": list(verbs)})
    if below:
        told["subresources"] = below
    return told
