"""The speaker of a node: follows the API, tells its announcer what to announce, records what was announced.

Three processes: this one with all Kubernetes objects; the announcer, which has none; and between them a
keeper that starts the announcer anew when it dies. The keeper is forked before anything large is in memory.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import ctypes
import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence

import msgspec

from implementation import kubeconfig
from implementation.loadbalancer import announcer, health
from implementation.loadbalancer.announcer import Report
from implementation.loadbalancer.informer import Informer
from implementation.loadbalancer.membership import Pace
from implementation.status import Writer
from implementation.watch import Server

log = logging.getLogger("loadbalancer.speaker")

LEAVE_SECONDS = 2.0
_PR_SET_PDEATHSIG = 1

_reports = msgspec.json.Decoder(Report)


def _keep(run: Callable[[], None]) -> None:
    """Start the announcer, and anew whenever it dies by itself; end when it has ended in order."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)  # the announcer is told by its pipe, and hands over first
    while True:
        started = time.monotonic()
        child = os.fork()
        if child == 0:
            # Without its keeper nobody would start it anew: rather hand over.
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
            os._exit(_run_announcer(run))
        _, status = os.waitpid(child, 0)
        if os.WIFEXITED(status) and os.WEXITSTATUS(status) == 0:
            os._exit(0)
        log.error("the announcer ended (status %d, minus its signal); starting it anew",
                  os.waitstatus_to_exitcode(status))
        if time.monotonic() - started < 1.0:
            time.sleep(0.5)  # it fails at its start: do not turn that into a busy loop


def _run_announcer(run: Callable[[], None]) -> int:
    try:
        run()
    except BaseException:
        log.exception("the announcer failed")
        return 1
    return 0


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="loadbalancer-speaker", description=__doc__)
    parser.add_argument("--kubeconfig", default="", help="file; empty: the pod's service account")
    parser.add_argument("--namespace", default="metallb-system", help="where the configuration is")
    parser.add_argument("--node-name", required=True, help="the Node this runs on")
    parser.add_argument("--node-ip", required=True, help="its IPv4 address on the announcing interface")
    parser.add_argument("--interface", default="eth0", help="where to announce and hear the others")
    parser.add_argument("--lb-class", default=None, help="serve Services of this loadBalancerClass only")
    parser.add_argument("--host", default="127.0.0.1", help="address of /healthz and /metrics")
    parser.add_argument("--port", type=int, default=health.PORT, help="port of /healthz and /metrics")
    parser.add_argument("--hold-down", type=float, default=Pace().hold_down,
                        help="seconds a better candidate waits before it takes an address back")
    return parser.parse_args(argv)


async def _run(options: argparse.Namespace, orders: int, reports: int) -> int:
    access = kubeconfig.load(options.kubeconfig)
    server, writer = Server(access), Writer(access, "metallb-speaker", options.node_name)
    informer = Informer(options, writer, orders)
    runner = await health.serve(options.host, options.port, informer.missing, informer.registry)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    reading = asyncio.create_task(_read(reports, informer))
    stopping = asyncio.create_task(_wait(stop))
    tasks = [asyncio.create_task(follow.run()) for follow in informer.watches(server)]
    tasks += [asyncio.create_task(informer.run()), reading, stopping]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
        if stopping in done:
            informer.leave()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(informer.left.wait(), LEAVE_SECONDS)
            return 0
        log.error("the announcer's keeper has ended; ending too, to be started anew as a whole")
        return 1
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await runner.cleanup()
        await server.close()
        await writer.close()


async def _wait(stop: asyncio.Event) -> None:
    await stop.wait()


async def _read(reports: int, informer: Informer) -> None:
    """Take the announcer's lines until its end of the pipe closes."""
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(reports, "rb"))
    while line := await reader.readline():
        informer.reported(_reports.decode(line))


def main(argv: Sequence[str] | None = None) -> int:
    """Run the speaker until TERM or INT; exit status 3 where the API server's address is not usable."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    options = _arguments(argv)
    orders_in, orders_out = os.pipe()
    reports_in, reports_out = os.pipe()
    sys.stdout.flush()
    if os.fork() == 0:
        os.close(orders_out)
        os.close(reports_in)
        pace = Pace(hold_down=options.hold_down)
        _keep(lambda: announcer.run(
            options.node_name, options.node_ip, options.interface, orders_in, reports_out, pace))
    os.close(orders_in)
    os.close(reports_out)
    try:
        return asyncio.run(_run(options, orders_out, reports_in))
    except kubeconfig.KubeconfigError as error:
        log.error("%s", error)
        return 3
