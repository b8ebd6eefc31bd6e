"""Starts the API server: arguments, start-up objects, certificates, sockets, and the end by signal."""

from __future__ import annotations

import argparse
import asyncio
import ipaddress
import signal
import socket
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
from aiohttp import web

from clusters.apiserver import certificates
from clusters.apiserver.allocation import Network
from clusters.apiserver.builtin import builtin
from clusters.apiserver.http import BODY_LIMIT, Api
from clusters.apiserver.registry import Registry, standard_store
from clusters.apiserver.service_allocation import Allocator, Reservation

_OWN_NAMES = (
    "127.0.0.1",
    "::1",
    "localhost",
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
    "kubernetes.default.svc.cluster.local",
)
_NAMESPACES = ("default", "kube-system", "kube-public", "kube-node-lease")


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


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="apiserver", description=__doc__)
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


def new_registry(options: Options, root_ca: str = "") -> Registry:
    """A registry with the start-up objects: the namespaces, the ServiceCIDR, Service default/kubernetes and
    its EndpointSlice. ``root_ca``: the certificate every namespace is told to trust, as PEM text.
    """
    allocator = Allocator(options.networks, options.node_ports, options.reserved)
    registry = Registry(standard_store(options.history), allocator, time.time, root_ca=root_ca)
    kinds = {
        "namespaces": builtin("", "v1", "namespaces"),
        "services": builtin("", "v1", "services"),
        "slices": builtin("discovery.k8s.io", "v1", "endpointslices"),
        "endpoints": builtin("", "v1", "endpoints"),
    }
    for name in _NAMESPACES:
        registry.create(kinds["namespaces"], "", {"metadata": {"name": name}})
    labels = {"component": "apiserver", "provider": "kubernetes"}
    registry.create(
        kinds["services"],
        "default",
        {
            "metadata": {"name": "kubernetes", "labels": labels},
            "spec": {
                "clusterIP": str(options.networks[0].network_address + 1),
                "ports": [
                    {"name": "https", "port": 443, "protocol": "TCP", "targetPort": options.advertise[1]}
                ],
            },
        },
    )
    _advertise(registry, kinds, options.advertise)
    _declare_networks(registry, options.networks)
    registry.store.forget_history()
    return registry


def _declare_networks(registry: Registry, networks: tuple[Network, ...]) -> None:
    resource = builtin("networking.k8s.io", "v1", "servicecidrs")
    made = registry.create(
        resource,
        "",
        {"metadata": {"name": "kubernetes"}, "spec": {"cidrs": [str(network) for network in networks]}},
    )
    ready = {
        "type": "Ready",
        "status": "True",
        "reason": "",
        "message": "Kubernetes Service CIDR is ready",
        "lastTransitionTime": made.object["metadata"]["creationTimestamp"],
    }
    changed = {**made.object, "status": {"conditions": [ready]}}
    registry.update(resource, ("", "kubernetes"), changed, "status")


def _advertise(registry: Registry, kinds: Mapping[str, Any], advertise: tuple[str, int]) -> None:
    address, number = advertise
    if ipaddress.ip_address(address).is_loopback or ipaddress.ip_address(address).is_unspecified:
        return  # nobody in a pod could reach it, and Kubernetes refuses such an endpoint
    port = {"name": "https", "port": number, "protocol": "TCP"}
    registry.create(
        kinds["slices"],
        "default",
        {
            "metadata": {"name": "kubernetes", "labels": {"kubernetes.io/service-name": "kubernetes"}},
            "addressType": f"IPv{ipaddress.ip_address(address).version}",
            "endpoints": [{"addresses": [address], "conditions": {"ready": True}}],
            "ports": [port],
        },
    )
    registry.create(
        kinds["endpoints"],
        "default",
        {
            "metadata": {"name": "kubernetes", "labels": {"endpointslice.kubernetes.io/skip-mirror": "true"}},
            "subsets": [{"addresses": [{"ip": address}], "ports": [port]}],
        },
    )


def _sockets(options: Options) -> list[socket.socket]:
    found = []
    if options.inherited is not None:
        found.append(socket.socket(fileno=options.inherited))
    if options.listen is not None:
        address, port = options.listen
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        found.append(socket.create_server((address, port), family=family, backlog=1024))
    return found


async def _run(options: Options, context: ssl.SSLContext, sockets: list[socket.socket]) -> None:
    api = Api(
        new_registry(options, (options.cert_dir / "ca.crt").read_text()),
        options.tokens,
        f"{options.advertise[0]}:{options.advertise[1]}",
        options.bookmark_seconds,
        options.kubelet_socket,
    )
    server = web.Server(api.handle, request_factory=_request, handler_cancellation=True, access_log=None)
    runner = web.ServerRunner(server, shutdown_timeout=0.5)
    await runner.setup()
    for listening in sockets:
        await web.SockSite(runner, listening, ssl_context=context, backlog=1024).start()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await stop.wait()
    await runner.cleanup()


def _request(message: Any, payload: Any, protocol: Any, writer: Any, task: Any) -> web.BaseRequest:
    return web.BaseRequest(
        message, payload, protocol, writer, task, asyncio.get_running_loop(), client_max_size=BODY_LIMIT
    )


def serve(args: list[str]) -> None:
    """Runs the server until SIGTERM or SIGINT. BadArgument, OSError: it could not begin."""
    options = parse_options(args)
    sockets = _sockets(options)
    context = certificates.make(options.cert_dir, options.names)
    asyncio.run(_run(options, context, sockets))
