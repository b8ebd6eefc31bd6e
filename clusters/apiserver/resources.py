"""The kinds this server knows, as one table: names, scope, subresources and the habits of each.

Read from the published API reference of Kubernetes 1.36. The list-map keys of strategic merge stand in
``merge_keys.json`` next to this file, because they are data and shared between kinds.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from clusters.apiserver.columns import Layout

VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")


@dataclass(frozen=True)
class Resource:
    """One kind as the API serves it."""

    group: str
    version: str
    plural: str
    kind: str
    namespaced: bool = True
    short: tuple[str, ...] = ()
    subresources: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    has_generation: bool = False  # metadata.generation is kept, and counts changes of everything but status
    keeps_status_on_create: bool = False  # a Node may arrive with its status
    create_on_update: bool = False  # PUT on a name that does not exist creates it
    needs_version: bool = False  # PUT must carry metadata.resourceVersion
    returns_deleted: bool = False  # DELETE answers the object, not a Status
    stored_as: str = ""  # "group/version/plural" of the kind that holds the objects, when it is another one
    layout: Layout | None = field(default=None, compare=False)  # of a custom resource; the others' by kind

    @property
    def api_version(self) -> str:
        """``v1`` or ``group/version``, as objects carry it."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def list_kind(self) -> str:
        """The kind of a list of them."""
        return f"{self.kind}List"

    @property
    def qualified(self) -> str:
        """The name error messages use: ``services`` or ``deployments.apps``."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def qualified_kind(self) -> str:
        """The kind as error messages of validation use it: ``Service`` or ``Deployment.apps``."""
        return f"{self.kind}.{self.group}" if self.group else self.kind

    @property
    def has_status(self) -> bool:
        """True when ``/status`` is served apart from the rest of the object."""
        return "status" in self.subresources

    @property
    def prefix(self) -> bytes:
        """What stands before the fields of every stored object: kind and apiVersion."""
        return f'{{"kind":"{self.kind}","apiVersion":"{self.api_version}",'.encode()


_ALL = ("all",)

RESOURCES: tuple[Resource, ...] = (
    Resource("", "v1", "namespaces", "Namespace", False, ("ns",), ("status",)),
    Resource("", "v1", "nodes", "Node", False, ("no",), ("status",), keeps_status_on_create=True),
    Resource(
        "",
        "v1",
        "pods",
        "Pod",
        True,
        ("po",),
        ("binding", "status"),
        _ALL,
        has_generation=True,
        returns_deleted=True,
    ),
    Resource(
        "",
        "v1",
        "services",
        "Service",
        True,
        ("svc",),
        ("status",),
        _ALL,
        create_on_update=True,
        returns_deleted=True,
    ),
    Resource("", "v1", "configmaps", "ConfigMap", True, ("cm",)),
    Resource("", "v1", "events", "Event", True, ("ev",), create_on_update=True),
    Resource("", "v1", "endpoints", "Endpoints", True, ("ep",), create_on_update=True),
    Resource("", "v1", "secrets", "Secret"),
    Resource("", "v1", "serviceaccounts", "ServiceAccount", True, ("sa",), returns_deleted=True),
    Resource(
        "apps",
        "v1",
        "deployments",
        "Deployment",
        True,
        ("deploy",),
        ("scale", "status"),
        _ALL,
        has_generation=True,
    ),
    Resource(
        "apps",
        "v1",
        "replicasets",
        "ReplicaSet",
        True,
        ("rs",),
        ("scale", "status"),
        _ALL,
        has_generation=True,
    ),
    Resource("discovery.k8s.io", "v1", "endpointslices", "EndpointSlice", has_generation=True),
    Resource("events.k8s.io", "v1", "events", "Event", True, ("ev",), stored_as="/v1/events"),
    Resource("coordination.k8s.io", "v1", "leases", "Lease", create_on_update=True, needs_version=True),
)

BY_PATH: dict[tuple[str, str, str], Resource] = {(r.group, r.version, r.plural): r for r in RESOURCES}


def find(group: str, version: str, plural: str) -> Resource | None:
    """The resource of a request path, or None when this server does not serve it."""
    return BY_PATH.get((group, version, plural))


def home(resource: Resource) -> Resource:
    """The resource that holds the objects: itself, save for kinds that are another view of the same store."""
    if not resource.stored_as:
        return resource
    group, version, plural = resource.stored_as.split("/")
    return BY_PATH[(group, version, plural)]


def groups() -> list[tuple[str, str]]:
    """Every (group, version) in the order of the table, the core group first."""
    seen: dict[tuple[str, str], None] = {}
    for resource in RESOURCES:
        seen.setdefault((resource.group, resource.version), None)
    return list(seen)
