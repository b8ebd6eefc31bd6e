"""The three ways to change an object by difference: merge, strategic merge, JSON patch. Pure and total.

RFC 7386 · ``k8s.io/apimachinery/pkg/util/strategicpatch`` · RFC 6902. Inputs are not changed; results share
nothing with them that is written to afterwards.
"""

from __future__ import annotations

import copy
from typing import Any

from clusters.apiserver import schemas
from clusters.apiserver.schemas import Field
from clusters.apiserver.status import Refused, bad_request, unsupported_media

MERGE, STRATEGIC, JSON_PATCH = (
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
    "application/json-patch+json",
)
APPLY_PATCH = "application/apply-patch+yaml"
PATCHES = (JSON_PATCH, MERGE, STRATEGIC, APPLY_PATCH)
_UNKNOWN = Field("", 0, "")


def patched(type: str, current: Any, how: str, patch: Any) -> Any:
    """An object of a schema's ``type``, changed by a difference of one of the first three of ``PATCHES``.

    Refused: 400, 415, 422.
    """
    if how == JSON_PATCH:
        return json_patch(current, patch)
    if how not in (MERGE, STRATEGIC):
        raise unsupported_media(PATCHES)
    if not isinstance(patch, dict):
        raise bad_request(
            "json: cannot unmarshal the patch into Go value of type map[string]interface {}: a JSON "
            "object was expected"
        )
    return merge(current, patch) if how == MERGE else strategic(type, current, patch)


def merge(target: Any, patch: Any) -> Any:
    """RFC 7386: null removes, objects merge, everything else replaces."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = merge(result.get(name), value)
    return result


def strategic(kind: str, target: Any, patch: Any) -> Any:
    """Kubernetes' strategic merge for an object of the type ``kind`` (see ``schemas``).

    Lists with a known key merge item by item.

    Understands ``$patch`` (replace, merge, delete), ``$deleteFromPrimitiveList``, ``$setElementOrder`` and
    ``$retainKeys``. Refused 400 when an item of a keyed list lacks its key.
    """
    return _strategic_map(target, patch, kind)


def _strategic_map(target: Any, patch: Any, kind: str) -> Any:
    if not isinstance(patch, dict):
        return patch
    directive = patch.get("$patch")
    if directive == "replace":
        return {name: value for name, value in patch.items() if name != "$patch"}
    if directive == "delete":
        return {}
    if directive not in (None, "merge"):
        raise bad_request(f"Unknown patch type: {directive}")
    result = dict(target) if isinstance(target, dict) else {}
    known = schemas.fields(kind)
    _retain_keys(result, patch)
    for name, value in patch.items():
        if name.startswith("$"):
            _list_directive(result, name, value)
        elif value is None:
            result.pop(name, None)
        else:
            result[name] = _strategic_value(result.get(name), value, known.get(name, _UNKNOWN), name)
    for name, order in patch.items():
        if name.startswith("$setElementOrder/"):
            field = name.partition("/")[2]
            _reorder(result, field, order, known.get(field, _UNKNOWN).merge_key)
    return result


def _retain_keys(result: dict[str, Any], patch: dict[str, Any]) -> None:
    keep = patch.get("$retainKeys")
    if isinstance(keep, list):
        for name in [name for name in result if name not in keep]:
            del result[name]


def _list_directive(result: dict[str, Any], name: str, value: Any) -> None:
    directive, _, field = name.partition("/")
    if (
        directive == "$deleteFromPrimitiveList"
        and isinstance(value, list)
        and isinstance(result.get(field), list)
    ):
        result[field] = [item for item in result[field] if item not in value]


def _reorder(result: dict[str, Any], field: str, order: Any, key: str) -> None:
    items = result.get(field)
    if not isinstance(order, list) or not isinstance(items, list):
        return

    def identity(item: Any) -> Any:
        return item.get(key) if isinstance(item, dict) else item

    wanted = [identity(item) for item in order]
    listed = [item for name in wanted for item in items if identity(item) == name]
    result[field] = listed + [item for item in items if identity(item) not in wanted]


def _strategic_value(target: Any, value: Any, field: Field, name: str) -> Any:
    if isinstance(value, dict):
        return _strategic_map(target, value, "" if field.is_map else field.type)
    if not isinstance(value, list) or not field.is_merged:
        return value
    if not field.merge_key:
        have = list(target) if isinstance(target, list) else []
        return have + [item for item in value if item not in have]
    return _merge_items(target if isinstance(target, list) else [], value, field, name)


def _merge_items(have: list[Any], patch: list[Any], field: Field, name: str) -> list[Any]:
    key, kind = field.merge_key, field.item
    if any(isinstance(item, dict) and item.get("$patch") == "replace" for item in patch):
        return [item for item in patch if not (isinstance(item, dict) and "$patch" in item)]
    result = list(have)
    for item in patch:
        if not isinstance(item, dict) or key not in item:
            raise bad_request(f"map: {item!r} does not contain declared merge key: {key} (in field {name})")
        at = next(
            (i for i, old in enumerate(result) if isinstance(old, dict) and old.get(key) == item[key]), None
        )
        if item.get("$patch") == "delete":
            result = [old for old in result if not (isinstance(old, dict) and old.get(key) == item[key])]
        elif at is None:
            result.append(_strategic_map({}, item, kind))
        else:
            result[at] = _strategic_map(result[at], item, kind)
    return result


def json_patch(target: Any, operations: Any) -> Any:
    """RFC 6902. Refused 400 for a malformed patch, 422 where it does not apply (a failed test, a missing
    path).
    """
    if not isinstance(operations, list):
        raise bad_request(
            "error decoding patch: json: cannot unmarshal object into Go value of type "
            "jsonpatch.Patch: a list of operations was expected"
        )
    result = copy.deepcopy(target)
    for operation in operations:
        if not isinstance(operation, dict):
            raise bad_request("error decoding patch: every operation must be an object")
        result = _apply_operation(result, operation)
    return result


def _does_not_apply(why: str) -> Refused:
    return Refused(
        422, "Invalid", f"the server rejected our request due to an error in our request: {why}", {}
    )


def _apply_operation(root: Any, operation: dict[str, Any]) -> Any:
    kind, path = operation.get("op"), _pointer(operation.get("path"))
    if kind in ("add", "replace", "test") and "value" not in operation:
        raise _does_not_apply(f"{kind} operation does not have a value")
    if kind == "test":
        if _get(root, path) != operation["value"]:
            raise _does_not_apply(f"testing value {operation.get('path')} failed: test failed")
        return root
    if kind == "remove":
        return _change(root, path, "remove", None)
    if kind in ("add", "replace"):
        return _change(root, path, kind, copy.deepcopy(operation["value"]))
    if kind in ("move", "copy"):
        origin = _pointer(operation.get("from"))
        value = copy.deepcopy(_get(root, origin))
        if kind == "move":
            root = _change(root, origin, "remove", None)
        return _change(root, path, "add", value)
    raise bad_request(f"Unexpected kind: {kind}")


def _pointer(text: Any) -> list[str]:
    if not isinstance(text, str) or (text and not text.startswith("/")):
        raise _does_not_apply(f"the path {text!r} is not a JSON pointer: it must be empty or begin with '/'")
    return [part.replace("~1", "/").replace("~0", "~") for part in text.split("/")[1:]]


def _index(items: list[Any], part: str, limit: int) -> int:
    if not (part.isascii() and part.isdigit()) or int(part[:9]) > limit or len(part) > 9:
        raise _does_not_apply(f"invalid array index {part!r}: the list has {len(items)} items")
    return int(part)


def _get(root: Any, path: list[str]) -> Any:
    for part in path:
        if isinstance(root, dict) and part in root:
            root = root[part]
        elif isinstance(root, list):
            root = root[_index(root, part, len(root) - 1)]
        else:
            raise _does_not_apply(f"there is nothing at /{'/'.join(path)}")
    return root


def _change(root: Any, path: list[str], kind: str, value: Any) -> Any:
    if not path:
        return {} if kind == "remove" else value
    holder, last = _get(root, path[:-1]), path[-1]
    if isinstance(holder, list):
        at = (
            len(holder)
            if last == "-" and kind == "add"
            else _index(holder, last, len(holder) - (kind != "add"))
        )
        if kind == "remove":
            del holder[at]
        elif kind == "add":
            holder.insert(at, value)
        else:
            holder[at] = value
        return root
    if not isinstance(holder, dict) or (kind != "add" and last not in holder):
        raise _does_not_apply(f"{kind} operation does not apply: there is nothing at /{'/'.join(path)}")
    if kind == "remove":
        del holder[last]
    else:
        holder[last] = value
    return root
