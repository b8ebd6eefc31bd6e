"""The configuration of MetalLB up to v0.12: a ConfigMap ``config`` with YAML under ``data.config``.

Read strictly, as MetalLB read it: an unknown key is an error, so a misspelt one never passes for its
default.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import yaml

from implementation.objects import fields
from implementation.objects.fields import ObjectError, shown
from implementation.objects.pools import L2Advertisement, Pool, address_range

_TOP = ("peers", "address-pools", "bgp-communities", "bfd-profiles")
_POOL = ("name", "protocol", "addresses", "avoid-buggy-ips", "auto-assign", "bgp-advertisements")
_BROKEN_YAML = (
    yaml.YAMLError, ValueError, RecursionError, OverflowError, TypeError, LookupError, AttributeError,
)
_DEPTH = 1000  # nested brackets in one text; PyYAML recurses once for each


class Legacy(msgspec.Struct, frozen=True):
    """What the ConfigMap says: its pools and, for each layer-2 pool, an advertisement naming it."""

    pools: tuple[Pool, ...] = ()
    l2: tuple[L2Advertisement, ...] = ()


class _RawConfigMap(msgspec.Struct):
    data: dict[str, str] | None = None


_decoder = msgspec.json.Decoder(_RawConfigMap)


def parse_config_map(raw: bytes | msgspec.Raw) -> Legacy:
    """The configuration in this ConfigMap; ObjectError with one sentence where it is not usable as a whole.
    """
    try:
        data = _decoder.decode(raw).data or {}
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ObjectError(f"this is not a ConfigMap: {error}") from error
    if "config" not in data:
        raise ObjectError('ConfigMap config has no key "config" under data; put the YAML there')
    return parse_legacy(data["config"])


def parse_legacy(text: str) -> Legacy:
    """The configuration in this YAML text (MetalLB v0.9 to v0.12); total like all parsers of outside text."""
    try:
        if text.count("[") + text.count("{") > _DEPTH:
            raise ObjectError(f"the configuration opens more than {_DEPTH} brackets; it is none of pools")
        found = yaml.safe_load(text)
    except ObjectError:
        raise
    except _BROKEN_YAML as error:
        # PyYAML lets errors of its own constructors through for odd tags and dates; to the user all are one
        # thing.
        raise ObjectError(f"the configuration is not YAML: {_one_line(error)}") from None
    top = _mapping({} if found is None else found, "the configuration", _TOP)
    pools: list[Pool] = []
    adverts: list[L2Advertisement] = []
    for i, raw in enumerate(_list(top.get("address-pools"), "address-pools")):
        pool, layer2 = _pool(raw, f"address-pools[{i}]")
        pools.append(pool)
        if layer2:
            adverts.append(L2Advertisement(name=f"l2advertisement{len(adverts) + 1}", pools=(pool.name,)))
    return Legacy(tuple(pools), tuple(adverts))


def _pool(raw: object, where: str) -> tuple[Pool, bool]:
    """One pool, and whether it is announced by layer 2."""
    found = _mapping(raw, where, _POOL)
    name = found.get("name")
    if not isinstance(name, str) or not name:
        raise ObjectError(f"{where}.name {shown(name)} is not a text; every pool needs a name")
    where = f"pool {shown(name)}"
    protocol = found.get("protocol")
    if protocol not in ("layer2", "bgp"):
        raise ObjectError(f"{where}: protocol {shown(protocol)} is not one of layer2, bgp")
    addresses = _list(found.get("addresses"), f"{where}: addresses")
    if not addresses:
        raise ObjectError(f"{where}: addresses is empty; give at least one range")
    if protocol == "layer2" and found.get("bgp-advertisements"):
        raise ObjectError(f"{where}: bgp-advertisements is for protocol bgp; a layer2 pool has none")
    pool = Pool(
        name=fields.object_name(name.lower().replace("_", "-"), f"{where}: name"),
        ranges=tuple(address_range(a, f"{where}: addresses[{i}]") for i, a in enumerate(addresses)),
        auto_assign=_flag(found, "auto-assign", True, where),
        avoid_buggy=_flag(found, "avoid-buggy-ips", False, where),
    )
    return pool, protocol == "layer2"


def _mapping(value: object, where: str, allowed: tuple[str, ...]) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise ObjectError(f"{where} is {_kind(value)}, but must be a mapping of {', '.join(allowed)}")
    for key in value:
        if key not in allowed:
            raise ObjectError(f"{where} has the unknown key {shown(key)}; allowed are {', '.join(allowed)}")
    return value


def _list(value: object, where: str) -> list[object]:
    if value is None:
        return []
    if not isinstance(value, list):
        raise ObjectError(f"{where} is {_kind(value)}, but must be a list")
    return value


def _flag(found: Mapping[str, Any], key: str, default: bool, where: str) -> bool:
    value = found.get(key)
    if value is None:
        return default
    if not isinstance(value, bool):
        raise ObjectError(f"{where}: {key} {shown(value)} is not true or false")
    return value


def _kind(value: object) -> str:
    names: dict[type, str] = {str: "a text", list: "a list", dict: "a mapping", bool: "a flag"}
    return names.get(type(value), f"of type {type(value).__name__}")


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
