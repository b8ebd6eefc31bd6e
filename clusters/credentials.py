"""A kubeconfig file → where the API server is, whom to trust, and how to be let in."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml


class KubeconfigError(ValueError):
    """A kubeconfig file that cannot be used; the sentence names the file and the field."""


@dataclass(frozen=True)
class Credentials:
    """What reaches one API server: base URL, authority as PEM text and bearer token (None: none given)."""

    server: str
    ca: str | None
    token: str | None


def read_kubeconfig(path: Path) -> Credentials:
    """The current context of a kubeconfig file: authority as data or file, token or token file.

    Raises KubeconfigError when it cannot be read, or has no usable entry.
    """
    try:
        config = yaml.safe_load(path.read_text())
    except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
        raise KubeconfigError(f"{path}: cannot be read as a kubeconfig: {error}") from error
    if not isinstance(config, dict):
        raise KubeconfigError(f"{path}: a kubeconfig is a YAML mapping; this one holds none")
    context = _entry(config, "contexts", str(config.get("current-context") or ""), path)
    cluster = _entry(config, "clusters", str(context.get("cluster") or ""), path)
    user = _entry(config, "users", str(context.get("user") or ""), path) if context.get("user") else {}
    server = cluster.get("server")
    if not isinstance(server, str) or "://" not in server:
        raise KubeconfigError(f"{path}: field cluster.server must be a URL; found {server!r}")
    try:
        return Credentials(server, _authority(cluster, path), _token(user, path))
    except (OSError, binascii.Error, UnicodeDecodeError, TypeError, ValueError) as error:
        raise KubeconfigError(f"{path}: its authority or token cannot be read: {error}") from error


def _entry(config: Mapping[str, Any], table: str, name: str, path: Path) -> Mapping[str, Any]:
    """The body of the entry ``name`` in one of a kubeconfig's three tables."""
    for entry in config.get(table) or ():
        if isinstance(entry, dict) and entry.get("name") == name:
            body = entry.get(table[:-1])
            if isinstance(body, dict):
                return body
    raise KubeconfigError(f"{path}: no entry {name!r} under {table!r}; the current context names it")


def _authority(cluster: Mapping[str, Any], path: Path) -> str | None:
    if data := cluster.get("certificate-authority-data"):
        return base64.b64decode(data, validate=True).decode()
    file = cluster.get("certificate-authority")
    return (path.parent / str(file)).read_text() if file else None


def _token(user: Mapping[str, Any], path: Path) -> str | None:
    if user.get("token") is not None:
        return str(user["token"])
    file = user.get("tokenFile")
    return (path.parent / str(file)).read_text().strip() if file else None
