"""Links, addresses and routes over route netlink (rtnetlink(7)), as few bytes and calls as it takes.

Why not pyroute2: importing it costs 0.35 s here, a quarter of the whole cluster's budget of 1.5 s, and each
call runs an event loop; these messages are fixed and few. Every call works in the network namespace in which
its ``Route`` was opened.
"""

from __future__ import annotations

import errno
import ipaddress
import os
import socket
import struct
from types import TracebackType
from typing import Self

_NEWLINK, _DELLINK, _SETLINK, _NEWADDR, _NEWROUTE = 16, 17, 19, 20, 24
_REQUEST, _ACK, _REPLACE, _EXCL, _CREATE = 0x1, 0x4, 0x100, 0x200, 0x400
_IFLA_ADDRESS, _IFLA_IFNAME, _IFLA_MASTER, _IFLA_LINKINFO = 1, 3, 10, 18
_IFLA_NET_NS_FD, _IFLA_PROTINFO = 28, 12
_INFO_KIND, _INFO_DATA, _VETH_INFO_PEER = 1, 2, 1
_BR_FORWARD_DELAY, _BR_MCAST_SNOOPING = 1, 23
_BRPORT_STATE, _BRPORT_MODE = 1, 4  # mode: hairpin
_PORT_DISABLED, _PORT_FORWARDING = 0, 3
_IFA_F_NODAD, _IFA_F_NOPREFIXROUTE = 0x02, 0x200
_IFF_UP = 1
_NESTED = 0x8000
_AF_BRIDGE = 7


def _attribute(kind: int, value: bytes) -> bytes:
    size = 4 + len(value)
    return struct.pack("=HH", size, kind) + value + b"\0" * (-size % 4)


def _text(kind: int, value: str) -> bytes:
    return _attribute(kind, value.encode() + b"\0")


def _mac(text: str) -> bytes:
    return bytes.fromhex(text.replace(":", ""))


def _index(name: str) -> int:
    try:
        return socket.if_nametoindex(name)
    except OSError as error:
        raise OSError(errno.ENODEV, f"no interface {name} in this namespace") from error


class Route:
    """A netlink socket in the namespace of the moment; use as a context manager.

    Every method raises OSError with the kernel's reason and what was tried.
    """

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
        self._socket.bind((0, 0))
        self._sequence = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None,
    ) -> None:
        self._socket.close()

    def bridge(self, name: str, mac: str) -> None:
        """Make a bridge that forwards at once (no forward delay) and floods multicast (no snooping)."""
        data = (
            _attribute(_BR_FORWARD_DELAY, struct.pack("=I", 0))
            + _attribute(_BR_MCAST_SNOOPING, struct.pack("=B", 0))
        )
        info = _text(_INFO_KIND, "bridge") + _attribute(_INFO_DATA | _NESTED, data)
        self._link_new(_text(_IFLA_IFNAME, name) + _attribute(_IFLA_ADDRESS, _mac(mac))
                       + _attribute(_IFLA_LINKINFO | _NESTED, info), f"make bridge {name}")

    def veth(self, name: str, mac: str, peer: str, peer_mac: str, peer_network: int) -> None:
        """Make a cable: ``name`` here, ``peer`` in the network namespace of the descriptor."""
        other = struct.pack("=BxHiII", 0, 0, 0, 0, 0) + _text(_IFLA_IFNAME, peer)
        other += _attribute(_IFLA_ADDRESS, _mac(peer_mac))
        other += _attribute(_IFLA_NET_NS_FD, struct.pack("=I", peer_network))
        data = _attribute(_VETH_INFO_PEER | _NESTED, other)
        info = _text(_INFO_KIND, "veth") + _attribute(_INFO_DATA | _NESTED, data)
        self._link_new(_text(_IFLA_IFNAME, name) + _attribute(_IFLA_ADDRESS, _mac(mac))
                       + _attribute(_IFLA_LINKINFO | _NESTED, info), f"make cable {name}")

    def up(self, name: str, *, master: str = "") -> None:
        """Bring an interface up, as a port of the bridge ``master`` if given."""
        head = struct.pack("=BxHiII", 0, 0, _index(name), _IFF_UP, _IFF_UP)
        body = _attribute(_IFLA_MASTER, struct.pack("=I", _index(master))) if master else b""
        self._call(_NEWLINK, 0, head + body, f"bring up {name}")

    def hairpin(self, name: str) -> None:
        """Let a bridge port send a frame back where it came from: a pod that meets itself by a Service."""
        head = struct.pack("=BxHiII", _AF_BRIDGE, 0, _index(name), 0, 0)
        port = _attribute(_BRPORT_MODE, struct.pack("=B", 1))
        self._call(_SETLINK, 0, head + _attribute(_IFLA_PROTINFO | _NESTED, port), f"hairpin on {name}")

    def port(self, index: int, *, alive: bool) -> None:
        """Have the bridge port with this index forward frames, or let none in or out; its carrier stays.

        OSError ENETDOWN: the port has no carrier (yet).
        """
        head = struct.pack("=BxHiII", _AF_BRIDGE, 0, index, 0, 0)
        state = _attribute(_BRPORT_STATE, bytes([_PORT_FORWARDING if alive else _PORT_DISABLED]))
        self._call(_SETLINK, 0, head + _attribute(_IFLA_PROTINFO | _NESTED, state), f"port {index} {alive=}")

    def cable(self, index: int, *, plugged: bool) -> None:
        """Bring the interface with this index up or down; the other end of its cable loses the carrier."""
        head = struct.pack("=BxHiII", 0, 0, index, _IFF_UP if plugged else 0, _IFF_UP)
        self._call(_NEWLINK, 0, head, f"interface {index} {plugged=}")

    def delete(self, name: str) -> None:
        """Remove an interface (and with one end of a cable the other)."""
        head = struct.pack("=BxHiII", 0, 0, _index(name), 0, 0)
        self._call(_DELLINK, 0, head, f"remove {name}")

    def address(self, name: str, interface: str, *, neighbours: bool = True) -> None:
        """Give the interface an address with prefix length (``10.42.0.1/24``), usable at once.

        Without ``neighbours`` the rest of the network is not taken to be on this cable: no route for it.
        """
        given = ipaddress.ip_interface(interface)
        family = socket.AF_INET if given.version == 4 else socket.AF_INET6
        head = struct.pack("=BBBBI", family, given.network.prefixlen, 0, 0, _index(name))
        flags = (0 if given.version == 4 else _IFA_F_NODAD) | (0 if neighbours else _IFA_F_NOPREFIXROUTE)
        body = _attribute(2, given.packed) + _attribute(1, given.packed)
        body += _attribute(8, struct.pack("=I", flags))
        if given.version == 4 and given.network.prefixlen < 31:
            body += _attribute(4, given.network.broadcast_address.packed)
        self._call(_NEWADDR, _CREATE | _EXCL, head + body, f"address {interface} on {name}")

    def route(self, to: str, via: str) -> None:
        """Send ``to`` (a network, or ``default``) by the gateway ``via``."""
        gateway = ipaddress.ip_address(via)
        family = socket.AF_INET if gateway.version == 4 else socket.AF_INET6
        length, body = 0, b""
        if to != "default":
            network = ipaddress.ip_network(to)
            length, body = network.prefixlen, _attribute(1, network.network_address.packed)
        body += _attribute(5, gateway.packed)
        head = struct.pack("=BBBBBBBBI", family, length, 0, 0, 254, 3, 0, 1, 0)  # main table, boot, unicast
        self._call(_NEWROUTE, _CREATE | _REPLACE, head + body, f"route {to} via {via}")

    def on_cable(self, address: str, interface: str) -> None:
        """Say that one address is reached directly on the interface."""
        to = ipaddress.ip_address(address)
        family = socket.AF_INET if to.version == 4 else socket.AF_INET6
        head = struct.pack("=BBBBBBBBI", family, to.max_prefixlen, 0, 0, 254, 3, 253, 1, 0)  # scope link
        body = _attribute(1, to.packed)
        body += _attribute(4, struct.pack("=I", _index(interface)))
        self._call(_NEWROUTE, _CREATE | _REPLACE, head + body, f"route to {address} on {interface}")

    def _link_new(self, attributes: bytes, what: str) -> None:
        head = struct.pack("=BxHiII", 0, 0, 0, 0, 0)
        self._call(_NEWLINK, _CREATE | _EXCL, head + attributes, what)

    def _call(self, kind: int, flags: int, body: bytes, what: str) -> None:
        """Send one request and read its acknowledgement."""
        self._sequence += 1
        header = struct.pack("=IHHII", 16 + len(body), kind, _REQUEST | _ACK | flags, self._sequence, 0)
        self._socket.send(header + body)
        while True:
            answer = self._socket.recv(65536)
            _size, kind_back, _flags, sequence, _port = struct.unpack_from("=IHHII", answer)
            if kind_back == 2 and sequence == self._sequence:  # NLMSG_ERROR, also the acknowledgement
                number = -struct.unpack_from("=i", answer, 16)[0]
                if number:
                    raise OSError(number, f"{what}: {os.strerror(number)}")
                return
