"""The data plane for the mode that was chosen, and what other modes left behind."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import msgspec

from implementation.dataplane import Dataplane, DataplaneError
from implementation.dataplane.iptables import Iptables
from implementation.dataplane.iptables.tool import Variant
from implementation.dataplane.nftables import Nftables
from implementation.dataplane.userspace import Userspace
from implementation.node import sysctls
from implementation.settings import Settings

log = logging.getLogger("kube-proxy")
Mode = Nftables | Iptables | Userspace


def dataplane(settings: Settings, pod_cidrs: tuple[str, ...] = ()) -> Dataplane:
    """The data plane; ``pod_cidrs`` are this node's, for mode NodeCIDR. Raises DataplaneError."""
    if settings.mode == "nftables":
        return Nftables(settings.row_options(pod_cidrs))
    if settings.mode == "userspace":
        return Userspace(settings.row_options(pod_cidrs))
    liberal = settings.tcp_be_liberal or sysctls.read(sysctls.BE_LIBERAL) not in ("", "0")
    options = msgspec.structs.replace(settings.options(pod_cidrs), drop_invalid=not liberal)
    return Iptables(options, settings.variant)


def every(settings: Settings) -> Iterator[tuple[str, Mode]]:
    """A data plane of each mode that can be had here, by the mode's name; iptables in both variants."""
    yield "nftables", Nftables(settings.row_options())
    yield "userspace", Userspace(settings.row_options())
    for variant in Variant:
        try:
            yield f"iptables ({variant})", Iptables(settings.options(), variant)
        except DataplaneError as error:  # its programs are not installed
            log.debug("%s", error)


def others(settings: Settings) -> Iterator[tuple[str, Mode]]:
    """The same without the chosen mode."""
    chosen = f"iptables ({settings.variant})" if settings.mode == "iptables" else settings.mode
    return ((name, plane) for name, plane in every(settings) if name != chosen)


def cleanup(settings: Settings) -> None:
    """Take the rules of every mode out of the kernel, as upstream does. Raises DataplaneError."""
    for name, plane in every(settings):
        try:
            plane.cleanup()
        except DataplaneError as error:
            if name.startswith("iptables") and name != f"iptables ({settings.variant})":
                log.debug("mode %s cannot be cleaned up: %s", name, error)  # needs rights, or is not there
            else:
                raise
