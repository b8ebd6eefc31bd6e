"""A real control plane in the cluster: etcd, kube-apiserver, kube-controller-manager and kube-scheduler."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from clusters import controlplane
from clusters.base import ClusterError
from clusters.netns import bootstrap, embedded, plan
from clusters.netns.hosts import Process
from clusters.netns.program import Program

if TYPE_CHECKING:
    from clusters.client import Client
    from clusters.netns.rooms import Rooms

_PATIENCE = 60.0  # seconds for each step; patience only, all of them together take about four
_BETWEEN = 0.02  # seconds between looks
_NAMESPACES = ("default", "kube-system", "kube-node-lease")


class RealPlane:
    """Starts the real programs with what each needs, and waits for them."""

    def __init__(self, rooms: Rooms) -> None:
        self._rooms = rooms
        self.log = rooms.folder / "logs" / "kube-apiserver"  # of the API server
        self._programs: dict[str, str] = rooms.config["programs"]  # name -> file
        users = [*controlplane.USERS, *(user for user in bootstrap.make_tokens()
                                        if user not in controlplane.USERS)]
        self.tokens = {user: secrets.token_urlsafe(24) for user in users}
        pods, services = plan.networks(rooms.config["dual"])
        self._where = controlplane.Where(
            plan.CONTROL_PLANE, bootstrap.API_PORT, services, pods,
            float(rooms.config["node_grace"]), rooms.folder / "internal")

    def start(self) -> None:
        """Start etcd and the API server, which finds etcd by itself; and the way in from the host."""
        rooms, where = self._rooms, self._where
        (where.folder / "tokens.csv").write_text(controlplane.token_table(self.tokens))
        rooms.own.start("etcd", "the cluster's etcd", partial(self._run, "etcd", controlplane.etcd(where)))
        keys(where.pki)
        server = partial(self._run, "kube-apiserver", controlplane.api_server(where))
        rooms.own.start("api-server", "the API server", server, self.answers)
        rooms.own.start("relay", "the relay", self._relay)

    def _relay(self) -> Process:
        rooms, where = self._rooms, self._where
        return rooms.hosts["control-plane"].start(Program(
            python="clusters.netns.relay:main",
            args=("--inherit-fd", "3", "--to", f"{where.address}:{where.port}"), fds=(3,),
            env=rooms.environment(), log=str(rooms.folder / "logs" / "relay"),
        ), [rooms.config["listener_fd"]])

    def _run(self, name: str, words: Sequence[str]) -> Process:
        rooms = self._rooms
        return rooms.hosts["control-plane"].start(Program(
            argv=(self._programs[name], *words), env=rooms.environment(),
            log=str(rooms.folder / "logs" / name),
        ))

    async def answers(self) -> None:
        """Wait until the API server says that it is ready; ClusterError with the last lines of who is not."""
        from clusters.client import ApiError, Client

        authority = (self._where.pki / "ca.crt").read_text()
        server = f"https://{self._where.address}:{self._where.port}"
        end = time.monotonic() + _PATIENCE
        async with Client(server, ca=authority, token=self.tokens["kubernetes-admin"], timeout=2.0) as client:
            while True:
                for known_as, log in (("etcd", "etcd"), ("api-server", "kube-apiserver")):
                    self._rooms.must_live(known_as, self._log(log))
                try:
                    await client.get("/readyz")
                    return
                except ApiError as error:
                    # It answers in plain text: a good answer is one that is no JSON.
                    if error.status == 200:
                        return
                    if time.monotonic() > end:
                        raise ClusterError(
                            f"kube-apiserver is not ready after {_PATIENCE:g} s ({error}); its last lines "
                            "may say why", log=self._rooms.last_lines(self._log("kube-apiserver"))) from error
                await asyncio.sleep(_BETWEEN)

    def _log(self, name: str) -> Path:
        return self._rooms.folder / "logs" / name

    async def begin(self, client: Client) -> None:
        """Wait for the namespaces every cluster has, then give the kubelet and the DNS their rights."""
        from clusters.client import NotFound

        end = time.monotonic() + _PATIENCE
        for name in _NAMESPACES:
            while True:
                try:
                    await client.get(f"/api/v1/namespaces/{name}")
                    break
                except NotFound:
                    if time.monotonic() > end:
                        raise
                    await asyncio.sleep(_BETWEEN)
        for path, item in controlplane.access():
            await client.create(path, item)

    def control(self) -> None:
        """Start the controllers, the scheduler, and the kubelet's ports."""
        manager = partial(self._run, "kube-controller-manager", controlplane.controller_manager(self._where))
        self._rooms.own.start("controllers", "the controllers", manager)
        scheduler = partial(self._run, "kube-scheduler", controlplane.scheduler(self._where))
        self._rooms.own.start("scheduler", "the scheduler", scheduler)
        for node in self._rooms.nodes:
            self.node_up(node.name)

    def node_up(self, name: str) -> None:
        """Have the kubelet listen on a node, where the API server asks it for logs and the like."""
        rooms, node = self._rooms, self._rooms.node(name)
        rooms.hosts[name].start(Program(
            python="clusters.netns.kubeletport:main",
            args=("--listen", f"{node.address}:{bootstrap.KUBELET_PORT}", "--only", self._where.address,
                  "--socket", str(rooms.folder / "kubelet"), "--cert-dir", str(self._where.pki)),
            env=rooms.environment(), log=str(rooms.folder / "logs" / f"kubelet-{name}"),
        ))

    async def settled(self, client: Client) -> None:
        """Wait until pods can be placed: the node controller has taken its taint off every node."""
        end = time.monotonic() + _PATIENCE
        pairs = (("controllers", "kube-controller-manager"), ("scheduler", "kube-scheduler"))
        while True:
            for known_as, log in pairs:
                self._rooms.must_live(known_as, self._log(log))
            tainted = [node["metadata"]["name"] for node in await client.list("/api/v1/nodes")
                       if node["spec"].get("taints")]
            if not tainted:
                return
            if time.monotonic() > end:
                raise ClusterError(
                    f"{', '.join(tainted)}: no pod can be placed there after {_PATIENCE:g} s, as "
                    "kube-controller-manager has left its taints; its last lines may say why",
                    log=self._rooms.last_lines(self._log("kube-controller-manager")))
            await asyncio.sleep(_BETWEEN)


def keys(folder: Path) -> None:
    """The authority, the API server's certificate, and the key that signs tokens of service accounts."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    from clusters.apiserver import certificates

    certificates.context(folder, embedded.NAMES)
    # "EC PRIVATE KEY": kube-apiserver reads the public half out of no other form.
    secret = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption())
    (folder / "sa.key").touch(mode=0o600)
    (folder / "sa.key").write_bytes(secret)
