"""The control plane of the embedded cluster: this project's API server and controllers, a process each."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from clusters.base import ClusterError
from clusters.netns import bootstrap, plan
from clusters.netns.hosts import Process, connect
from clusters.netns.program import Program

if TYPE_CHECKING:
    from clusters.client import Client
    from clusters.netns.rooms import Rooms

_PATIENCE = 30.0  # seconds for the API server to answer; patience only, it takes 0.2 s
NAMES = ("127.0.0.1", "localhost", plan.CONTROL_PLANE, plan.API_SERVICE, "kubernetes",
         "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local")


class EmbeddedPlane:
    """Starts them, in the order in which each needs the other."""

    def __init__(self, rooms: Rooms) -> None:
        self._rooms = rooms
        self.log = rooms.folder / "logs" / "api-server"  # of the API server
        self.tokens = bootstrap.make_tokens()  # by the name of the kubeconfig that holds it

    def start(self) -> None:
        """Start the API server; it is not waited for."""
        rooms, internal = self._rooms, self._rooms.folder / "internal"
        (internal / "tokens").write_text(bootstrap.token_file(self.tokens))
        (internal / "reserve").write_text(json.dumps(bootstrap.reservations(rooms.config["seed"])))
        (internal / "pki").mkdir()
        rooms.own.start("api-server", "the API server", self._api_server, self.answers)

    def _api_server(self) -> Process:
        rooms, internal = self._rooms, self._rooms.folder / "internal"
        pods, services = plan.networks(rooms.config["dual"])
        program = Program(
            python=rooms.config["apiserver"],
            args=("--listen", f"{plan.CONTROL_PLANE}:{bootstrap.API_PORT}", "--inherit-fd", "3",
                  "--token-file", str(internal / "tokens"), "--cert-dir", str(internal / "pki"),
                  "--service-cidr", services, "--cluster-cidr", pods,
                  "--node-port-range", "30000-32767", "--reserve", str(internal / "reserve"),
                  "--kubelet-socket", str(rooms.folder / "kubelet"),
                  "--san", ",".join(NAMES), "--journal", str(internal / "journal")),
            env=rooms.environment(), log=str(rooms.folder / "logs" / "api-server"), fds=(3,),
        )
        return rooms.hosts["control-plane"].start(program, [rooms.config["listener_fd"]])

    async def answers(self) -> None:
        """Wait until the API server shakes hands; ClusterError with its last lines when it died."""
        end = time.monotonic() + _PATIENCE
        log = self._rooms.folder / "logs" / "api-server"
        while True:
            self._rooms.must_live("api-server", log)
            with suppress(ClusterError):
                await self._shake_hands()
                return
            if time.monotonic() > end:
                raise ClusterError(f"the API server did not answer within {_PATIENCE:g} s; its last lines "
                                   "may say why", log=self._rooms.last_lines(log))
            await asyncio.sleep(0.005)

    async def _shake_hands(self) -> None:
        """One TLS handshake: whose loop runs has read its journal. ClusterError: not yet."""
        import ssl

        authority = self._rooms.folder / "internal" / "pki" / "ca.crt"
        if not authority.exists():
            raise ClusterError("the certificates are not made yet")
        network = self._rooms.hosts["control-plane"].network
        made = await connect(network, plan.CONTROL_PLANE, bootstrap.API_PORT, 1.0)
        try:
            context = ssl.create_default_context(cafile=str(authority))
            _reader, writer = await asyncio.open_connection(
                sock=made, ssl=context, server_hostname="kubernetes", ssl_handshake_timeout=_PATIENCE)
            writer.transport.abort()
        except OSError as error:  # ended while it was asked
            made.close()
            raise ClusterError(f"the API server cut a handshake: {error}") from error

    async def begin(self, client: Client) -> None:
        """Nothing: this API server has made what a cluster begins with when it answers."""

    def control(self) -> None:
        """Start the controllers."""
        self._rooms.own.start("controllers", "the controllers", self._controllers)

    def _controllers(self) -> Process:
        rooms = self._rooms
        args: Sequence[str] = ("--kubeconfig", str(rooms.folder / "internal" / "controllers"),
                               "--node-grace", str(rooms.config["node_grace"]))
        args = (*args, *(f"--{name}" for name in ("seed", "servicelb") if rooms.config[name]))
        return rooms.hosts["control-plane"].start(Program(
            python="clusters.controllers.main:main", args=tuple(args), env=rooms.environment(),
            log=str(rooms.folder / "logs" / "controllers"),
        ))

    def node_up(self, name: str) -> None:
        """Nothing: this API server asks the kubelet over its socket."""

    async def settled(self, client: Client) -> None:
        """Nothing to wait for: pods are placed as soon as there are nodes."""
