"""The controllers' process: from what the API holds to the pods and slices that follow from it."""

from __future__ import annotations

import argparse
import asyncio
import signal
from collections.abc import Sequence

from clusters.client import Client
from clusters.controllers.autoscaling import Autoscalers
from clusters.controllers.budgets import Budgets
from clusters.controllers.collecting import Garbage
from clusters.controllers.crons import CronJobs
from clusters.controllers.daemons import DaemonSets
from clusters.controllers.forwarding import ServiceLB
from clusters.controllers.placement import Nodes, Scheduler
from clusters.controllers.replication import Replication
from clusters.controllers.runtime import say
from clusters.controllers.services import Services
from clusters.controllers.stateful import StatefulSets
from clusters.controllers.tainting import Taints
from clusters.controllers.working import Jobs
from clusters.controllers.workloads import Deployments
from clusters.controllers.world import World
from clusters.credentials import KubeconfigError


async def run(
    client: Client, *, seed: bool = False, node_grace: float = 40.0, servicelb: bool = False,
) -> None:
    """Run all controllers on ``client`` until cancelled; ``seed`` gives the post's pods their places.

    ``node_grace``: seconds without a heartbeat after which a node counts as lost; ``servicelb``: forward
    LoadBalancer Services as k3s does.
    """
    world = World(client)
    nodes = Nodes(world, grace=node_grace)
    jobs = Jobs(world)
    workers = [
        Deployments(world).worker, Replication(world, "ReplicaSet", "replicaset-controller").worker,
        Replication(world, "ReplicationController", "replication-controller").worker,
        DaemonSets(world).worker, StatefulSets(world).worker, jobs.worker, jobs.orphans,
        CronJobs(world).worker, Autoscalers(world).worker, Budgets(world).worker, Services(world).worker,
        Scheduler(world, seed=seed).worker, nodes.worker, Taints(world).worker,
        Garbage(world).worker,
    ]
    if servicelb:
        workers.append(ServiceLB(world).worker)
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(world.run())
            group.create_task(nodes.listen())
    finally:
        for worker in workers:
            await worker.close()


async def _until_signal(options: argparse.Namespace) -> None:
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with Client.from_kubeconfig(options.kubeconfig) as client:
        running = asyncio.create_task(run(
            client, seed=options.seed, node_grace=options.node_grace, servicelb=options.servicelb))
        stopped = asyncio.create_task(stop.wait())
        await asyncio.wait({running, stopped}, return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        if running.done():
            running.result()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


def main(args: Sequence[str]) -> int:
    """Run until SIGTERM or SIGINT: 0 then, 2 when the kubeconfig cannot be used."""
    parser = argparse.ArgumentParser(prog="controllers", description=__doc__)
    parser.add_argument("--kubeconfig", required=True, help="how to reach the API server")
    parser.add_argument("--seed", action="store_true", help="place the seed post's pods as the post shows")
    parser.add_argument("--node-grace", type=float, default=40.0, metavar="SECONDS",
                        help="how long a node may be silent before it is NotReady (default 40)")
    parser.add_argument("--servicelb", action="store_true", help="forward LoadBalancer Services as k3s does")
    options = parser.parse_args(args)
    try:
        asyncio.run(_until_signal(options))
    except KubeconfigError as error:
        say(str(error))
        return 2
    return 0
