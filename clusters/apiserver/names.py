"""What a name, label, address or port must look like; each function gives the list of what is wrong.

Rules and words: ``k8s.io/apimachinery/pkg/util/validation``, Kubernetes 1.36.
"""

from __future__ import annotations

import ipaddress
import re

_LABEL = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN = _LABEL + r"(\." + _LABEL + r")*"
_QUALIFIED = r"([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"
_VALUE = r"(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?"
_CONFIG_KEY = r"[-._a-zA-Z0-9]+"


def _too_long(limit: int, unit: str = "characters") -> str:
    # Both count bytes; the newer of Kubernetes' two packages says so ("api/validate/content").
    return f"must be no more than {limit} {unit}"


def _shape(message: str, pattern: str, *examples: str) -> str:
    # The two blanks before "or" are Kubernetes' own.
    joined = ",  or ".join(f"'{example}'" for example in examples)
    return f"{message} (e.g. {joined}, regex used for validation is '{pattern}')"


def _size(text: str) -> int:
    return len(text.encode("utf-8", "surrogatepass"))


def dns_label(value: str) -> list[str]:
    """RFC 1123 label: at most 63 of a-z, 0-9 and '-', not at the ends."""
    wrong = [_too_long(63)] if _size(value) > 63 else []
    if not re.fullmatch(_LABEL, value):
        if re.fullmatch(_SUBDOMAIN, value):
            wrong.append("must not contain dots")
        else:
            wrong.append(
                _shape(
                    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters "
                    "or '-', and must start and end with an alphanumeric character",
                    _LABEL,
                    "my-name",
                    "123-abc",
                )
            )
    return wrong


def dns_subdomain(value: str, unit: str = "characters") -> list[str]:
    """RFC 1123 subdomain: labels joined by dots, at most 253 bytes; ``unit`` is what its words call them."""
    wrong = [_too_long(253, unit)] if _size(value) > 253 else []
    if not re.fullmatch(_SUBDOMAIN, value):
        wrong.append(
            _shape(
                "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, "
                "'-' or '.', and must start and end with an alphanumeric character",
                _SUBDOMAIN,
                "example.com",
            )
        )
    return wrong


def path_segment(value: str) -> list[str]:
    """A name that only has to fit into a path."""
    if value in {".", ".."}:
        return [f"may not be '{value}'"]
    return [f"may not contain '{sign}'" for sign in ("/", "%") if sign in value]


def qualified_name(value: str) -> list[str]:
    """A label key: an optional DNS prefix and '/', then at most 63 signs."""
    parts = value.split("/")
    wrong: list[str] = []
    if len(parts) > 2:
        return [_qualified_with_prefix()]
    name = parts[-1]
    if len(parts) == 2:
        if not parts[0]:
            wrong.append("prefix part must be non-empty")
        else:
            wrong += ["prefix part " + message for message in dns_subdomain(parts[0], "bytes")]
    if not name:
        wrong.append("name part must be non-empty")
    elif _size(name) > 63:
        wrong.append("name part " + _too_long(63, "bytes"))
    if not re.fullmatch(_QUALIFIED, name):
        wrong.append("name part " + _qualified_shape())
    return wrong


def _qualified_shape() -> str:
    return _shape(
        "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an "
        "alphanumeric character",
        _QUALIFIED,
        "MyName",
        "my.name",
        "123-abc",
    )


def _qualified_with_prefix() -> str:
    return (
        "a valid label key "
        + _qualified_shape()
        + " with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"
    )


def label_value(value: str) -> list[str]:
    """A label's value: empty, or at most 63 signs that begin and end with a letter or digit."""
    wrong = [_too_long(63, "bytes")] if _size(value) > 63 else []
    if not re.fullmatch(_VALUE, value):
        wrong.append(
            _shape(
                "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' "
                "or '.', and must start and end with an alphanumeric character",
                _VALUE,
                "MyValue",
                "my_value",
                "12345",
            )
        )
    return wrong


def config_key(value: str) -> list[str]:
    """A key of a ConfigMap or Secret: a file name without signs that matter to a path."""
    wrong = [_too_long(253)] if _size(value) > 253 else []
    if not re.fullmatch(_CONFIG_KEY, value):
        wrong.append(
            _shape(
                "a valid config key must consist of alphanumeric characters, '-', '_' or '.'",
                _CONFIG_KEY,
                "key.name",
                "KEY_NAME",
                "key-name",
            )
        )
    if value in {".", ".."}:
        wrong.append(f"must not be '{value}'")
    elif value.startswith(".."):
        wrong.append("must not start with '..'")
    return wrong


def port_number(port: int) -> list[str]:
    """A port: 1 to 65535."""
    return [] if 1 <= port <= 65535 else ["must be between 1 and 65535, inclusive"]


def port_name(value: str) -> list[str]:
    """An IANA service name: at most 15 signs, a letter among them."""
    wrong = [_too_long(15)] if _size(value) > 15 else []
    if not re.fullmatch(r"[-a-z0-9]+", value):
        wrong.append("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)")
    if not re.search(r"[a-z]", value):
        wrong.append("must contain at least one letter (a-z)")
    if "--" in value:
        wrong.append("must not contain consecutive hyphens")
    if value.startswith("-") or value.endswith("-"):
        wrong.append("must not begin or end with a hyphen")
    return wrong


def ip_address(value: str) -> list[str]:
    """An IPv4 or IPv6 address without zone, leading zeros or an IPv4 address inside an IPv6 one."""
    if found := parse_ip(value):
        mapped = found.version == 6 and found.ipv4_mapped is not None
        return ["must not be an IPv4-mapped IPv6 address"] if mapped else []
    if parse_ip(_without_leading_zeros(value)):
        return ["must not have leading 0s"]
    return ["must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"]


def _without_leading_zeros(value: str) -> str:
    """An IPv4 address as older Kubernetes read it."""
    return re.sub(r"(^|\.)0+(?=\d)", r"\1", value) if re.fullmatch(r"[0-9.]+", value) else value


def parse_ip(value: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """The address, or None; leading zeros and zones are refused."""
    if "%" in value:
        return None
    try:
        return ipaddress.ip_address(value)
    except ValueError:
        return None


def cidr(value: str) -> list[str]:
    """A network in CIDR form: no bit is set beyond its prefix, no number has a leading zero."""
    address, slash, length = value.partition("/")
    plain = f"{_without_leading_zeros(address)}/{length.lstrip('0') or '0'}"
    try:
        if not slash or not re.fullmatch(r"[0-9]+", length) or "%" in value:
            raise ValueError(value)
        network = ipaddress.ip_interface(plain)
    except ValueError:
        return ["must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"]
    if plain != value:
        return ["must not have leading 0s in IP or prefix length"]
    if network.version == 6 and network.ip.ipv4_mapped is not None:
        return ["must not have an IPv4-mapped IPv6 address"]
    if network.ip != network.network.network_address:
        return ["must not have bits set beyond the prefix length"]
    return []
