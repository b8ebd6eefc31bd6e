"""What a name of the cluster means. Pure: Services, slices and a question in, records out.

Rules: "Kubernetes DNS-Based Service Discovery" 1.1.0, and CoreDNS's kubernetes plug-in where that is silent:
TTL 5, dashed addresses for endpoints without a hostname, pod names from dashed addresses.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from clusters.dns.directory import Directory, Object, Place

TTL = 5
NOERROR, NXDOMAIN, REFUSED = 0, 3, 5
SCHEMA_VERSION = "1.1.0"
_PROTOCOLS = ("_tcp", "_udp", "_sctp")
_LONGEST_CHAIN = 8  # CNAMEs followed within the cluster; a ring of ExternalNames ends here


@dataclass(frozen=True)
class Record:
    """One resource record; ``data`` is text: an address, a name, or ``priority weight port target``."""

    name: str  # without the final dot
    kind: str
    data: str


Rows = list[tuple[str, str, list[Record]]]  # kind, data, and what goes into the additional section


@dataclass
class Answer:
    """What is said to one question; ``authority`` holds the SOA of a name or type that is not there."""

    code: int = NOERROR
    records: list[Record] = field(default_factory=list)
    authority: list[Record] = field(default_factory=list)
    additional: list[Record] = field(default_factory=list)


class Zone:
    """The names of one cluster domain."""

    def __init__(self, directory: Directory, domain: str = "cluster.local") -> None:
        self.directory = directory
        self.domain = domain.strip(".").lower()
        self._tail = self.domain.split(".")

    def answer(self, name: str, kind: str) -> Answer:
        """The answer to one question; ``name`` with or without its final dot, in any case of letters."""
        asked = name.rstrip(".")
        labels = asked.lower().split(".")
        if labels[-2:] in (["in-addr", "arpa"], ["ip6", "arpa"]):
            return self._reverse(asked, labels, kind)
        if not self._inside(labels):
            return Answer(REFUSED)
        found = Answer()
        if self._follow(asked, kind, found, 0):
            if not found.records:
                found.authority.append(self._soa())
        elif not found.records:
            found.code = NXDOMAIN
            found.authority.append(self._soa())
        return found

    def _inside(self, labels: Sequence[str]) -> bool:
        return list(labels[-len(self._tail):]) == self._tail

    def _follow(self, asked: str, kind: str, found: Answer, depth: int) -> bool:
        """Add the records of a name, and of what a CNAME leads to in this zone; False: no such name."""
        labels = asked.lower().split(".")[:-len(self._tail)]
        rows = self._rows(labels)
        if rows is None:
            return False
        for row_kind, data, extra in rows:
            if row_kind == "CNAME":
                found.records.append(Record(asked, "CNAME", data))
                target = data.rstrip(".")
                if kind != "CNAME" and depth < _LONGEST_CHAIN and self._inside(target.lower().split(".")):
                    self._follow(target, kind, found, depth + 1)
            elif kind in (row_kind, "ANY"):
                found.records.append(Record(asked, row_kind, data))
                found.additional += [record for record in extra if record not in found.additional]
        return True

    def _rows(self, labels: list[str]) -> Rows | None:
        """Kind, data and additional records of a name given by its labels below the domain; None: no name."""
        found: Rows | None = None
        match labels:
            case [] | ["dns-version"] | ["ns", "dns"] | ["dns"] | ["svc"] | ["pod"]:
                found = self._fixed(".".join(labels))
            case [namespace, "svc" | "pod"]:
                found = [] if self.directory.has_namespace(namespace) else None
            case [dashed, namespace, "pod"]:
                found = self._pod(dashed, namespace)
            case [*front, service, namespace, "svc"]:
                found = self._service(front, (namespace, service))
        return found

    def _fixed(self, name: str) -> Rows:
        """The names every cluster has: the zone itself, its version, its name server, and what is between."""
        service = self.directory.service(("kube-system", "kube-dns"))
        rows: dict[str, Rows] = {
            "": [("SOA", self._soa().data, []), ("NS", f"ns.dns.{self.domain}", [])],
            "dns-version": [("TXT", SCHEMA_VERSION, [])],
            "ns.dns": list(_addresses(_cluster_ips(service))),
        }
        return rows.get(name, [])

    def _pod(self, dashed: str, namespace: str) -> Rows | None:
        """``10-42-0-85.default.pod``: the address the name itself holds (CoreDNS: ``pods insecure``)."""
        if not self.directory.has_namespace(namespace):
            return None
        for text in (dashed.replace("-", "."), dashed.replace("-", ":")):
            try:
                return list(_addresses([str(ipaddress.ip_address(text))]))
            except ValueError:
                continue
        return None

    def _service(self, front: list[str], place: Place) -> Rows | None:
        service = self.directory.service(place)
        if service is None:
            return None
        spec, base = service.get("spec") or {}, f"{place[1]}.{place[0]}.svc.{self.domain}"
        if spec.get("type") == "ExternalName":
            return None if front else [("CNAME", str(spec.get("externalName") or "").rstrip("."), [])]
        found: Rows | None = None
        match front:
            case []:
                found = self._whole(service, place, base)
            case [proto] if proto in _PROTOCOLS:
                found = [] if any(row[0][1] == proto for row in self._ports(service, place, base)) else None
            case [port, proto] if proto in _PROTOCOLS:
                found = _weighted([rest for name, rest in self._ports(service, place, base)
                                   if name == (port, proto)]) or None
            case [host]:
                ips = [ip for endpoint in self.directory.endpoints(place)
                       if hostname(endpoint) == host for ip in endpoint["addresses"]]
                found = list(_addresses(ips)) or None
        return found

    def _whole(self, service: Object, place: Place, base: str) -> Rows:
        """The Service's own name: its addresses, or its endpoints' when it is headless; SRV of every port."""
        if is_headless(service):
            ips = [ip for endpoint in self.directory.endpoints(place) for ip in endpoint["addresses"]]
        else:
            ips = _cluster_ips(service)
        return [*_addresses(ips), *_weighted([row for _, row in self._ports(service, place, base)])]

    def _ports(
        self, service: Object, place: Place, base: str,
    ) -> Iterator[tuple[tuple[str, str], tuple[int, str, list[Record]]]]:
        """Each named port: (``_name``, ``_proto``), then number, target and the target's addresses."""
        if not is_headless(service):
            extra = [Record(base, kind, ip) for kind, ip, _ in _addresses(_cluster_ips(service))]
            for port in (service.get("spec") or {}).get("ports") or ():
                if port.get("name"):
                    yield _port_labels(port), (port["port"], base, extra)
            return
        for endpoint, port in self.directory.endpoint_ports(place):
            if port.get("name") and port.get("port"):
                target = f"{hostname(endpoint)}.{base}"
                extra = [Record(target, kind, ip) for kind, ip, _ in _addresses(endpoint["addresses"])]
                yield _port_labels(port), (port["port"], target, extra)

    def _reverse(self, asked: str, labels: list[str], kind: str) -> Answer:
        """PTR: a Service by its address; else every endpoint that has it, under its own name."""
        address = reverse_address(labels)
        names = [f"{name}.{space}.svc.{self.domain}" for space, name in self.directory.by_cluster_ip(address)]
        if not names:
            names = [f"{hostname(endpoint)}.{name}.{space}.svc.{self.domain}"
                     for (space, name), endpoint in self.directory.by_endpoint_ip(address)]
        soa = [Record(".".join(labels[-2:]), "SOA", self._soa().data)]
        if not names:
            return Answer(NXDOMAIN, authority=soa)
        if kind not in ("PTR", "ANY"):
            return Answer(authority=soa)
        return Answer(records=[Record(asked, "PTR", name) for name in dict.fromkeys(names)])

    def _soa(self) -> Record:
        data = f"ns.dns.{self.domain} hostmaster.{self.domain} {self.directory.serial} 7200 1800 86400 {TTL}"
        return Record(self.domain, "SOA", data)


def hostname(endpoint: Object) -> str:
    """The label an endpoint has below its Service: its hostname, else its address with dashes."""
    if endpoint.get("hostname"):
        return str(endpoint["hostname"]).lower()
    return str(endpoint["addresses"][0]).replace(".", "-").replace(":", "-").lower()


def is_headless(service: Object) -> bool:
    """Whether the Service has no address of its own by choice."""
    return (service.get("spec") or {}).get("clusterIP") == "None"


def reverse_address(labels: Sequence[str]) -> str:
    """The address a reverse name stands for; empty when it stands for none."""
    digits = list(labels[:-2])
    try:
        if labels[-2] == "in-addr":
            return str(ipaddress.IPv4Address(".".join(reversed(digits))))
        if len(digits) != 32 or any(len(digit) != 1 for digit in digits):
            return ""
        return str(ipaddress.IPv6Address(int("".join(reversed(digits)), 16)))
    except ValueError:
        return ""


def _port_labels(port: Object) -> tuple[str, str]:
    return f"_{port['name']}".lower(), f"_{port.get('protocol', 'TCP')}".lower()


def _cluster_ips(service: Object | None) -> list[str]:
    spec: dict[str, Any] = (service or {}).get("spec") or {}
    ips = spec.get("clusterIPs") or [spec.get("clusterIP")]
    return [ip for ip in ips if ip and ip != "None"]


def _addresses(ips: Sequence[str]) -> Iterator[tuple[str, str, list[Record]]]:
    for ip in dict.fromkeys(ips):
        yield ("AAAA" if ":" in ip else "A"), ip, []


def _weighted(rows: Sequence[tuple[int, str, list[Record]]]) -> Rows:
    """SRV rows of equal share, once each."""
    unique = {(port, target): extra for port, target, extra in rows}
    share = max(1, 100 // len(unique)) if unique else 0
    return [("SRV", f"0 {share} {port} {target}", extra) for (port, target), extra in unique.items()]
