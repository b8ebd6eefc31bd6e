"""What a kind is to this server: names, scope, subresources, habits; and the catalogue of all kinds served.

The built-in kinds stand in ``builtin.py``; CustomResourceDefinitions add to a server's catalogue.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from clusters.apiserver import schemas
from clusters.apiserver.columns import Layout

VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")


@dataclass(frozen=True, eq=False)
class Custom:
    """What a CustomResourceDefinition says of one version: its schema (OpenAPI v3) and names."""

    schema: Mapping[str, Any]
    list_kind: str
    singular: str


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
    verbs: tuple[str, ...] = VERBS
    stored_as: str = ""  # "group/version/plural" of the kind that holds the objects, when it is another one
    is_review: bool = False  # answered, not stored
    warning: str = field(default="", compare=False)  # told to everybody who uses a deprecated kind
    layout: Layout | None = field(default=None, compare=False)  # of a custom resource; the others' by kind
    custom: Custom | None = field(default=None, compare=False)

    @property
    def api_version(self) -> str:
        """``v1`` or ``group/version``, as objects carry it."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def list_kind(self) -> str:
        """The kind of a list of them."""
        return self.custom.list_kind if self.custom else f"{self.kind}List"

    @property
    def singular(self) -> str:
        """The name of one of them, as kubectl takes it."""
        return self.custom.singular if self.custom else self.kind.lower()

    @property
    def type(self) -> str:
        """The name of the kind's type in ``schemas``; custom resources have none there."""
        return "" if self.custom else schemas.type_name(self.group, self.version, self.kind)

    @property
    def qualified(self) -> str:
        """The name error messages use: ``services`` or ``deployments.apps``."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def qualified_kind(self) -> str:
        """The kind as error messages of validation use it: ``Service`` or ``Deployment.apps``."""
        return f"{self.kind}.{self.group}" if self.group else self.kind

    @property
    def core_kind(self) -> str:
        """The kind where it is of the core group, else empty: custom kinds may have the same name."""
        return "" if self.group else self.kind

    @property
    def has_status(self) -> bool:
        """True when ``/status`` is served apart from the rest of the object."""
        return "status" in self.subresources

    @property
    def prefix(self) -> bytes:
        """What stands before the fields of every stored object: kind and apiVersion."""
        return f'{{"kind":"{self.kind}","apiVersion":"{self.api_version}",'.encode()


class Catalogue:
    """The kinds one server serves, found by group, version and plural."""

    def __init__(self, resources: Iterable[Resource]) -> None:
        self._by_path = {(r.group, r.version, r.plural): r for r in resources}

    def find(self, group: str, version: str, plural: str) -> Resource | None:
        """The resource of a request path, or None when this server does not serve it."""
        return self._by_path.get((group, version, plural))

    def home(self, resource: Resource) -> Resource:
        """The resource that holds the objects: itself, save for kinds that are another view of a store."""
        if not resource.stored_as:
            return resource
        group, version, plural = resource.stored_as.split("/")
        return self._by_path[(group, version, plural)]

    def all(self) -> list[Resource]:
        """Every kind, the built-in ones first."""
        return list(self._by_path.values())

    def holders(self) -> list[Resource]:
        """Every kind that holds objects of its own."""
        return [r for r in self._by_path.values() if not r.stored_as and "list" in r.verbs]

    def groups(self) -> list[tuple[str, str]]:
        """Every (group, version), the core group first."""
        return list(dict.fromkeys((r.group, r.version) for r in self._by_path.values()))

    def put(self, resource: Resource) -> None:
        """Serves a kind from now on, or serves it as it is now described."""
        self._by_path[(resource.group, resource.version, resource.plural)] = resource

    def drop(self, resource: Resource) -> None:
        """Serves a kind no longer."""
        self._by_path.pop((resource.group, resource.version, resource.plural), None)
