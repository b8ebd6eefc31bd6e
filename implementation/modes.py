"""The data plane for the mode that was chosen."""

from __future__ import annotations

import msgspec

from implementation.dataplane import Dataplane
from implementation.dataplane.iptables import Iptables
from implementation.dataplane.nftables import Nftables
from implementation.dataplane.userspace import Userspace
from implementation.node import sysctls
from implementation.settings import Settings


def dataplane(settings: Settings, pod_cidrs: tuple[str, ...] = ()) -> Dataplane:
    """The data plane; ``pod_cidrs`` are this node's, for mode NodeCIDR. Raises DataplaneError."""
    if settings.mode == "nftables":
        return Nftables(settings.row_options(pod_cidrs))
    if settings.mode == "userspace":
        return Userspace(settings.row_options(pod_cidrs))
    liberal = settings.tcp_be_liberal or sysctls.read(sysctls.BE_LIBERAL) not in ("", "0")
    options = msgspec.structs.replace(settings.options(pod_cidrs), drop_invalid=not liberal)
    return Iptables(options, settings.variant)


def cleanup(settings: Settings) -> None:
    """Take the rules of every mode out of the kernel, as upstream does. Raises DataplaneError."""
    Nftables(settings.row_options()).cleanup()
    Iptables(settings.options(), settings.variant).cleanup()
