"""Objects from manifests into a cluster: server-side apply in the order in which they stand in the files.

After a CustomResourceDefinition its kind is waited for, so that objects of it may follow in the same file.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from clusters.base import ClusterError
from clusters.client import ApiError, Client

Object = dict[str, Any]
_MANAGER = "service-conformance"
_KIND_SECONDS = 20.0  # patience for a new kind to be served


def read(path: Path) -> list[Object]:
    """The objects in a YAML file. Raises ClusterError that names the file and what is wrong in it."""
    try:
        found = [item for item in yaml.safe_load_all(path.read_text(encoding="utf-8")) if item is not None]
    except OSError as error:
        raise ClusterError(f"{path}: this manifest cannot be read ({error.strerror}); it is looked for "
                           "beside its descriptor and among what ci/peers/build has made") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ClusterError(f"{path}: not YAML: {' '.join(str(error).split())}") from error
    for number, item in enumerate(found, 1):
        meta = item.get("metadata") if isinstance(item, dict) else None
        whole = isinstance(meta, dict) and meta.get("name") and item.get("apiVersion") and item.get("kind")
        if not whole:
            raise ClusterError(f"{path}: object {number} needs apiVersion, kind and metadata.name")
    return found


async def apply(client: Client, objects: Sequence[Object]) -> None:
    """Apply each object. Raises ClusterError that names the object the API server refused, and why."""
    for item in objects:
        meta = item["metadata"]
        who = f"{item['kind']} {'/'.join(filter(None, (meta.get('namespace'), meta['name'])))}"
        try:
            path = f"{await _collection(client, item)}/{meta['name']}?fieldManager={_MANAGER}&force=true"
            await client.request("PATCH", path, item, content_type="application/apply-patch+yaml")
        except ApiError as error:
            raise ClusterError(f"manifest of the implementation: {who} was refused: {error}") from error


async def _collection(client: Client, item: Object) -> str:
    """The path of the collection an object belongs to, asked from the server's discovery."""
    version, kind = item["apiVersion"], item["kind"]
    base = f"/apis/{version}" if "/" in version else f"/api/{version}"
    end = time.monotonic() + _KIND_SECONDS
    while True:
        try:
            listed = (await client.get(base)).get("resources") or []
        except ApiError as error:
            if error.status != 404:
                raise
            listed = []
        for resource in listed:
            if resource["kind"] == kind and "/" not in resource["name"]:
                namespace = item["metadata"].get("namespace") or "default"
                inside = f"/namespaces/{namespace}" if resource["namespaced"] else ""
                return f"{base}{inside}/{resource['name']}"
        if time.monotonic() > end:
            raise ClusterError(f"the API server serves no kind {kind} in {version}; is its "
                               "CustomResourceDefinition in the manifests, and before it?")
        await asyncio.sleep(0.05)
