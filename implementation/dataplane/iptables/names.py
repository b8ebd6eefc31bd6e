"""Names of chains, byte for byte as kube-proxy makes them (facts of upstream, §1.2).

A name is ``KUBE-<kind>-`` and the first 16 characters of the base32 of a SHA-256 over the Service port's
name and protocol (and the endpoint, for ``SEP``). Kubernetes up to 1.18 hashed an unnamed port as
``ns/name:``, later ones as ``ns/name``; :class:`Style` is that choice.
"""

from __future__ import annotations

from base64 import b32encode
from enum import StrEnum
from hashlib import sha256

from implementation.state.desired import Endpoint, ServedPort

SERVICE, LOCAL, EXTERNAL, FIREWALL, ENDPOINT = "SVC", "SVL", "EXT", "FW", "SEP"
OWNED_PREFIXES = tuple(f"KUBE-{kind}-" for kind in (SERVICE, LOCAL, ENDPOINT, FIREWALL, EXTERNAL))


class Style(StrEnum):
    """Whose chains are written: today's, or those of Kubernetes 1.18."""

    CURRENT = "current"
    OLD = "1.18"


def port_name(port: ServedPort, style: Style) -> str:
    """The name of a Service port as it stands in comments and under the hash."""
    base = f"{port.namespace}/{port.name}"
    return f"{base}:{port.port_name}" if port.port_name or style is Style.OLD else base


def digest(text: str) -> str:
    """The first 16 characters of the base32 of the SHA-256 of ``text``."""
    return b32encode(sha256(text.encode()).digest())[:16].decode()


def chain(kind: str, port: ServedPort, style: Style) -> str:
    """The chain of one Service port: ``kind`` is SVC, SVL, EXT or FW, which share one hash."""
    return f"KUBE-{kind}-{digest(port_name(port, style) + port.protocol)}"


def endpoint_chain(port: ServedPort, endpoint: Endpoint, style: Style) -> str:
    """The chain of one endpoint of one Service port."""
    return f"KUBE-{ENDPOINT}-{digest(port_name(port, style) + port.protocol + endpoint.target)}"
