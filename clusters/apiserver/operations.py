"""HTTP's side of every operation but watch: from a target, a query and a body to an answer.

Rules live in ``registry``; here are only status codes, headers and which operation a request means.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

from aiohttp import web

from clusters.apiserver import faces, routes
from clusters.apiserver.accept import accepted
from clusters.apiserver.bodies import parse_yaml
from clusters.apiserver.deletion import delete_options
from clusters.apiserver.evictions import evict
from clusters.apiserver.forms import faced, list_in, object_in
from clusters.apiserver.listing import ListOptions, page, whole_number
from clusters.apiserver.managers import APPLY, UPDATE, Writer
from clusters.apiserver.parameters import (
    bearer,
    dry_run,
    flag,
    read_json,
    request_selector,
    response,
    unknown_fields,
)
from clusters.apiserver.patch import APPLY_PATCH, PATCHES
from clusters.apiserver.registry import Registry
from clusters.apiserver.resources import Catalogue, Resource
from clusters.apiserver.reviews import Tokens, answer, seconds_asked
from clusters.apiserver.scale import scale_of, with_replicas
from clusters.apiserver.settling import timestamp
from clusters.apiserver.shapes import parse_json
from clusters.apiserver.status import Refused, bad_request, unsupported_media
from clusters.apiserver.store import Entry


class Operations:
    """Answers the requests about objects over one registry."""

    def __init__(self, registry: Registry, tokens: Tokens) -> None:
        self.registry, self.store, self.tokens = registry, registry.store, tokens

    def operate(self, request: web.BaseRequest, target: routes.Target, body: bytes) -> web.Response:
        """The answer to a request about objects; ``body`` is what came with it. Refused: as the rules say."""
        if target.subresource == "scale":
            return self._scale(request, target, body)
        posted: dict[str, Callable[[web.BaseRequest, routes.Target, Any], web.Response]] = {
            "binding": self._bind,
            "eviction": self._evict,
            "finalize": self._finalize,
            "token": self._token,
        }
        if target.resource.is_review or target.subresource in posted:
            answer_to = posted.get(target.subresource, self._review)
            return answer_to(request, target, read_json(request, body))
        answers: dict[str, Callable[[web.BaseRequest, routes.Target, bytes], web.Response]] = {
            "get": self._get,
            "list": self._list,
            "create": self._create,
            "update": self._update,
            "patch": self._patch,
            "delete": self._delete,
            "deletecollection": self._delete_collection,
        }
        answer = answers[target.verb](request, target, body)
        if target.resource.warning:
            answer.headers.add("Warning", f'299 - "{target.resource.warning}"')
        return answer

    def _get(self, request: web.BaseRequest, target: routes.Target, _body: bytes) -> web.Response:
        holder = self.store.kinds.home(target.resource)
        return self._object(request, target.resource, self.registry.get(holder, target.key))

    def _create(self, request: web.BaseRequest, target: routes.Target, body: bytes) -> web.Response:
        holder, value, warnings = _sent(self.store.kinds, request, target, body)
        entry = self.registry.create(
            holder, target.namespace, value, dry_run(request.query), _writer(request, target)
        )
        return self._object(request, target.resource, entry, 201, warnings)

    def _update(self, request: web.BaseRequest, target: routes.Target, body: bytes) -> web.Response:
        holder, value, warnings = _sent(self.store.kinds, request, target, body)
        entry, created = self.registry.update(
            holder, target.key, value, target.subresource, dry_run(request.query), _writer(request, target)
        )
        return self._object(request, target.resource, entry, 201 if created else 200, warnings)

    def _patch(self, request: web.BaseRequest, target: routes.Target, body: bytes) -> web.Response:
        if request.content_type not in PATCHES:
            raise unsupported_media(PATCHES)
        holder, query = self.store.kinds.home(target.resource), request.query
        if request.content_type == APPLY_PATCH:
            wish = faces.to_home(target.resource, holder, parse_yaml(body))
            warnings = unknown_fields(holder, wish, query)
            writer = _writer(request, target, APPLY)
            entry, made = self.registry.apply(
                holder, target.key, wish, writer, flag(query.get("force", "")), dry_run(query)
            )
            return self._object(request, target.resource, entry, 201 if made else 200, warnings)
        patch = faces.to_home(target.resource, holder, parse_json(body))
        told: list[str] = []
        entry = self.registry.patch(
            holder,
            target.key,
            request.content_type,
            patch,
            target.subresource,
            dry_run(query),
            _writer(request, target),
            lambda changed: told.append(unknown_fields(holder, changed, query)),
        )
        return self._object(request, target.resource, entry, 200, "".join(told))

    def _bind(self, _request: web.BaseRequest, target: routes.Target, value: Any) -> web.Response:
        place = value.get("target") if isinstance(value, dict) else None
        node = place.get("name") if isinstance(place, dict) else None
        if not isinstance(node, str) or not node:
            raise bad_request("a Binding must name the node in target.name")
        self.registry.bind(target.resource, target.key, node)
        return response(
            {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}, 201
        )

    def _evict(self, _request: web.BaseRequest, target: routes.Target, value: Any) -> web.Response:
        asked = value.get("deleteOptions") if isinstance(value, dict) else None
        options = delete_options(asked or {}, {})
        evict(self.registry, target.resource, target.key, options)
        return response(
            {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}, 201
        )

    def _token(self, _request: web.BaseRequest, target: routes.Target, value: Any) -> web.Response:
        account = self.registry.get(target.resource, target.key)
        seconds = seconds_asked(value)
        token, ends = self.tokens.issue(target.namespace, account.object, seconds, self.registry.now())
        spec = value.get("spec") if isinstance(value, dict) else None
        told = {
            "kind": "TokenRequest",
            "apiVersion": "authentication.k8s.io/v1",
            "metadata": {"name": target.name, "namespace": target.namespace, "creationTimestamp": None},
            "spec": {**(spec or {}), "expirationSeconds": seconds},
            "status": {"token": token, "expirationTimestamp": timestamp(ends)},
        }
        return response(told, 201)

    def _finalize(self, request: web.BaseRequest, target: routes.Target, value: Any) -> web.Response:
        return self._object(
            request, target.resource, self.registry.finalize(target.resource, target.key, value)
        )

    def _review(self, request: web.BaseRequest, target: routes.Target, value: Any) -> web.Response:
        kind, now = target.resource.kind, self.registry.now()
        user = self.tokens.user(bearer(request), now) or {}
        status = answer(kind, value, user, self.tokens, now)
        head = {"kind": kind, "apiVersion": target.resource.api_version, "metadata": {}}
        return response({**head, **value, "status": status}, 201)

    def _scale(self, request: web.BaseRequest, target: routes.Target, body: bytes) -> web.Response:
        entry = self.registry.get(target.resource, target.key)
        if target.verb == "get":
            return response(scale_of(entry.object))
        patch_type = request.content_type if target.verb == "patch" else ""
        value = parse_json(body) if patch_type else read_json(request, body)
        changed = with_replicas(target.resource, entry, value, patch_type)
        entry, _ = self.registry.update(
            target.resource, target.key, changed, "", dry_run(request.query), _writer(request, target)
        )
        return response(scale_of(entry.object))

    def _list(self, request: web.BaseRequest, target: routes.Target, _body: bytes) -> web.Response:
        query, holder = request.query, self.store.kinds.home(target.resource)
        options = ListOptions(
            target.namespace,
            request_selector(holder, query),
            whole_number(query.get("limit", ""), "limit"),
            query.get("continue", ""),
            query.get("resourceVersion", ""),
            query.get("resourceVersionMatch", ""),
        )
        form = accepted(request.headers.get("Accept", ""))
        found = page(self.store, holder, options)
        return response(list_in(form, target.resource, found, query, self.registry.now()))

    def _delete(self, request: web.BaseRequest, target: routes.Target, body: bytes) -> web.Response:
        options = delete_options(read_json(request, body), dict(request.query))
        entry, gone = self.registry.delete(self.store.kinds.home(target.resource), target.key, options)
        if target.resource.returns_deleted or not gone:
            return self._object(request, target.resource, entry)
        details = {
            "name": target.name,
            "group": target.resource.group,
            "kind": target.resource.plural,
            "uid": entry.object["metadata"]["uid"],
        }
        return response(
            {
                "kind": "Status",
                "apiVersion": "v1",
                "metadata": {},
                "status": "Success",
                "details": {name: value for name, value in details.items() if value},
            }
        )

    def _delete_collection(
        self, request: web.BaseRequest, target: routes.Target, body: bytes
    ) -> web.Response:
        query, holder = request.query, self.store.kinds.home(target.resource)
        options = delete_options(read_json(request, body), dict(query))
        test = request_selector(holder, query)
        chosen = [
            (key, entry)
            for key, entry in self.store.select(holder, target.namespace)
            if test is None or test(entry.object)
        ]
        for key, _ in chosen:
            if self.store.get(holder, key) is not None:
                with contextlib.suppress(Refused):  # a lasting namespace stays, the others go
                    self.registry.delete(holder, key, options)
        items = b",".join(faced(target.resource, entry.body) for _, entry in chosen)
        kind, version = target.resource.kind, target.resource.api_version
        return response(
            f'{{"kind":"{kind}List","apiVersion":"{version}","metadata":{{"resourceVersion":'
            f'"{self.store.version}"}},"items":['.encode()
            + items
            + b"]}"
        )

    def _object(
        self,
        request: web.BaseRequest,
        resource: Resource,
        entry: Entry,
        status: int = 200,
        warnings: str = "",
    ) -> web.Response:
        form = accepted(request.headers.get("Accept", ""))
        told = object_in(form, resource, entry.object, entry.body, request.query, self.registry.now())
        answer = response(told, status)
        if warnings:
            answer.headers.add("Warning", f'299 - "{warnings}"')
        return answer


def _writer(request: web.BaseRequest, target: routes.Target, operation: str = UPDATE) -> Writer:
    """Who asks: the field manager named, else (never for an apply) the client's own name."""
    named = request.query.get("fieldManager", "")
    manager = named
    if not named and operation == UPDATE:
        manager = request.headers.get("User-Agent", "").partition("/")[0] or "unknown"
    return Writer(manager, operation, target.subresource, bool(named))


def _sent(
    kinds: Catalogue, request: web.BaseRequest, target: routes.Target, body: bytes
) -> tuple[Resource, Any, str]:
    """The kind that holds the object, the object sent in its form, and a warning of unknown fields."""
    value = read_json(request, body)
    if value is None:
        raise bad_request("the body is empty: a JSON object was expected")
    holder = kinds.home(target.resource)
    value = faces.to_home(target.resource, holder, value)
    return holder, value, unknown_fields(holder, value, request.query)
