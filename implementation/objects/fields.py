"""Checks of single fields: what passes here may be written into a rule, and nothing else may.

Every check gives the canonical value or raises :class:`ObjectError`. Names are Kubernetes' own DNS forms,
so they hold no blank, quote, newline or dash in front; addresses are re-written by :mod:`ipaddress`, so
what reaches a rule is our spelling and never the sender's.
"""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?", re.ASCII)
_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", re.ASCII)
_BYTE = r"(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
_IPV4 = re.compile(rf"{_BYTE}\.{_BYTE}\.{_BYTE}\.{_BYTE}")  # in canonical spelling, as nearly all are
_NOT_ENDPOINT = re.compile(r"0\.0\.0\.0$|127\.|169\.254\.|22[4-9]\.|23[0-9]\.")  # of those spelled so
_SHOWN = 80  # characters of a wrong value quoted in a message

PROTOCOLS = ("TCP", "UDP", "SCTP")


class ObjectError(ValueError):
    """An API object, or one field of it, cannot be used; the message names field, value and what is
    allowed."""


def shown(value: object) -> str:
    """The value as it may stand in a message or log: escaped, at most 80 characters."""
    text = ascii(value)
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"


def object_name(value: object, field: str) -> str:
    """A name of an object or namespace (RFC 1123 subdomain, ≤ 253 characters)."""
    if isinstance(value, str) and _SUBDOMAIN.fullmatch(value):
        return value
    raise ObjectError(f"{field} {shown(value)} is not a DNS name of lower-case letters, digits, '-' and '.'")


def port_name(value: object, field: str) -> str:
    """A name of a port (RFC 1123 label, ≤ 63 characters), or the empty string for none."""
    if value is None or value == "":
        return ""
    if isinstance(value, str) and _LABEL.fullmatch(value):
        return value
    raise ObjectError(f"{field} {shown(value)} is not a DNS label of lower-case letters, digits and '-'")


def port_number(value: object, field: str) -> int:
    """A port from 1 to 65535."""
    if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= 65535:
        return value
    raise ObjectError(f"{field} {shown(value)} is not a port from 1 to 65535")


def optional_port(value: object, field: str) -> int:
    """A port from 1 to 65535, or 0 where none is given."""
    return 0 if value in (None, 0) else port_number(value, field)


def protocol(value: object, field: str) -> str:
    """One of TCP, UDP and SCTP; TCP where none is given."""
    if value is None or value == "":
        return "TCP"
    if value in PROTOCOLS:
        return str(value)
    raise ObjectError(f"{field} {shown(value)} is not one of TCP, UDP, SCTP")


def _address(value: object, field: str) -> IPv4Address | IPv6Address:
    # A zone ("fe80::1%eth0") is refused: ipaddress passes any text behind the '%'.
    if isinstance(value, str) and "%" not in value:
        try:
            return ip_address(value)
        except ValueError:
            pass
    raise ObjectError(f"{field} {shown(value)} is not an IPv4 or IPv6 address")


def address(value: object, field: str) -> str:
    """An address in canonical spelling."""
    if isinstance(value, str) and _IPV4.fullmatch(value):
        return value  # ipaddress takes ten times as long, and there are very many
    return str(_address(value, field))


def endpoint_address(value: object, field: str) -> str:
    """An address traffic may be sent to: not unspecified, loopback, link-local or multicast (as Kubernetes
    demands)."""
    if isinstance(value, str) and _IPV4.fullmatch(value) and not _NOT_ENDPOINT.match(value):
        return value
    found = _address(value, field)
    if found.is_unspecified or found.is_loopback or found.is_link_local or found.is_multicast:
        raise ObjectError(f"{field} {found} must not be unspecified, loopback, link-local or multicast")
    return str(found)


def network(value: object, field: str) -> str:
    """A network in CIDR form, canonical, host bits cleared; blanks around it are allowed (Kubernetes trims
    them)."""
    if isinstance(value, str) and "%" not in value and "/" in value:
        try:
            return str(ip_network(value.strip(), strict=False))
        except ValueError:
            pass
    raise ObjectError(f"{field} {shown(value)} is not a network such as 10.0.0.0/8")


def family(value: str) -> int:
    """4 or 6 for an address or network already checked."""
    return 6 if ":" in value else 4
