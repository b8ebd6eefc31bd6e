"""Who is where: hosts, addresses and networks of the seed's LAN. Pure; see the table in ``topology``."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from clusters.base import ClusterError

LAN = "192.168.2.0/24"
CONTROL_PLANE = "192.168.2.2"
ROUTER = "192.168.2.1"
OUTSIDE = "192.168.2.50"
FAR_NETWORK, FAR_GATEWAY, FAR_HOST = "198.51.100.0/24", "198.51.100.1", "198.51.100.10"
CLUSTER_CIDR, CLUSTER_CIDR_6 = "10.42.0.0/16", "fd00:10:42::/48"
SERVICE_CIDR, SERVICE_CIDR_6 = "10.43.0.0/16", "fd00:10:43::/112"
API_SERVICE, DNS_SERVICE = "10.43.0.1", "10.43.0.10"
MOST_NODES = 20  # .114 upward, below the seed's load balancer pool that begins at .200
API_SERVER = "clusters.apiserver.http:main"
DNS_SERVER = "clusters.dns.server:main"
_FIRST_NODE = 114
_ENTRY = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+:[A-Za-z_]\w*", re.ASCII)
_OPTIONS = ("seed, servicelb, dual, nodes=N, node-grace=SECONDS, apiserver=MODULE:FUNCTION, "
            "dns=MODULE:FUNCTION, control-plane=real and bin-dir=FOLDER")
_FORMS = "netns://, netns://2-nodes, or with options netns://?seed&nodes=3"


@dataclass(frozen=True)
class NodePlan:
    """One node: its place in the list (from 0), LAN addresses and pod networks, one a family, IPv4 first."""

    index: int
    name: str
    addresses: tuple[str, ...]
    pod_cidrs: tuple[str, ...]

    @property
    def address(self) -> str:
        """The IPv4 address on the LAN."""
        return self.addresses[0]

    @property
    def gateway(self) -> str:
        """The node's own IPv4 address on its pod bridge: the first of the pod network."""
        return str(ipaddress.ip_network(self.pod_cidrs[0])[1])


@dataclass(frozen=True)
class Options:
    """What a ``netns://`` URL asks for."""

    nodes: int = 3
    seed: bool = False
    dual: bool = False  # both address families, IPv4 first
    servicelb: bool = False  # run an imitation of k3s's ServiceLB
    apiserver: str = API_SERVER  # module:function that is run as the API server
    dns: str = DNS_SERVER  # the same of the cluster DNS
    real: bool = False  # etcd, kube-apiserver, kube-controller-manager and kube-scheduler instead of our own
    bin_dir: str = ""  # folder of real programs; empty: the usual places
    node_grace: float = 40.0  # seconds without a heartbeat until a node is NotReady; 40 as in Kubernetes


def parse(url: str) -> Options:
    """The options in a ``netns://`` URL; ClusterError says which part is wrong and what is allowed."""
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise ClusterError(f"{url}: not a URL ({error}); write {_FORMS}") from error
    sizes = _size(url, parts.netloc)
    if parts.path not in ("", "/") or parts.fragment:
        raise ClusterError(f"{url}: nothing may stand after the size but ?options; write {_FORMS}")
    found: dict[str, Any] = {}
    for name, value in parse_qsl(parts.query, keep_blank_values=True):
        if name == "nodes":
            sizes.append(_count(url, value))
        elif name in _VALUES:
            field, read = _VALUES[name]
            found[field] = read(url, value)
        elif name not in ("seed", "servicelb", "dual"):
            raise ClusterError(f"{url}: unknown option {name!r}; the options are {_OPTIONS}")
        elif _flag(url, name, value):
            found[name] = True
    if len(set(sizes)) > 1:
        raise ClusterError(f"{url}: the number of nodes is given twice; keep one of them")
    nodes = sizes[0] if sizes else 3
    if not 1 <= nodes <= MOST_NODES:
        raise ClusterError(f"{url}: {nodes} nodes; between 1 and {MOST_NODES} are possible")
    if found.get("real"):
        _only_embedded(url, found)
    if found.get("servicelb") and found.get("dual"):
        raise ClusterError(f"{url}: servicelb and dual: the imitation forwards IPv4 only; leave out one")
    return Options(nodes, **found)


def _only_embedded(url: str, found: dict[str, Any]) -> None:
    """Refuse what a real control plane cannot be asked for."""
    for name, why in (("seed", "the post's addresses are kept by the embedded API server"),
                      ("servicelb", "ServiceLB's imitation is one of the embedded controllers"),
                      ("apiserver", "the API server is kube-apiserver then")):
        if found.get(name):
            raise ClusterError(f"{url}: {name} and control-plane=real: {why}; leave out one of them")


def _entry(name: str, url: str, text: str) -> str:
    """The name of a function that can be loaded where the API server or the DNS is started."""
    if _ENTRY.fullmatch(text):
        return text
    usual = {"apiserver": API_SERVER, "dns": DNS_SERVER}[name]
    raise ClusterError(f"{url}: {name}={text} names no function; write package.module:function, "
                       f"{usual} for example")


def _size(url: str, text: str) -> list[int]:
    """The size that stands where a host stands in other URLs, if one does."""
    if not text:
        return []
    if found := re.fullmatch(r"([0-9]{1,4})-nodes?", text):
        return [int(found[1])]
    raise ClusterError(f"{url}: {text!r} is not a size such as 3-nodes; write {_FORMS}")


def _plane(url: str, text: str) -> bool:
    if text not in ("real", "embedded"):
        raise ClusterError(f"{url}: control-plane={text}; write control-plane=real or control-plane=embedded")
    return text == "real"


def _count(url: str, text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,4}", text):
        raise ClusterError(f"{url}: nodes={text} is not a whole number; write nodes=3, for example")
    return int(text)


def _seconds(url: str, text: str) -> float:
    if re.fullmatch(r"[0-9]{1,5}(\.[0-9]{1,3})?", text) and float(text) >= 1:
        return float(text)
    raise ClusterError(f"{url}: node-grace={text}; write seconds, 1 at least, node-grace=40 for example")


def _flag(url: str, name: str, value: str) -> bool:
    if value in ("", "1", "true"):
        return True
    if value in ("0", "false"):
        return False
    raise ClusterError(f"{url}: {name}={value}; write {name} alone, {name}=true or {name}=false")


# Options with a value: the field of Options each is for, and how it is read.
_VALUES: dict[str, tuple[str, Callable[[str, str], Any]]] = {
    "apiserver": ("apiserver", partial(_entry, "apiserver")), "dns": ("dns", partial(_entry, "dns")),
    "node-grace": ("node_grace", _seconds),
    "control-plane": ("real", _plane), "bin-dir": ("bin_dir", lambda _url, text: text),
}


def node_plans(count: int, *, dual: bool = False) -> list[NodePlan]:
    """The nodes of the seed's cluster: one master, then workers, numbered through."""
    plans = []
    for index in range(count):
        role = "master" if index == 0 else "worker"
        name = f"k3s-{role}-rpi{index + 1:03d}"
        addresses = of_families(f"192.168.2.{_FIRST_NODE + index}", dual)
        pods = tuple(f"{first}/{length}" for first, length in
                     zip(of_families(f"10.42.{index}.0", dual), (24, 64), strict=False))
        plans.append(NodePlan(index, name, addresses, pods))
    return plans


def twin(address: str) -> str:
    """The IPv6 address of who has this IPv4 one: 192.168.2.114 is fd00:192:168:2::114, digit for digit."""
    network, _, number = address.rpartition(".")
    return str(ipaddress.ip_address(f"fd00:{network.replace('.', ':')}::{number}"))


def of_families(address: str, dual: bool) -> tuple[str, ...]:
    """A host's addresses by its IPv4 one: that, and with ``dual`` its twin."""
    return (address, twin(address)) if dual else (address,)


def link_local(address: str) -> str:
    """The link-local address beside a twin, from which a router asks who has an IPv6 address."""
    return "fe80::" + address.replace(".", ":")


def networks(dual: bool) -> tuple[str, str]:
    """Pod and Service networks as Kubernetes' options want them, ``IPv4,IPv6`` with both families."""
    both = f"{CLUSTER_CIDR},{CLUSTER_CIDR_6}", f"{SERVICE_CIDR},{SERVICE_CIDR_6}"
    return both if dual else (CLUSTER_CIDR, SERVICE_CIDR)
