"""Starts the API server: its first objects or its journal, certificates, sockets, and the end by signal."""

from __future__ import annotations

import asyncio
import ipaddress
import signal
import socket
import ssl
import time
from collections.abc import Callable, Mapping
from typing import Any

from aiohttp import web

from clusters.apiserver import certificates
from clusters.apiserver.allocation import Network
from clusters.apiserver.arguments import Options, parse_options
from clusters.apiserver.builtin import builtin
from clusters.apiserver.http import BODY_LIMIT, Api
from clusters.apiserver.journal import Journal
from clusters.apiserver.registry import Registry, standard_store
from clusters.apiserver.reviews import Tokens
from clusters.apiserver.service_allocation import Allocator

_NAMESPACES = ("default", "kube-system", "kube-public", "kube-node-lease")


def registry_of(options: Options, root_ca: str = "") -> tuple[Registry, Callable[[], None]]:
    """A registry as the journal tells, or a new one; and what keeps its changes. OSError, BadJournal."""
    allocator = Allocator(options.networks, options.node_ports, options.reserved)
    registry = Registry(standard_store(options.history), allocator, time.time, root_ca=root_ca)
    if options.journal is None:
        furnish(registry, options)
        return registry, lambda: None
    journal = Journal(options.journal, registry.store)
    if options.journal.exists():
        journal.resume()
        registry.adopt()
    else:
        furnish(registry, options)
        journal.begin()
    return registry, journal.commit


def furnish(registry: Registry, options: Options) -> None:
    """Makes the start-up objects: the namespaces, the ServiceCIDR, Service default/kubernetes and its
    EndpointSlice.
    """
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


def _declare_networks(registry: Registry, networks: tuple[Network, ...]) -> None:
    resource = builtin("networking.k8s.io", "v1", "servicecidrs")
    cidrs = [str(network) for network in networks]
    registry.create(resource, "", {"metadata": {"name": "kubernetes"}, "spec": {"cidrs": cidrs}})


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


async def _run(api: Api, context: ssl.SSLContext, sockets: list[socket.socket]) -> None:
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
    """Runs the server until SIGTERM or SIGINT. BadArgument, BadJournal, OSError: it could not begin."""
    options = parse_options(args)
    sockets = _sockets(options)  # first: who connects while the journal is read waits, and is not refused
    context = certificates.context(options.cert_dir, options.names)
    registry, keep = registry_of(options, (options.cert_dir / "ca.crt").read_text())
    api = Api(
        registry,
        Tokens(options.tokens, certificates.secret(options.cert_dir)),
        f"{options.advertise[0]}:{options.advertise[1]}",
        options.bookmark_seconds,
        options.kubelet_socket,
        keep,
    )
    asyncio.run(_run(api, context, sockets))
