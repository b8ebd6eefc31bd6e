"""How to reach the API server: a kubeconfig file, or the service account of the pod this runs in."""

from __future__ import annotations

import base64
import binascii
import os
import ssl
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import yaml

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")


class KubeconfigError(Exception):
    """The API server cannot be reached with what was given; says file, field and what is expected."""


class Access(msgspec.Struct, frozen=True):
    """An API server and who we are to it. ``token_file`` is read anew for every request (tokens rotate)."""

    server: str
    ca: str = ""
    token: str = ""
    token_file: str = ""
    certificate: bytes = b""
    key: bytes = b""
    insecure: bool = False
    server_name: str = ""

    def bearer(self) -> str:
        """The token to send now, or the empty string."""
        return Path(self.token_file).read_text().strip() if self.token_file else self.token

    def tls(self) -> ssl.SSLContext:
        """What to trust and how to show who we are. The CA given is the only one trusted."""
        context = ssl.create_default_context(cadata=self.ca) if self.ca else ssl.create_default_context()
        if self.insecure:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if self.certificate:
            # load_cert_chain takes only files; this one is readable by us alone and gone at the end of
            # the block.
            with tempfile.NamedTemporaryFile() as file:
                file.write(self.certificate + b"\n" + self.key)
                file.flush()
                context.load_cert_chain(file.name)
        return context


def load(path: str) -> Access:
    """The access that the file at ``path`` describes (its current context), or that of the pod when
    ``path`` is empty."""
    if not path:
        return in_cluster(os.environ)
    try:
        text = Path(path).read_text()
    except OSError as error:
        raise KubeconfigError(f"kubeconfig {path}: {error.strerror}") from error
    try:
        return parse(text, Path(path).parent)
    except KubeconfigError as error:
        raise KubeconfigError(f"kubeconfig {path}: {error}") from error


def in_cluster(environment: Mapping[str, str]) -> Access:
    """Access by the pod's own service account."""
    host, port = environment.get("KUBERNETES_SERVICE_HOST"), environment.get("KUBERNETES_SERVICE_PORT", "443")
    if not host:
        raise KubeconfigError(
            "no --kubeconfig given, and this is not a pod (KUBERNETES_SERVICE_HOST is not set)"
        )
    try:
        ca = (SERVICE_ACCOUNT / "ca.crt").read_text()
    except OSError as error:
        raise KubeconfigError(f"{SERVICE_ACCOUNT / 'ca.crt'}: {error.strerror}") from error
    host = f"[{host}]" if ":" in host else host
    return Access(server=f"https://{host}:{port}", ca=ca, token_file=str(SERVICE_ACCOUNT / "token"))


def parse(text: str, folder: Path) -> Access:
    """The access in a kubeconfig's text; files it names are relative to ``folder``."""
    try:
        config = yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except yaml.YAMLError as error:
        raise KubeconfigError(f"is not YAML: {error}") from error
    if not isinstance(config, dict):
        raise KubeconfigError("is not a kubeconfig: a mapping is expected")
    context = _named(config, "contexts", "context", config.get("current-context"))
    cluster = _named(config, "clusters", "cluster", context.get("cluster"))
    user = _named(config, "users", "user", context.get("user")) if context.get("user") else {}
    server = cluster.get("server")
    if not isinstance(server, str) or not server.startswith(("https://", "http://")):
        raise KubeconfigError(f"cluster server {server!r} is not an http(s) URL")
    if "exec" in user or "auth-provider" in user:
        raise KubeconfigError(
            "users with exec or auth-provider are not supported: use a token or a certificate"
        )
    token_file = user.get("tokenFile") or ""
    return Access(
        server=server.rstrip("/"),
        ca=_data(cluster, "certificate-authority", folder).decode(),
        token=user.get("token") or "",
        token_file=str(folder / token_file) if token_file else "",
        certificate=_data(user, "client-certificate", folder),
        key=_data(user, "client-key", folder),
        insecure=cluster.get("insecure-skip-tls-verify") is True,
        server_name=cluster.get("tls-server-name") or "",
    )


def _named(config: Mapping[str, Any], plural: str, singular: str, name: object) -> dict[str, Any]:
    entries = config.get(plural)
    for entry in entries if isinstance(entries, list) else ():
        if isinstance(entry, dict) and entry.get("name") == name and isinstance(entry.get(singular), dict):
            return dict(entry[singular])
    raise KubeconfigError(f"has no {singular} named {name!r}")


def _data(entry: Mapping[str, Any], field: str, folder: Path) -> bytes:
    inline, path = entry.get(f"{field}-data"), entry.get(field)
    try:
        if isinstance(inline, str) and inline:
            return base64.b64decode(inline, validate=True)
        return (folder / path).read_bytes() if isinstance(path, str) and path else b""
    except (binascii.Error, ValueError) as error:
        raise KubeconfigError(f"{field}-data is not base64: {error}") from error
    except OSError as error:
        raise KubeconfigError(f"{field} {path}: {error.strerror}") from error
