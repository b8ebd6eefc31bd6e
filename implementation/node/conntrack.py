"""Ends UDP flows that lead where nothing serves them any more.

The kernel decides about a flow at its first packet only, so a client that keeps sending from one port would
go on to a removed endpoint for ever. What is removed is matched exactly: original destination and the
endpoint that answered. Nothing else is touched; TCP never is (that would cut connections which may still
end well).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

import msgspec

from implementation.node import command
from implementation.state.desired import ServedService

Where = tuple[str, int]  # address and port; address "" stands for any address of this node
Flows = Mapping[Where, frozenset[str]]  # where clients send → who may answer, "ip:port" or ":port" of our own
_FIELD = re.compile(r"\b(src|dst|sport|dport)=(\S+)")


class Flow(msgspec.Struct, frozen=True, order=True):
    """One kind of tracked flow: where clients sent to, and who answers them."""

    destination: str
    port: int
    answers: str
    answers_port: int

    @property
    def target(self) -> str:
        """The answering end as "ip:port"."""
        shown = f"[{self.answers}]" if ":" in self.answers else self.answers
        return f"{shown}:{self.answers_port}"


def served(services: Iterable[ServedService]) -> dict[int, Flows]:
    """By family, where UDP clients may send to and which endpoints may go on answering."""
    found: dict[int, dict[Where, frozenset[str]]] = {4: {}, 6: {}}
    for service in services:
        for port in service.ports:
            if port.protocol == "udp":
                flows = found[port.family]
                for address in (port.cluster_ip, *port.external_ips, *port.virtual_ips):
                    flows[address, port.port] = frozenset(port.serving)
                if port.node_port:
                    flows["", port.node_port] = frozenset(port.serving)
    return dict(found)


def with_ended(now: Flows, before: Flows) -> Flows:
    """What is served now, and with it what no longer is, which no flow may stay with."""
    return {**{where: frozenset() for where in before}, **now}


def stale(flows: Iterable[Flow], allowed: Flows, local: frozenset[str]) -> list[Flow]:
    """The flows to a Service that are answered by nobody who may; each kind once, in order."""
    gone = set()
    for flow in flows:
        keep = allowed.get((flow.destination, flow.port))
        if keep is None and flow.destination in local:
            keep = allowed.get(("", flow.port))
        ours = f":{flow.answers_port}" if flow.answers in local else flow.target
        if keep is not None and not keep & {flow.target, ours}:
            gone.add(flow)
    return sorted(gone)


def parse(listing: str) -> set[Flow]:
    """The kinds of flows in what ``conntrack -L`` prints; lines of another form are passed over."""
    flows = set()
    for line in listing.splitlines():
        values = _FIELD.findall(line)
        if [key for key, _ in values[:8]] == ["src", "dst", "sport", "dport"] * 2:
            text = [value for _, value in values]
            if text[3].isdecimal() and text[6].isdecimal():
                flows.add(Flow(text[1], int(text[3]), text[4], int(text[6])))
    return flows


def listed(family: int) -> set[Flow]:
    """The kinds of UDP flows the kernel tracks now. Raises CommandError."""
    return parse(command.run(["conntrack", "-L", "-f", f"ipv{family}", "-p", "udp"], seconds=60))


def end(flow: Flow, family: int) -> None:
    """Forget every flow of this kind. Raises CommandError; that none is left is no error."""
    argv = [
        "conntrack",
        "-D",
        "-f",
        f"ipv{family}",
        "-p",
        "udp",
        "--orig-dst",
        flow.destination,
        "--orig-port-dst",
        str(flow.port),
        "--reply-src",
        flow.answers,
        "--reply-port-src",
        str(flow.answers_port),
    ]
    try:
        command.run(argv)
    except command.CommandError as error:
        if "0 flow entries" not in str(error):
            raise


class Reconciler:
    """Ends stale flows after each change of what UDP clients may reach; what failed is tried again next
    time."""

    def __init__(self) -> None:
        self._done: dict[int, Flows] = {4: {}, 6: {}}

    def inherit(self, before: Mapping[int, Iterable[Where]]) -> None:
        """Somebody served these places before us: flows there are looked at, be they served any more or
        not."""
        for family, places in before.items():
            self._done[family] = {**dict.fromkeys(places, frozenset()), **self._done[family]}

    def reconcile(self, answering: Mapping[int, Flows], local: frozenset[str]) -> int:
        """How many kinds of flows were ended, by family ``answering`` tells who may answer. ``local`` are
        this node's addresses. Raises CommandError."""
        ended = 0
        for family, now in answering.items():
            if now == self._done[family]:
                continue
            for flow in stale(listed(family), with_ended(now, self._done[family]), local):
                end(flow, family)
                ended += 1
            self._done[family] = now
        return ended

    def needed(self, answering: Mapping[int, Flows]) -> bool:
        """True when something changed for UDP clients since the last time."""
        return answering != self._done
