"""The network as the kernel sees it: a switch, one cable a host, a bridge of pods on every node.

=================  ==============================================================================
switch             bridge ``br0`` in the machine's own namespace; ports ``to-<last number of the address>``
control-plane      192.168.2.2; knows the way to every pod network
nodes              192.168.2.114 …; ``cni0`` 10.42.N.1/24; routes to each other's pods; default by router
outside            192.168.2.50, a machine on the same LAN
router             192.168.2.1 and 198.51.100.1; knows no pod and no Service network
behind-router      198.51.100.10
=================  ==============================================================================

With ``?dual`` each has an IPv6 address that reads the same: fd00:192:168:2::114 beside 192.168.2.114.
MAC addresses follow from the IPv4 address, so that traces of two runs can be compared.
"""

from __future__ import annotations

import errno
import ipaddress
import os
import socket
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from clusters.netns import kernel, plan
from clusters.netns.plan import NodePlan
from clusters.netns.rtnetlink import Route

_BRIDGE_CALLS = Path("/proc/sys/net/bridge/bridge-nf-call-iptables")
_REPLIES = "net/ipv4/icmp_msgs_per_sec", "net/ipv4/icmp_msgs_burst"
# Written before the first device, so that every device inherits them. Source: facts on simulated LANs.
_ALL_HOSTS: Mapping[str, str] = {
    **{
        f"net/ipv4/conf/{which}/{name}": value
        for which in ("all", "default")
        for name, value in (
            ("rp_filter", "0"),  # strict mode drops DNATed and asymmetric replies
            ("arp_ignore", "1"), ("arp_announce", "2"),  # two cards on a segment must not both answer
            ("send_redirects", "0"), ("accept_redirects", "0"),  # redirects use up the ICMP tokens
            ("proxy_arp", "0"),
        )
    },
    "net/ipv4/icmp_ratelimit": "0",  # else a burst of refusals is silently thinned and looks like a drop
}
# With both families.
_DUAL: Mapping[str, str] = {
    "net/ipv6/conf/all/disable_ipv6": "0", "net/ipv6/conf/default/disable_ipv6": "0",  # Docker turns it off
    "net/ipv6/icmp/ratelimit": "0",  # as of IPv4
}
# No link-local addresses, no duplicate detection: their frames teach the switch and cost a second.
_QUIET_IPV6: Mapping[str, str] = {
    f"net/ipv6/conf/{which}/{name}": value
    for which in ("all", "default")
    for name, value in (("accept_dad", "0"), ("addr_gen_mode", "1"), ("accept_ra", "0"))
}


@dataclass
class Network:
    """The namespaces of all hosts, as descriptors, and what was found out about this kernel."""

    switch: int = -1  # the namespace of the LAN's bridge
    dual: bool = False  # every host has IPv6 addresses, too
    hosts: dict[str, int] = field(default_factory=dict)  # host name -> network namespace
    routed_pods: bool = False  # pods of one node reach each other by its router, not by its bridge
    ports: dict[str, int] = field(default_factory=dict)  # host name -> index of its port on the switch


def write_sysctl(name: str, value: str, *, needed: bool = True) -> None:
    """Write one setting of the network namespace of the moment.

    OSError when it is ``needed`` and refused; others may be missing from this kernel or read-only here.
    """
    path = Path("/proc/sys") / name
    try:
        path.write_text(value)
    except OSError as error:
        if needed:
            raise OSError(error.errno, f"{path} could not be set to {value}: {error.strerror}") from error


def settings(forward: bool, *, dual: bool = False) -> None:
    """Set every sysctl that packets depend on; nothing is left to what the host happens to have."""
    for name, value in (_DUAL if dual else {}).items():
        write_sysctl(name, value)
    if dual and forward:
        write_sysctl("net/ipv6/conf/all/forwarding", "1")
    write_sysctl("net/ipv4/ip_forward", "1" if forward else "0")
    for name, value in _ALL_HOSTS.items():
        write_sysctl(name, value)
    for name, value in _QUIET_IPV6.items():
        write_sysctl(name, value, needed=False)
    for name in _REPLIES:
        write_sysctl(name, "100000", needed=False)


def mac_of(address: str, first: str) -> str:
    """A MAC address made of two leading bytes (``02:00``) and an IPv4 address."""
    return first + "".join(f":{byte:02x}" for byte in ipaddress.IPv4Address(address).packed)


def _bridge_filter(on: bool) -> bool:
    """Have bridged IP frames pass the packet filter, or not; False when this kernel cannot."""
    for name in ("iptables", "ip6tables", "arptables"):
        with suppress(FileNotFoundError):
            value = "1" if on and name != "arptables" else "0"
            _BRIDGE_CALLS.with_name(f"bridge-nf-call-{name}").write_text(value)
    return _BRIDGE_CALLS.exists()


def build(nodes: Sequence[NodePlan]) -> Network:
    """Make the switch and every host's network namespace; OSError says what the kernel refused."""
    network = Network(kernel.own_network(), len(nodes[0].addresses) > 1)
    if network.dual and not Path("/proc/sys/net/ipv6").exists():
        raise OSError(errno.EAFNOSUPPORT, "this kernel has no IPv6, which dual needs; name a "
                      "cluster without, --cluster 'netns://?seed' for example")
    settings(forward=False)
    _bridge_filter(False)
    with Route() as switch:
        switch.up("lo")
        switch.bridge("br0", "02:ff:c0:a8:02:00")
        switch.up("br0")
        hosts = {"control-plane": plan.CONTROL_PLANE, "router": plan.ROUTER, "outside": plan.OUTSIDE}
        hosts |= {node.name: node.address for node in nodes}
        for name, address in hosts.items():
            _plug_host(network, switch, name, address)
    network.hosts["behind-router"] = _host(False, network.dual)
    _addresses(network, nodes)
    for node in nodes:
        _node_addresses(network, nodes, node)
    return network


def rebuild(network: Network, nodes: Sequence[NodePlan], node: NodePlan) -> None:
    """A node after a power cut: a new namespace without a rule or connection, the same addresses and MAC.

    All its processes are dead. Its old cable goes first: one MAC is never on two ports. Takes about 50 ms.
    """
    with kernel.in_network(network.switch), Route() as switch:
        switch.delete(socket.if_indextoname(network.ports[node.name]))
        os.close(network.hosts[node.name])
        _plug_host(network, switch, node.name, node.address)
    _node_addresses(network, nodes, node)


def _plug_host(network: Network, switch: Route, name: str, address: str) -> None:
    """Make a host's namespace and its cable to the switch, in whose namespace the caller is."""
    network.hosts[name] = _host(name not in ("control-plane", "outside"), network.dual)
    port = f"to-{port_number(address)}"
    switch.veth(port, mac_of(address, "02:01"), "eth0", mac_of(address, "02:00"), network.hosts[name])
    switch.up(port, master="br0")
    network.ports[name] = socket.if_nametoindex(port)


def port_number(address: str) -> int:
    """The number in the name of the switch's port to a LAN address."""
    return int(address.rpartition(".")[2])


def _host(forward: bool, dual: bool) -> int:
    """A network namespace with its settings and loopback."""
    made = kernel.new_network()
    with kernel.in_network(made), Route() as route:
        settings(forward, dual=dual)
        route.up("lo")
    return made


def _join(
    network: Network, route: Route, device: str, address: str, gateway: str = "", *, neighbours: bool = True,
) -> None:
    """Bring a device up with its addresses; those of IPv6 once it is up, or their routes were lost.

    Without ``neighbours`` nobody but the gateway is taken to be on its cable.
    """
    route.address(device, f"{address}/24", neighbours=neighbours)
    route.up(device)
    if network.dual:
        route.address(device, f"{plan.twin(address)}/64", neighbours=neighbours)
        route.address(device, f"{plan.link_local(address)}/64")
    for way in plan.of_families(gateway, network.dual) if gateway else ():
        if not neighbours:
            route.on_cable(way, device)
        route.route("default", way)


def _addresses(network: Network, nodes: Sequence[NodePlan]) -> None:
    """Addresses and routes of every host that is no node, in its own namespace."""
    with kernel.in_network(network.hosts["control-plane"]), Route() as route:
        _join(network, route, "eth0", plan.CONTROL_PLANE, plan.ROUTER)
        for node in nodes:
            _to_pods(route, node)
    with kernel.in_network(network.hosts["outside"]), Route() as route:
        _join(network, route, "eth0", plan.OUTSIDE, plan.ROUTER)
        kernel.tx_checksums_off("eth0")
    with kernel.in_network(network.hosts["router"]), Route() as route:
        _join(network, route, "eth0", plan.ROUTER)
        route.veth("eth1", mac_of(plan.FAR_GATEWAY, "02:00"), "eth0", mac_of(plan.FAR_HOST, "02:00"),
                   network.hosts["behind-router"])
        _join(network, route, "eth1", plan.FAR_GATEWAY)
    with kernel.in_network(network.hosts["behind-router"]), Route() as route:
        _join(network, route, "eth0", plan.FAR_HOST, plan.FAR_GATEWAY)
        kernel.tx_checksums_off("eth0")


def _node_addresses(network: Network, nodes: Sequence[NodePlan], node: NodePlan) -> None:
    """Addresses and routes of a node, and the bridge of its pods."""
    with kernel.in_network(network.hosts[node.name]), Route() as route:
        _join(network, route, "eth0", node.address, plan.ROUTER)
        network.routed_pods = not _bridge_filter(True)
        route.bridge("cni0", mac_of(node.gateway, "0a:58"))
        _join(network, route, "cni0", node.gateway)
        for other in nodes:
            if other is not node:
                _to_pods(route, other)


def _to_pods(route: Route, node: NodePlan) -> None:
    for network, address in zip(node.pod_cidrs, node.addresses, strict=True):
        route.route(network, address)


def plug_pod(network: Network, node: NodePlan, address: str) -> int:
    """Make a pod's network namespace with ``eth0`` on its node's bridge; gives the descriptor.

    Where the kernel does not show bridged frames to the packet filter, the pod is given no direct way to its
    neighbours: their traffic is routed by the node, else replies from a Service would not be translated back.
    """
    made = kernel.new_network()
    try:
        cable = cable_of(address)
        with kernel.in_network(network.hosts[node.name]), Route() as route:
            route.veth(cable, mac_of(address, "0e:58"), "eth0", mac_of(address, "0a:58"), made)
            route.up(cable, master="cni0")
            route.hairpin(cable)
        with kernel.in_network(made), Route() as route:
            settings(forward=False, dual=network.dual)
            route.up("lo")
            _join(network, route, "eth0", address, node.gateway, neighbours=not network.routed_pods)
            kernel.tx_checksums_off("eth0")
    except BaseException:
        os.close(made)
        raise
    return made


def is_plugged(network: Network, node: NodePlan, address: str) -> bool:
    """Whether the node still has the pod's cable; it goes with the last user of the pod's namespace."""
    with kernel.in_network(network.hosts[node.name]):
        try:
            socket.if_nametoindex(cable_of(address))
        except OSError:
            return False
    return True


def unplug_pod(network: Network, node: NodePlan, address: str) -> None:
    """Take a pod's cable away; no error when it is gone already. Takes 20 ms, all of it waiting."""
    with kernel.in_network(network.hosts[node.name]), Route() as route:
        try:
            route.delete(cable_of(address))
        except OSError as error:
            if error.errno != errno.ENODEV:
                raise


def cable_of(address: str) -> str:
    """The name of the node's end of a pod's cable (at most 15 characters)."""
    return "pod" + ipaddress.IPv4Address(address).packed.hex()
