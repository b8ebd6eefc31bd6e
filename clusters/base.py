"""What every cluster gives, and the powers that only some have.

One small required protocol, and each extra power a protocol of its own: a requirement that needs a power
which the cluster at hand lacks is *unsupported* there, never failed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable


class ClusterError(Exception):
    """The cluster could not do what was asked: says what, what was expected, and what to do next.

    ``log`` holds the last lines (≤ 20) of the process that failed, oldest first, where there is one.
    """

    def __init__(self, message: str, *, log: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.log = tuple(log)


@dataclass(frozen=True)
class Node:
    """One node as the judge sees it."""

    name: str
    addresses: tuple[str, ...]  # addresses on the node network, primary family first
    pod_cidrs: tuple[str, ...]
    control_plane: bool = False  # the API server runs there and would go with it


@dataclass(frozen=True)
class Command:
    """One long-running program of an implementation: either ``argv`` or ``python`` (``module:function``).

    Every string of ``argv``, ``args`` and ``env`` may hold ``{node}``, ``{node_ip}``, ``{kubeconfig}``,
    ``{cluster_cidr}``, ``{service_cidr}`` and ``{run_dir}``; the cluster fills them in for each place.
    """

    name: str
    argv: tuple[str, ...] = ()
    python: str = ""  # called as function(list_of_args) -> exit status, in a forked process
    args: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    ready: str = ""  # URL asked in the command's own network until it answers 200; empty: no wait
    ready_seconds: float = 30.0
    account: str = ""  # NAMESPACE/NAME of the ServiceAccount whose token it gets; empty: an administrator's


@dataclass(frozen=True)
class StandIn:
    """A program of an implementation that runs where a pod names its image, as when manifests install it.

    Called as ``python``'s function with ``args``, in which ``$(NAME)`` is a variable of the container; the
    token of the pod's ServiceAccount is where a pod has it.
    """

    image: str  # without registry, tag and digest, such as metallb/speaker
    python: str
    args: tuple[str, ...] = ()


@dataclass(frozen=True)
class Implementation:
    """What provides Services on a cluster, as its descriptor says (see ``clusters/implementations.py``)."""

    name: str
    version: str
    description: str = ""
    per_node: tuple[Command, ...] = ()
    controllers: tuple[Command, ...] = ()
    features: Mapping[str, bool | str] = field(default_factory=dict)  # declared optional features
    url: str = ""
    objects: tuple[Mapping[str, Any], ...] = ()  # applied before anything is started
    images: tuple[StandIn, ...] = ()


class Workload(Protocol):
    """A process whose control port (HTTP) can be reached without any Service under test."""

    name: str
    place: str  # node name, "outside" or "behind-router"

    async def request(
        self, method: str, path: str, *, headers: Mapping[str, str] | None = None, timeout: float,
    ) -> tuple[int, bytes]:
        """Send one HTTP/1.1 request without a body to the control port; gives status and body.

        Raises ClusterError when the workload cannot be reached or does not answer in ``timeout`` seconds.
        """
        ...


class Cluster(Protocol):
    """A cluster with Services in it."""

    url: str
    kubeconfig: Path  # reaches the API server from where the judge runs
    namespace: str | None  # where the seed's objects go: "default" when the cluster is the seed's own
    act_seconds: float  # what killing a node or cutting its cable takes at most
    restart_seconds: float  # what ``CanSignal.restart`` of one program takes at most
    icmp_pause: float  # seconds between two ICMP errors of a node to the same host; 0: they are not limited

    async def nodes(self) -> list[Node]:
        """Nodes that can run pods, in name order of the cluster's own list."""
        ...

    def pod(self, namespace: str, name: str, port: int) -> Workload:
        """The control port ``port`` of a running pod."""
        ...

    async def close(self) -> None:
        """Give back everything this process took; a cluster it raised is gone afterwards."""
        ...


@runtime_checkable
class CanStray(Protocol):
    """Has hosts beside its nodes that outlive a killed run."""

    async def strays(self) -> list[str]:
        """The names of such hosts. One that a living run uses is among them."""
        ...

    async def remove_strays(self, names: Sequence[str]) -> None:
        """Take them away."""
        ...


@runtime_checkable
class CanMend(Protocol):
    """Knows what is wrong with its nodes and hosts by a fault, also by that of a run that was killed."""

    async def broken(self) -> dict[str, str]:
        """A place, and what is wrong with it: ``cut off``, ``paused`` or ``without power``."""
        ...

    async def mend(self) -> None:
        """Undo all of that, and wait until the nodes are Ready."""
        ...


@runtime_checkable
class CanPlaceOutside(Protocol):
    """Can run a program on hosts that are not nodes."""

    places: tuple[str, ...]  # of "outside", "behind-router"

    async def place_outside(
        self, place: str, name: str, files: Mapping[str, bytes], argv: Sequence[str], port: int,
    ) -> Workload:
        """Run ``argv`` (a Python 3 program among ``files``, started in their folder) at ``place``."""
        ...

    def address_of(self, place: str) -> tuple[str, ...]:
        """The addresses of a place, as others there see them."""
        ...


@runtime_checkable
class CanRunImplementation(Protocol):
    """Can start what provides Services."""

    async def provide(self, implementation: Implementation) -> None:
        """Start every command on every node and wait until each is ready.

        Raises ClusterError, with the last lines of its log, when one dies or is never ready.
        """
        ...

    async def dead(self) -> list[str]:
        """One sentence for each implementation process that has ended by itself."""
        ...


@runtime_checkable
class CanSnapshot(Protocol):
    """Can read rules, connection tracking and logs of a node."""

    async def snapshot(self, node: str) -> dict[str, str]:
        """Texts by name: ``iptables-save``, ``nft``, ``conntrack``, and ``log/<command>`` of each command."""
        ...

    async def run_on(self, place: str, argv: Sequence[str], *, timeout: float) -> tuple[int, str, str]:
        """Run ``argv`` on a node or place; gives exit status, output and error output."""
        ...


@dataclass(frozen=True)
class Frame:
    """One frame seen on the switch: ``at`` is seconds on this machine's CLOCK_MONOTONIC."""

    at: float
    port: str  # place whose cable it came in on
    data: bytes  # from the Ethernet header on, at most 128 bytes


@runtime_checkable
class CanCutLink(Protocol):
    """Can cut the cable of a node or place; times are seconds on CLOCK_MONOTONIC, just after the act."""

    async def cut_link(self, place: str, *, silently: bool) -> float:
        """Silently: the switch port goes dead and the carrier stays, as when power fails behind a switch.

        Otherwise the cable is pulled: the place sees no carrier, the switch forgets what it learned there.
        """
        ...

    async def heal_link(self, place: str) -> float:
        """Undo ``cut_link``; a link that is whole stays so."""
        ...


@runtime_checkable
class CanKillNode(Protocol):
    """Can take the power from a node."""

    async def kill_node(self, node: str) -> float:
        """End every process of the node at once and silence its port; nobody tells the API server."""
        ...

    async def revive_node(self, node: str) -> float:
        """Power back: its pods and the implementation's commands start again, and its port works."""
        ...


@runtime_checkable
class CanPauseNode(Protocol):
    """Can hold a node still as when its user space hangs: its kernel goes on."""

    async def pause_node(self, node: str) -> float:
        """Stop every process of the node where it stands; addresses, rules and forwarding stay."""
        ...

    async def resume_node(self, node: str) -> float:
        """Let them go on; a node that is not paused stays as it is."""
        ...


@runtime_checkable
class CanSignal(Protocol):
    """Can kill, stop and continue the implementation's processes."""

    async def signal(self, place: str, command: str, number: int) -> float:
        """Send a signal to the command named ``command`` (as in its descriptor) and all its children."""
        ...

    async def restart(self, place: str, command: str) -> float:
        """SIGTERM, wait for its end, start it anew and wait until it is ready; gives when it was ready."""
        ...


@runtime_checkable
class CanTap(Protocol):
    """Can watch the switch passively."""

    async def tap_start(self) -> None:
        """Begin to note frames that come in on any port of the switch: all ARP, and UDP and TCP to or from
        the load balancer and node port addresses.
        """
        ...

    async def tap_stop(self) -> list[Frame]:
        """End it; gives the frames in order of time."""
        ...
