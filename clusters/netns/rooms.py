"""The machine's life: build the hosts, start the API server, make the first objects, serve the judge, end."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import time
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clusters.base import ClusterError
from clusters.netns import bootstrap, kernel, kubesystem, plan, topology
from clusters.netns.embedded import EmbeddedPlane
from clusters.netns.hosts import Host, base_environment, run
from clusters.netns.program import Program
from clusters.netns.realplane import RealPlane
from clusters.netns.staticpods import StaticPods

if TYPE_CHECKING:
    from clusters.client import Client
    from clusters.netns.kubelet import Kubelet

_LOG_LINES = 20


def log_line(text: str) -> None:
    """One line in the machine's log."""
    print(text, flush=True)  # noqa: T201


def last_lines(path: Path, count: int = _LOG_LINES) -> list[str]:
    """The last lines of a log file; none when there is no file."""
    with suppress(OSError), path.open("rb") as log:
        log.seek(0, os.SEEK_END)
        log.seek(max(0, log.tell() - count * 400))
        return log.read().decode(errors="replace").splitlines()[-count:]
    return []


class Rooms:
    """All hosts of one cluster and what runs on them."""

    def __init__(self, config: dict[str, Any], zygote: socket.socket) -> None:
        self.config = config
        self.folder = Path(config["run_folder"])
        self.nodes = plan.node_plans(config["nodes"], dual=config["dual"])
        self.hosts: dict[str, Host] = {}
        self.network = topology.Network()
        self.timings: dict[str, float] = {}  # step -> seconds since the judge asked
        self.plane = RealPlane(self) if config["programs"] else EmbeddedPlane(self)
        self.stop = asyncio.Event()
        self.own = StaticPods(log_line)
        self._zygote = zygote
        self.admin: Client  # may do everything; it is there once the API server answers
        self._kubelet: Kubelet | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        (self.folder / "logs").mkdir()
        (self.folder / "internal").mkdir()

    async def live(self) -> None:
        """Build everything, say so, and serve until told to stop."""
        try:
            await self._raise()
        except (ClusterError, OSError) as error:
            log = error.log if isinstance(error, ClusterError) else ()
            self._say({"ok": False, "error": str(error), "log": list(log)})
            return
        from clusters.netns.control import Control

        control = Control(self)
        await control.open(self.folder / "control")
        self.mark("serving")
        self._say({"ok": True})
        await self.stop.wait()

    @property
    def kubelet(self) -> Kubelet:
        """The kubelet of all nodes; it is there once the cluster stands."""
        assert self._kubelet is not None
        return self._kubelet

    def mark(self, step: str) -> None:
        """Note when a step was done."""
        self.timings[step] = round(time.time() - self.config["asked"], 4)

    def node(self, name: str) -> plan.NodePlan:
        """The plan of a node; ClusterError names the nodes there are."""
        for node in self.nodes:
            if node.name == name:
                return node
        names = ", ".join(node.name for node in self.nodes)
        raise ClusterError(f"there is no node {name!r}; the nodes are {names}")

    def host(self, name: str) -> Host:
        """A host by name; ClusterError names the hosts there are."""
        if name not in self.hosts:
            raise ClusterError(f"there is no host {name!r}; the hosts are {', '.join(self.hosts)}")
        return self.hosts[name]

    def environment(self, **extra: str) -> dict[str, str]:
        """The environment of a program on a host: it can import what the judge can."""
        return base_environment(self.config["run"], {"PYTHONPATH": self.config["pythonpath"], **extra})

    @property
    def program_path(self) -> str:
        """Where the programs of an implementation are found: real components first."""
        return str(self.config["path"])

    def pod_environment(self, extra: Mapping[str, str]) -> dict[str, str]:
        """The environment of a program in a pod."""
        return base_environment(self.config["run"], extra)

    def spawn(self, task: Any) -> None:
        """Run a coroutine beside everything else; its failure is written to the machine's log."""
        made = asyncio.create_task(task)
        self._tasks.add(made)
        made.add_done_callback(self._tasks.discard)

    def _say(self, line: dict[str, Any]) -> None:
        with suppress(OSError), os.fdopen(self.config["ready_fd"], "w") as pipe:
            pipe.write(json.dumps(line) + "\n")

    async def _raise(self) -> None:
        os.set_inheritable(self.config["listener_fd"], False)  # stays open, over the lives of who serves it
        self.network = topology.build(self.nodes)
        # From here on this process lives on the control plane's network; its own namespace is the switch.
        kernel.setns(self.network.hosts["control-plane"], kernel.CLONE_NEWNET)
        self.mark("network")
        names = ["control-plane", *(node.name for node in self.nodes), "outside", "router", "behind-router"]
        for name in names:
            self.raise_host(name)
        self._hear_zygote()
        self.plane.start()
        from clusters.client import Client  # 0.35 s, while the zygote loads the same and forks the server
        from clusters.netns.kubelet import Kubelet
        from clusters.netns.streaming import Streaming

        self.mark("kubelet loaded")
        await self.plane.answers()
        self.mark("api answers")
        self._write_kubeconfigs()
        client = Client.from_kubeconfig(self.folder / "internal" / "kubelet")
        await client.__aenter__()
        self.admin = await Client.from_kubeconfig(self.folder / "internal" / "kubernetes-admin").__aenter__()
        await self._first_objects(self.admin)
        self.mark("first objects")
        self.plane.control()
        await asyncio.gather(*(self.network_plugin(node) for node in self.nodes))
        self.mark("pod network")
        self._kubelet = Kubelet(self, client)
        await Streaming(self._kubelet).open(self.folder / "kubelet")
        self.spawn(self._kubelet.serve())
        if self.config["seed"]:
            self.spawn(self._kube_system(self.admin))
        await self.plane.settled(self.admin)
        self.own.keep()
        self.mark("settled")

    def raise_host(self, name: str) -> None:
        """Have a host's init forked, its first or, after a power cut, another."""
        self.hosts[name] = Host(name, self.network.hosts[name])
        self.hosts[name].ask_for(self._zygote)

    def _hear_zygote(self) -> None:
        """Keep note of the process numbers of the host inits."""
        loop = asyncio.get_running_loop()
        from clusters.netns import wire

        def hear() -> None:
            message, _fds = wire.receive(self._zygote)
            if message is None:
                loop.remove_reader(self._zygote)
            else:
                host = self.hosts[message["name"]]
                host.pid = message["pid"]
                host.forked.set()

        loop.add_reader(self._zygote, hear)

    def must_live(self, name: str, log: Path) -> None:
        """ClusterError with the last lines of its log when a program of the cluster's own has ended."""
        pod = self.own[name]
        if pod.process.ended.done():
            last = (last_lines(log) or ["it said nothing"])[-1]
            raise ClusterError(f"{pod.words} ended with status {pod.process.ended.result()} before it "
                               f"answered: {last}", log=last_lines(log))

    @staticmethod
    def last_lines(path: Path) -> list[str]:
        """The last lines of a log file; none when there is no file."""
        return last_lines(path)

    def _write_kubeconfigs(self) -> None:
        """The judge's own (host loopback) and one for each component (LAN)."""
        for user, token in self.plane.tokens.items():
            self.write_kubeconfig(user, token)
        admin = self.plane.tokens["kubernetes-admin"]
        outside = f"https://127.0.0.1:{self.config['listener_port']}"
        (self.folder / "kubeconfig").write_text(
            bootstrap.kubeconfig(outside, self.authority(), "kubernetes-admin", admin))

    def write_kubeconfig(self, user: str, token: str) -> None:
        """The kubeconfig of a component, with this token."""
        inside = f"https://{plan.CONTROL_PLANE}:{bootstrap.API_PORT}"
        (self.folder / "internal" / user).write_text(
            bootstrap.kubeconfig(inside, self.authority(), user, token))

    def authority(self) -> bytes:
        """The certificate of the cluster's authority (PEM)."""
        return (self.folder / "internal" / "pki" / "ca.crt").read_bytes()

    async def _first_objects(self, client: Any) -> None:
        from clusters.client import AlreadyExists, ApiError

        about = os.uname()
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        try:
            await self.plane.begin(client)
            for node in self.nodes:
                item = bootstrap.node_object(node, about.release, about.machine, now)
                await client.create("/api/v1/nodes", item)
                await client.patch_status(f"/api/v1/nodes/{node.name}", {"status": item["status"]})
            for path, item in bootstrap.first_objects():
                with suppress(AlreadyExists):
                    await client.create(path, item)
        except ApiError as error:
            raise ClusterError(
                f"the API server refused an object every cluster begins with: {error}",
                log=last_lines(self.plane.log),
            ) from error

    async def _kube_system(self, client: Any) -> None:
        """The rest of the post's kube-system, beside what the judge does first."""
        from clusters.client import ApiError

        try:
            for path, item in kubesystem.objects():
                await client.create(path, item)
            if not self.config["servicelb"]:  # which gives Traefik its addresses itself
                await client.patch_status(kubesystem.TRAEFIK, kubesystem.traefik_status())
        except ApiError as error:
            print(f"kube-system of the post: {error}", flush=True)  # noqa: T201

    async def network_plugin(self, node: plan.NodePlan) -> None:
        """Have the node masquerade what its pods send to the outside."""
        path = self.folder / "internal" / f"{node.name}.nft"
        path.write_text(bootstrap.network_plugin(node))
        status, _out, error = await run(
            self.hosts[node.name], Program(argv=("nft", "-f", str(path)), env=self.environment()), timeout=20,
        )
        if status != 0:
            raise ClusterError(f"node {node.name}: its pod network's nftables table was refused: "
                               f"{error.strip() or status}; is the nf_tables NAT module there?")
