"""The shared chains a row can lead to. A chain's name says all that its rules depend on."""

from __future__ import annotations

import msgspec

LOCAL_ROWS = 1 << 16  # where the rows of endpoints on this node begin, behind those of the whole cluster
REJECT, DROP = "reject", "drop-here"


class Pick(msgspec.Struct, frozen=True):
    """Takes one of ``count`` endpoints at random: of the cluster or of this node (``local``), for an address
    or for a node port; with ``affinity`` seconds a client stays with its endpoint."""

    count: int
    local: bool = False
    node_port: bool = False
    affinity: int = 0

    @property
    def start(self) -> int:
        """The index of the first row."""
        return LOCAL_ROWS if self.local else 0

    @property
    def name(self) -> str:
        """The chain's name, such as ``pick_2_local_aff10``."""
        kept = f"_aff{self.affinity}" if self.affinity else ""
        return f"pick_{self.count}{'_local' * self.local}{'_np' * self.node_port}{kept}"


class Inside(msgspec.Struct, frozen=True):
    """Traffic to a cluster address: masqueraded unless it comes from a pod."""

    pick: Pick

    @property
    def name(self) -> str:
        """The chain's name."""
        return f"inside_{self.pick.name}"


class Outside(msgspec.Struct, frozen=True):
    """Traffic to an external address or node port under policy Cluster: always masqueraded."""

    pick: Pick

    @property
    def name(self) -> str:
        """The chain's name."""
        return f"outside_{self.pick.name}"


class Keeping(msgspec.Struct, frozen=True):
    """The same under policy Local, which keeps the client's address: pods and the node itself take a short
    cut to the whole cluster, others get endpoints of this node where there are any."""

    cluster: Pick
    local: Pick | None = None

    @property
    def name(self) -> str:
        """The chain's name."""
        return f"keep_{self.cluster.name}_{self.local.count if self.local else 0}"


class Sources(msgspec.Struct, frozen=True):
    """Traffic to an address that is open to some sources only; ``lengths`` of their prefixes."""

    lengths: tuple[int, ...]

    @property
    def name(self) -> str:
        """The chain's name."""
        return "from_" + "_".join(map(str, self.lengths)) if self.lengths else "from_none"


class Fixed(msgspec.Struct, frozen=True):
    """One of the chains that are always there: ``reject`` or ``drop``."""

    name: str


VERDICTS = ("variant", "fate", "gate")


def led_by(target: Target) -> str:
    """The map of verdicts a target stands in: a chain that rewrites addresses must not be reachable from a
    filter's hook, nor one that refuses from another (the kernel checks), so each sort has its own."""
    return "fate" if isinstance(target, Fixed) else "gate" if isinstance(target, Sources) else "variant"


Target = Inside | Outside | Keeping | Sources | Fixed
