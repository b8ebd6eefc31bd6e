"""The life of the program: prepares the kernel, runs one proxy until it is told to stop, closes what was
opened."""

from __future__ import annotations

import asyncio
import logging
import signal

import msgspec

from implementation import kubeconfig, modes, watch
from implementation.node import addresses, sysctls
from implementation.objects import Node, ObjectError, parse_node
from implementation.proxy import Proxy, expect_many_objects
from implementation.settings import Settings
from implementation.status import Writer

log = logging.getLogger("kube-proxy")


def serve(settings: Settings) -> None:
    """Run the proxy until SIGTERM or SIGINT. Raises what keeps it from starting."""
    asyncio.run(_until_told(settings))


async def _until_told(settings: Settings) -> None:
    access = kubeconfig.load(settings.kubeconfig)
    running = asyncio.create_task(_run(settings, access))
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, running.cancel)
    try:
        await running
    except asyncio.CancelledError:
        log.info("told to stop; the rules stay as they are")


async def _run(settings: Settings, access: kubeconfig.Access) -> None:
    expect_many_objects()
    server, writer = watch.Server(access), Writer(access, "kube-proxy", settings.node_name)
    try:
        pod_cidrs = await _own_networks(server, settings) if settings.detect_local == "NodeCIDR" else ()
        prepare_kernel(settings)
        await Proxy(settings, server, modes.dataplane(settings, pod_cidrs), writer).run()
    finally:
        await server.close()
        await writer.close()


def prepare_kernel(settings: Settings) -> None:
    """Kernel settings the rules rely on; node ports on 127.0.0.1 need loopback addresses to be routed."""
    for problem in sysctls.apply_tracking(settings.tracking):
        log.info("%s", problem)
    if (
        settings.mode == "iptables"
        and settings.localhost_node_ports
        and addresses.hold_loopback(settings.node_port_addresses)
    ):
        problem = sysctls.ensure(sysctls.ROUTE_LOCALNET, "1", "node ports are not served on 127.0.0.1")
        if problem:
            log.warning("%s", problem)


async def _own_networks(server: watch.Server, settings: Settings) -> tuple[str, ...]:
    """The pod networks of this Node, for --detect-local-mode=NodeCIDR; waits until it has some."""
    found: asyncio.Future[Node] = asyncio.get_running_loop().create_future()

    def see(raw: msgspec.Raw) -> None:
        try:
            node = parse_node(raw)
        except ObjectError as error:
            log.warning("Node %s: %s", settings.node_name, error)
            return
        if node.pod_cidrs and not found.done():
            found.set_result(node)

    def see_all(part: watch.Part) -> None:
        for raw in part.items:
            see(raw)

    kind = watch.node_kind(settings.node_name)
    following = asyncio.create_task(watch.Watch(server, kind, see_all, lambda _event, raw: see(raw)).run())
    try:
        return (await found).pod_cidrs
    finally:
        following.cancel()
