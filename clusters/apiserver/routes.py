"""From a path and a method to what is meant: which kind, namespace, name, subresource and verb. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from clusters.apiserver.resources import Catalogue, Resource

_NAMESPACE_SUBRESOURCES = {"status", "finalize"}
_COLLECTION = {"GET": "list", "POST": "create", "DELETE": "deletecollection"}
_OBJECT = {"GET": "get", "PUT": "update", "PATCH": "patch", "DELETE": "delete", "POST": "create"}
_SUBRESOURCE_VERBS = {
    "": {"get", "update", "patch", "delete"},
    "status": {"get", "update", "patch"},
    "finalize": {"update"},
    "binding": {"create"},
    "eviction": {"create"},
    "token": {"create"},
    "log": {"get"},
    "exec": {"get", "create"},
    "attach": {"get", "create"},
    "portforward": {"get", "create"},
}


@dataclass(frozen=True)
class Target:
    """What a request is about."""

    resource: Resource
    verb: str  # one of Kubernetes' verbs, or "" where the method has none here
    namespace: str = ""
    name: str = ""
    subresource: str = ""

    @property
    def key(self) -> tuple[str, str]:
        """The store's key of the object."""
        return self.namespace, self.name


def parse(kinds: Catalogue, method: str, path: str) -> Target | None:
    """The target of a resource path, or None when the path names none of the kinds served."""
    parts = [part for part in path.split("/") if part]
    if parts[:1] == ["api"] and len(parts) > 2:
        group, version, rest = "", parts[1], parts[2:]
    elif parts[:1] == ["apis"] and len(parts) > 3:
        group, version, rest = parts[1], parts[2], parts[3:]
    else:
        return None
    namespace = ""
    if (
        rest[0] == "namespaces"
        and len(rest) > 2
        and not (len(rest) == 3 and rest[2] in _NAMESPACE_SUBRESOURCES)
    ):
        namespace, rest = rest[1], rest[2:]
    resource = kinds.find(group, version, rest[0])
    if resource is None or len(rest) > 3 or bool(namespace) > resource.namespaced:
        return None
    name, subresource = (rest[1:2] or [""])[0], (rest[2:3] or [""])[0]
    if subresource and subresource not in resource.subresources:
        return None
    if name and resource.namespaced and not namespace:
        return None
    verb = (_OBJECT if name else _COLLECTION).get("GET" if method == "HEAD" else method, "")
    if name and verb not in _SUBRESOURCE_VERBS.get(subresource, _SUBRESOURCE_VERBS["status"]):
        verb = ""
    if not name and verb not in resource.verbs:
        verb = ""
    if verb in {"create", "deletecollection"} and not namespace and resource.namespaced:
        verb = ""
    return Target(resource, verb, namespace, name, subresource)
