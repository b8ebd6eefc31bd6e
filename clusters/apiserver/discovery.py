"""What the server says of itself: versions, groups, resources, and the little OpenAPI that kubectl asks
for. Pure.
"""

from __future__ import annotations

from typing import Any

from clusters.apiserver.resources import RESOURCES, VERBS, Resource, groups

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


def core_versions(address: str) -> dict[str, Any]:
    """``/api``."""
    return {
        "kind": "APIVersions",
        "versions": ["v1"],
        "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": address}],
    }


def _group(name: str, version: str) -> dict[str, Any]:
    told = {"groupVersion": f"{name}/{version}", "version": version}
    return {"name": name, "versions": [told], "preferredVersion": told}


def group_list() -> dict[str, Any]:
    """``/apis``."""
    return {
        "kind": "APIGroupList",
        "apiVersion": "v1",
        "groups": [_group(*pair) for pair in groups() if pair[0]],
    }


def group(name: str) -> dict[str, Any] | None:
    """``/apis/<group>``, or None when there is no such group."""
    for found, version in groups():
        if found == name and name:
            return {"kind": "APIGroup", "apiVersion": "v1", **_group(found, version)}
    return None


def resource_list(name: str, version: str) -> dict[str, Any] | None:
    """``/api/v1`` or ``/apis/<group>/<version>``, or None when there is no such thing."""
    served = [resource for resource in RESOURCES if (resource.group, resource.version) == (name, version)]
    if not served:
        return None
    told = [entry for resource in served for entry in _entries(resource)]
    return {
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": f"{name}/{version}" if name else version,
        "resources": told,
    }


def _entries(resource: Resource) -> list[dict[str, Any]]:
    entry: dict[str, Any] = {
        "name": resource.plural,
        "singularName": resource.kind.lower(),
        "namespaced": resource.namespaced,
        "kind": resource.kind,
        "verbs": list(VERBS),
    }
    if resource.short:
        entry["shortNames"] = list(resource.short)
    if resource.categories:
        entry["categories"] = list(resource.categories)
    entries = [entry]
    for name in resource.subresources:
        told = {
            "name": f"{resource.plural}/{name}",
            "singularName": "",
            "namespaced": resource.namespaced,
            "kind": resource.kind,
            "verbs": ["get", "patch", "update"],
        }
        if name == "binding":
            told |= {"kind": "Binding", "verbs": ["create"]}
        if name == "scale":
            told |= {"group": "autoscaling", "version": "v1", "kind": "Scale"}
        entries.append(told)
    return entries


def openapi_paths() -> dict[str, Any]:
    """``/openapi/v3``: where the description of each group stands."""
    return {
        "paths": {_base(*pair): {"serverRelativeURL": f"/openapi/v3/{_base(*pair)}"} for pair in groups()}
    }


def _base(name: str, version: str) -> str:
    return f"apis/{name}/{version}" if name else f"api/{version}"


def openapi(path: str) -> dict[str, Any] | None:
    """``/openapi/v3/<group path>``: only that PATCH takes fieldValidation, all that kubectl asks before
    it sends.
    """
    for pair in groups():
        if path == _base(*pair):
            served = [resource for resource in RESOURCES if (resource.group, resource.version) == pair]
            return {
                "openapi": "3.0.0",
                "info": {"title": "Kubernetes", "version": VERSION["gitVersion"]},
                "paths": dict(_patch_operation(path, resource) for resource in served),
                "components": {"schemas": {f"{resource.kind}": _schema(resource) for resource in served}},
            }
    return None


def _kinds(resource: Resource) -> dict[str, str]:
    return {"group": resource.group, "version": resource.version, "kind": resource.kind}


def _patch_operation(base: str, resource: Resource) -> tuple[str, dict[str, Any]]:
    place = "namespaces/{namespace}/" if resource.namespaced else ""
    parameters = [
        {"name": name, "in": "query", "schema": {"type": "string", "uniqueItems": True}}
        for name in ("dryRun", "fieldManager", "fieldValidation")
    ]
    return f"/{base}/{place}{resource.plural}/{{name}}", {
        "patch": {
            "parameters": parameters,
            "responses": {},
            "x-kubernetes-action": "patch",
            "x-kubernetes-group-version-kind": _kinds(resource),
        }
    }


def _schema(resource: Resource) -> dict[str, Any]:
    return {
        "type": "object",
        "x-kubernetes-group-version-kind": [_kinds(resource)],
        "x-kubernetes-preserve-unknown-fields": True,
    }
