"""Command-line flags, spelled as kube-proxy's."""

from __future__ import annotations

import argparse
import re
import socket
from collections.abc import Sequence
from typing import Any, NoReturn

import msgspec

from implementation.dataplane.iptables.names import Style
from implementation.dataplane.iptables.tool import Variant
from implementation.node.server import AddressError, split_address
from implementation.objects import ObjectError, fields
from implementation.settings import Settings, SettingsError

MODES = ("nftables", "iptables", "userspace")  # the first is the default
DETECT_MODES = ("ClusterCIDR", "NodeCIDR", "BridgeInterface", "InterfaceNamePrefix")
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h)")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_INTERFACE = re.compile(r"[A-Za-z0-9_.:-]{1,15}", re.ASCII)

# Flags of kube-proxy that a command line may carry and that change nothing here (README, "Limits").
ACCEPTED = (
    "--config-sync-period",
    "--kube-api-qps",
    "--kube-api-burst",
    "--kube-api-content-type",
    "--oom-score-adj",
    "--feature-gates",
    "--profiling",
    "--ipvs-sync-period",
    "--ipvs-min-sync-period",
    "--ipvs-scheduler",
    "--ipvs-exclude-cidrs",
    "--v",
    "-v",
    "--bind-address-hard-fail",
)


def duration(text: str) -> float:
    """Seconds in a Go duration such as 30s, 1m30s or 500ms; 0 needs no unit. Raises SettingsError."""
    parts = _DURATION.findall(text)
    if text != "0" and (not parts or "".join(n + unit for n, unit in parts) != text):
        raise SettingsError(f"{text!r} is not a duration such as 30s, 1m30s or 500ms")
    return sum(float(number) * _SECONDS[unit] for number, unit in parts)


def truth(text: str) -> bool:
    """true or false, as Go writes them. Raises SettingsError."""
    if text.lower() in ("true", "t", "1"):
        return True
    if text.lower() in ("false", "f", "0"):
        return False
    raise SettingsError(f"{text!r} is not true or false")


def networks(text: str) -> tuple[str, ...]:
    """Networks in a comma-separated list. Raises SettingsError."""
    try:
        return tuple(fields.network(part.strip(), "network") for part in text.split(",") if part.strip())
    except ObjectError as error:
        raise SettingsError(str(error)) from error


def node_port_networks(text: str) -> tuple[str, ...]:
    """Networks, or the word ``primary`` alone for the addresses in the Node's status. Raises
    SettingsError."""
    return ("primary",) if text == "primary" else networks(text)


def interface(text: str) -> str:
    """The name of a network interface. Raises SettingsError."""
    if not _INTERFACE.fullmatch(text):
        raise SettingsError(
            f"{text!r} is not the name of a network interface (1 to 15 letters, digits, '_.:-')"
        )
    return text


def bind(text: str) -> str:
    """An address and port to listen on; empty for none. Raises SettingsError."""
    if text:
        try:
            split_address(text)
        except AddressError as error:
            raise SettingsError(str(error)) from error
    return text


def one_of(*allowed: str) -> Any:
    """A check that a text is one of ``allowed``."""

    def check(text: str) -> str:
        if text not in allowed:
            raise SettingsError(f"{text!r} is not one of {', '.join(allowed)}")
        return text

    return check


def mode(text: str) -> str:
    """The mode of the data plane. Raises SettingsError naming those there are."""
    if text in ("", *MODES):
        return text or MODES[0]
    raise SettingsError(f"{text!r} is not a mode of this proxy yet: use {', '.join(MODES)}")


def bit(text: str) -> int:
    """A bit of the packet mark, 0 to 31. Raises SettingsError."""
    if text.isdecimal() and int(text) <= 31:
        return int(text)
    raise SettingsError(f"{text!r} is not a bit from 0 to 31")


def number(text: str) -> int:
    """A number of connections, 0 or more. Raises SettingsError."""
    if text.isdecimal():
        return int(text)
    raise SettingsError(f"{text!r} is not a number from 0 on")


def node_name(text: str) -> str:
    """The name of this Node: given, or the host's; lower case as Kubernetes has it. Raises SettingsError."""
    try:
        return fields.object_name((text or socket.gethostname()).strip().lower(), "node name")
    except ObjectError as error:
        raise SettingsError(str(error)) from error


# flag, field of Settings, check
FLAGS: tuple[tuple[str, str, Any], ...] = (
    ("--proxy-mode", "mode", mode),
    ("--kubeconfig", "kubeconfig", str),
    ("--hostname-override", "node_name", node_name),
    ("--cluster-cidr", "cluster_cidrs", networks),
    ("--detect-local-mode", "detect_local", one_of(*DETECT_MODES)),
    ("--pod-bridge-interface", "bridge", interface),
    ("--pod-interface-name-prefix", "interface_prefix", interface),
    ("--iptables-masquerade-bit", "masquerade_bit", bit),
    ("--iptables-sync-period", "sync_period", duration),
    ("--iptables-min-sync-period", "min_sync_period", duration),
    ("--nodeport-addresses", "node_port_addresses", node_port_networks),
    ("--bind-address", "bind_address", str),
    ("--healthz-bind-address", "healthz", bind),
    ("--metrics-bind-address", "metrics", bind),
    ("--chain-style", "style", lambda text: Style(one_of(*Style)(text))),
    ("--iptables-variant", "variant", lambda text: Variant(one_of(*Variant)(text))),
    ("--conntrack-max-per-core", "conntrack_max_per_core", number),
    ("--conntrack-min", "conntrack_min", number),
    ("--conntrack-tcp-timeout-established", "tcp_established_timeout", duration),
    ("--conntrack-tcp-timeout-close-wait", "tcp_close_wait_timeout", duration),
    ("--conntrack-udp-timeout", "udp_timeout", duration),
    ("--conntrack-udp-timeout-stream", "udp_stream_timeout", duration),
    ("--tcp-reject", "tcp_reject", one_of("reset", "icmp")),
)
SWITCHES: tuple[tuple[str, str], ...] = (
    ("--masquerade-all", "masquerade_all"),
    ("--iptables-localhost-nodeports", "localhost_node_ports"),
    ("--conntrack-tcp-be-liberal", "tcp_be_liberal"),
    ("--cleanup", "cleanup"),
    ("--init-only", "init_only"),
)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise SettingsError(message)


class Given(msgspec.Struct, frozen=True):
    """What a command line says; ``config`` is the path of a file that says more, ``named`` whether it names
    the node."""

    settings: Settings
    config: str
    named: bool


def parse(args: Sequence[str]) -> Given:
    """What these flags say. Raises SettingsError."""
    parser = _Parser(
        prog="kube-proxy", description="Serves Kubernetes Services on this node.", allow_abbrev=False
    )
    for flag, field, _check in FLAGS:
        parser.add_argument(flag, dest=field)
    for flag, field in SWITCHES:
        parser.add_argument(flag, dest=field, nargs="?", const="true")
    for flag in ACCEPTED:
        parser.add_argument(flag, dest="_accepted", help=argparse.SUPPRESS)
    parser.add_argument("--config", dest="config", default="")
    given = vars(parser.parse_args(args))
    values: dict[str, Any] = {}
    for flag, field, check in (*FLAGS, *((flag, field, truth) for flag, field in SWITCHES)):
        if given[field] is not None:
            try:
                values[field] = check(given[field])
            except SettingsError as error:
                raise SettingsError(f"{flag}: {error}") from error
    named = "node_name" in values
    values.setdefault("node_name", node_name(""))
    return Given(Settings(**values), given["config"], named)
