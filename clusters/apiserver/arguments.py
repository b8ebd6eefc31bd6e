"""The API server's arguments: told, checked, and what is wrong with one in a sentence."""

from __future__ import annotations

import argparse
import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from clusters.apiserver.allocation import Network
from clusters.apiserver.service_allocation import Reservation

_OWN_NAMES = (
    "127.0.0.1",
    "::1",
    "localhost",
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
    "kubernetes.default.svc.cluster.local",
)


class BadArgument(Exception):
    """An argument cannot be used: says which, why, and what was expected."""


@dataclass(frozen=True)
class Options:
    """The server's arguments, checked."""

    listen: tuple[str, int] | None
    inherited: int | None  # a listening socket's descriptor
    tokens: Mapping[str, Any]
    cert_dir: Path
    networks: tuple[Network, ...]
    node_ports: tuple[int, int]
    reserved: Mapping[str, Reservation]
    names: tuple[str, ...]
    advertise: tuple[str, int]
    history: int
    bookmark_seconds: float
    kubelet_socket: str
    journal: Path | None


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="apiserver", description="The embedded API server.")
    parser.add_argument("--listen", default="", help="ADDR:PORT to listen on")
    parser.add_argument(
        "--inherit-fd", type=int, default=None, help="descriptor of a socket that already listens"
    )
    parser.add_argument(
        "--token-file", type=Path, required=True, help='JSON: {"<token>": {"user": …, "groups": […]}}'
    )
    parser.add_argument(
        "--cert-dir", type=Path, required=True, help="where ca.crt and the server's key are written"
    )
    parser.add_argument("--service-cidr", default="10.43.0.0/16", help="one network, or two of both families")
    parser.add_argument(
        "--cluster-cidr", default="10.42.0.0/16", help="networks of pods; told to nobody as yet"
    )
    parser.add_argument("--node-port-range", default="30000-32767")
    parser.add_argument(
        "--reserve",
        type=Path,
        default=None,
        help='JSON: {"namespace/name": {"clusterIP": …, "nodePorts": {"80": 32540}}}',
    )
    parser.add_argument("--san", default="", help="more addresses and names for the certificate, by commas")
    parser.add_argument("--advertise", default="", help="ADDR:PORT that Service default/kubernetes leads to")
    parser.add_argument(
        "--watch-history", type=int, default=10_000, help="changes of each kind a watch can resume from"
    )
    parser.add_argument("--bookmark-seconds", type=float, default=10.0, help="time between bookmarks")
    parser.add_argument(
        "--kubelet-socket", default="", help="Unix socket of the kubelet: logs, exec and attach (kubelet.py)"
    )
    parser.add_argument(
        "--journal", type=Path, default=None, help="file that every change is kept in, and begun from"
    )
    return parser


def parse_options(args: list[str]) -> Options:
    """The arguments of ``main``. BadArgument says which one is wrong; argparse ends the process for
    unknown ones.
    """
    given = _parser().parse_args(args)
    networks = _networks(given.service_cidr)
    listen = _endpoint(given.listen, "--listen") if given.listen else None
    if listen is None and given.inherit_fd is None:
        raise BadArgument("--listen and --inherit-fd are both missing: give at least one place to listen")
    advertise = (
        _endpoint(given.advertise, "--advertise") if given.advertise else (listen or ("127.0.0.1", 6443))
    )
    return Options(
        listen,
        given.inherit_fd,
        _json(given.token_file, "--token-file"),
        given.cert_dir,
        networks,
        _range(given.node_port_range),
        _reserved(given.reserve),
        (
            str(networks[0].network_address + 1),
            advertise[0],
            *_OWN_NAMES,
            *filter(None, given.san.split(",")),
        ),
        advertise,
        max(1, given.watch_history),
        max(0.05, given.bookmark_seconds),
        given.kubelet_socket,
        given.journal,
    )


def _endpoint(text: str, flag: str) -> tuple[str, int]:
    address, _, port = text.rpartition(":")
    address = address.strip("[]")
    try:
        ipaddress.ip_address(address)
        number = int(port)
    except ValueError:
        raise BadArgument(f"{flag} {text!r} is not ADDR:PORT, as in 192.168.2.2:6443 or [::1]:6443") from None
    if not 0 <= number <= 65535:
        raise BadArgument(f"{flag} {text!r}: the port must be between 0 and 65535")
    return address, number


def _networks(text: str) -> tuple[Network, ...]:
    try:
        found = tuple(ipaddress.ip_network(part.strip()) for part in text.split(","))
    except ValueError as error:
        raise BadArgument(
            f"--service-cidr {text!r}: {error}; expected a network such as 10.43.0.0/16, or two by a comma"
        ) from None
    if len({network.version for network in found}) != len(found):
        raise BadArgument(f"--service-cidr {text!r}: at most one network of each IP family")
    return found


def _range(text: str) -> tuple[int, int]:
    first, _, last = text.partition("-")
    if not (first.isdigit() and last.isdigit() and 1 <= int(first) <= int(last) <= 65535):
        raise BadArgument(f"--node-port-range {text!r} is not FIRST-LAST, as in 30000-32767")
    return int(first), int(last)


def _json(path: Path, flag: str) -> dict[str, Any]:
    try:
        found = msgspec.json.decode(path.read_bytes())
    except (OSError, msgspec.DecodeError) as error:
        raise BadArgument(f"{flag} {path}: {error}") from None
    if not isinstance(found, dict):
        raise BadArgument(f"{flag} {path}: a JSON object was expected")
    return found


def _reserved(path: Path | None) -> dict[str, Reservation]:
    if path is None:
        return {}
    try:
        return {
            name: Reservation(
                told.get("clusterIP", ""),
                {int(port): int(number) for port, number in told.get("nodePorts", {}).items()},
            )
            for name, told in _json(path, "--reserve").items()
        }
    except (AttributeError, ValueError, TypeError) as error:
        raise BadArgument(
            f"--reserve {path}: {error}; expected "
            '{"namespace/name": {"clusterIP": "…", "nodePorts": {"80": 32540}}}'
        ) from None
