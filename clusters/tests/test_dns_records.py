"""What names of the cluster mean, question by question, and that any bytes on the wire are survived."""

from __future__ import annotations

from typing import Any

import dnslib
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from clusters.dns.directory import Directory
from clusters.dns.records import NOERROR, NXDOMAIN, REFUSED, TTL, Zone, reverse_address
from clusters.dns.wire import respond

Object = dict[str, Any]
DOMAIN = "cluster.local"


def service(name: str, namespace: str = "default", **spec: Any) -> Object:
    return {"metadata": {"name": name, "namespace": namespace}, "spec": spec}


def endpoint(*ips: str, ready: bool | None = True, hostname: str = "") -> Object:
    found: Object = {"addresses": list(ips), "conditions": {} if ready is None else {"ready": ready}}
    return found | ({"hostname": hostname} if hostname else {})


def piece(name: str, of: str, endpoints: list[Object], **more: Any) -> Object:
    return {
        "metadata": {"name": name, "namespace": "default", "labels": {"kubernetes.io/service-name": of}},
        "addressType": more.get("family", "IPv4"),
        "endpoints": endpoints,
        "ports": more.get("ports", [{"name": "http", "port": 8080, "protocol": "TCP"}]),
    }


PORTS = [
    {"name": "http", "port": 80, "protocol": "TCP"},
    {"name": "metrics", "port": 9153},
    {"name": "http", "port": 80, "protocol": "UDP"},
]


def directory() -> Directory:
    made = Directory()
    made.event("namespaces", "SYNC", [{"metadata": {"name": n}} for n in ("default", "kube-system")])
    made.event(
        "services",
        "SYNC",
        [
            service("web", clusterIP="10.43.7.203", clusterIPs=["10.43.7.203"], ports=PORTS),
            service("dual", clusterIP="10.43.7.4", clusterIPs=["10.43.7.4", "fd43::4"], ports=[{"port": 80}]),
            service("db", clusterIP="None", clusterIPs=["None"], ports=[{"name": "http", "port": 80}]),
            service("outside", type="ExternalName", externalName="www.example.org."),
            service("alias", type="ExternalName", externalName="web.default.svc.cluster.local"),
            service("to-alias", type="ExternalName", externalName="alias.default.svc.cluster.local"),
            service("ring", type="ExternalName", externalName="ring.default.svc.cluster.local"),
            service("lost", type="ExternalName", externalName="gone.default.svc.cluster.local"),
            service("kube-dns", "kube-system", clusterIP="10.43.0.10", clusterIPs=["10.43.0.10"]),
            service("kubernetes", clusterIP="10.43.0.1", ports=[{"name": "https", "port": 443}]),
        ],
    )
    made.event(
        "endpointslices",
        "SYNC",
        [
            piece(
                "db-1",
                "db",
                [
                    endpoint("10.42.0.5", hostname="db-0"),
                    endpoint("10.42.1.6", ready=None),
                    endpoint("10.42.1.7", ready=False),
                ],
            ),
            piece("db-2", "db", [endpoint("10.42.2.8"), endpoint("10.42.0.5", hostname="db-0")]),
            piece("db-6", "db", [endpoint("fd42::5", hostname="db-0")], family="IPv6"),
            piece("db-f", "db", [endpoint("name.example")], family="FQDN"),
            piece("web-1", "web", [endpoint("10.42.0.85")]),
        ],
    )
    return made


ZONE = Zone(directory(), DOMAIN)


def ask(name: str, kind: str, zone: Zone = ZONE) -> tuple[int, list[tuple[str, str]]]:
    found = zone.answer(name, kind)
    return found.code, [(record.kind, record.data) for record in found.records]


SVC = "default.svc.cluster.local"


@pytest.mark.parametrize(
    ("name", "kind", "expected"),
    [
        (f"web.{SVC}", "A", [("A", "10.43.7.203")]),
        (f"web.{SVC}.", "A", [("A", "10.43.7.203")]),
        (f"WEB.Default.SVC.{DOMAIN}", "A", [("A", "10.43.7.203")]),
        (f"web.{SVC}", "AAAA", []),
        (f"web.{SVC}", "TXT", []),
        (f"dual.{SVC}", "A", [("A", "10.43.7.4")]),
        (f"dual.{SVC}", "AAAA", [("AAAA", "fd43::4")]),
        (f"kubernetes.{SVC}", "A", [("A", "10.43.0.1")]),
        (f"db.{SVC}", "A", [("A", "10.42.0.5"), ("A", "10.42.1.6"), ("A", "10.42.2.8")]),
        (f"db.{SVC}", "AAAA", [("AAAA", "fd42::5")]),
        (f"db-0.db.{SVC}", "A", [("A", "10.42.0.5")]),
        (f"db-0.db.{SVC}", "AAAA", [("AAAA", "fd42::5")]),
        (f"10-42-1-6.db.{SVC}", "A", [("A", "10.42.1.6")]),
        (f"10-42-1-6.db.{SVC}", "AAAA", []),
        (f"_http._tcp.web.{SVC}", "SRV", [("SRV", f"0 100 80 web.{SVC}")]),
        (f"_http._udp.web.{SVC}", "SRV", [("SRV", f"0 100 80 web.{SVC}")]),
        (f"_METRICS._TCP.web.{SVC}", "SRV", [("SRV", f"0 100 9153 web.{SVC}")]),
        (f"_http._tcp.web.{SVC}", "A", []),
        (f"_tcp.web.{SVC}", "A", []),
        (
            f"_http._tcp.db.{SVC}",
            "SRV",
            [
                ("SRV", f"0 33 8080 db-0.db.{SVC}"),
                ("SRV", f"0 33 8080 10-42-1-6.db.{SVC}"),
                ("SRV", f"0 33 8080 10-42-2-8.db.{SVC}"),
            ],
        ),
        (f"outside.{SVC}", "A", [("CNAME", "www.example.org")]),
        (f"outside.{SVC}", "CNAME", [("CNAME", "www.example.org")]),
        (f"alias.{SVC}", "A", [("CNAME", f"web.{SVC}"), ("A", "10.43.7.203")]),
        (f"to-alias.{SVC}", "A", [("CNAME", f"alias.{SVC}"), ("CNAME", f"web.{SVC}"), ("A", "10.43.7.203")]),
        (f"lost.{SVC}", "A", [("CNAME", f"gone.{SVC}")]),
        ("203.7.43.10.in-addr.arpa", "PTR", [("PTR", f"web.{SVC}")]),
        ("5.0.42.10.IN-ADDR.ARPA.", "PTR", [("PTR", f"db-0.db.{SVC}")]),
        ("85.0.42.10.in-addr.arpa", "PTR", [("PTR", f"10-42-0-85.web.{SVC}")]),
        ("203.7.43.10.in-addr.arpa", "A", []),
        ("4." + "0." * 27 + "3.4.d.f.ip6.arpa", "PTR", [("PTR", f"dual.{SVC}")]),
        ("10-42-0-85.default.pod.cluster.local", "A", [("A", "10.42.0.85")]),
        ("fd42--5.default.pod.cluster.local", "AAAA", [("AAAA", "fd42::5")]),
        ("dns-version.cluster.local", "TXT", [("TXT", "1.1.0")]),
        ("ns.dns.cluster.local", "A", [("A", "10.43.0.10")]),
        (DOMAIN, "NS", [("NS", "ns.dns.cluster.local")]),
        (SVC, "A", []),
        ("svc.cluster.local", "A", []),
        ("default.pod.cluster.local", "A", []),
        (DOMAIN, "A", []),
    ],
)
def test_names_that_are_there(name: str, kind: str, expected: list[tuple[str, str]]) -> None:
    assert ask(name, kind) == (NOERROR, expected)
    if not expected:
        assert [record.kind for record in ZONE.answer(name, kind).authority] == ["SOA"]


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        (f"nope.{SVC}", "A"),
        ("web.other.svc.cluster.local", "A"),
        ("other.svc.cluster.local", "A"),
        (f"_nope._tcp.web.{SVC}", "SRV"),
        (f"_http._sctp.web.{SVC}", "SRV"),
        (f"_sctp.web.{SVC}", "A"),
        (f"db-1.db.{SVC}", "A"),
        (f"10-42-1-7.db.{SVC}", "A"),
        (f"a.b.c.web.{SVC}", "A"),
        (f"x.outside.{SVC}", "A"),
        ("9.9.43.10.in-addr.arpa", "PTR"),
        ("x.in-addr.arpa", "PTR"),
        ("in-addr.arpa", "PTR"),
        ("1.ip6.arpa", "PTR"),
        ("7.1.42.10.in-addr.arpa", "PTR"),
        ("10-42-0.default.pod.cluster.local", "A"),
        ("10-42-0-85.other.pod.cluster.local", "A"),
        ("what.cluster.local", "A"),
        (f"web..{SVC}", "A"),
        (f".web.{SVC}", "A"),
    ],
)
def test_names_that_are_not_there_come_with_the_zones_authority(name: str, kind: str) -> None:
    found = ZONE.answer(name, kind)
    assert (found.code, found.records) == (NXDOMAIN, [])
    assert [record.kind for record in found.authority] == ["SOA"]


@pytest.mark.parametrize("name", ["example.org", "local", "", ".", "cluster.local.example", "acluster.local"])
def test_names_of_others_are_refused(name: str) -> None:
    assert ask(name, "A") == (REFUSED, [])


def test_a_ring_of_external_names_ends() -> None:
    code, rows = ask(f"ring.{SVC}", "A")
    assert code == NOERROR
    assert 1 <= len(rows) <= 10


def test_srv_answers_bring_the_addresses_of_their_targets() -> None:
    extra = [(r.name, r.kind, r.data) for r in ZONE.answer(f"_http._tcp.web.{SVC}", "SRV").additional]
    assert extra == [(f"web.{SVC}", "A", "10.43.7.203")]
    names = {r.name for r in ZONE.answer(f"_http._tcp.db.{SVC}", "SRV").additional}
    assert names == {f"db-0.db.{SVC}", f"10-42-1-6.db.{SVC}", f"10-42-2-8.db.{SVC}"}


def test_names_follow_every_change() -> None:
    held = directory()
    zone = Zone(held, DOMAIN)
    before = held.serial
    held.event("services", "DELETED", service("web"))
    assert held.serial > before
    assert ask(f"web.{SVC}", "A", zone) == (NXDOMAIN, [])
    assert ask("203.7.43.10.in-addr.arpa", "PTR", zone)[0] == NXDOMAIN
    held.event("services", "ADDED", service("web", clusterIP="10.43.1.1"))
    assert ask(f"web.{SVC}", "A", zone) == (NOERROR, [("A", "10.43.1.1")])
    held.event("services", "MODIFIED", service("web", type="ExternalName", externalName="e.org"))
    assert ask(f"web.{SVC}", "A", zone) == (NOERROR, [("CNAME", "e.org")])
    assert ask("1.1.43.10.in-addr.arpa", "PTR", zone)[0] == NXDOMAIN
    held.event("endpointslices", "MODIFIED", piece("db-1", "db", [endpoint("10.42.3.3")]))
    held.event("endpointslices", "DELETED", piece("db-2", "db", []))
    held.event("endpointslices", "DELETED", piece("never-there", "db", []))
    assert ask(f"db.{SVC}", "A", zone) == (NOERROR, [("A", "10.42.3.3")])
    assert ask("5.0.42.10.in-addr.arpa", "PTR", zone)[0] == NXDOMAIN
    held.event("endpointslices", "SYNC", [])
    assert ask(f"db.{SVC}", "A", zone) == (NOERROR, [])
    held.event("namespaces", "DELETED", {"metadata": {"name": "default"}})
    assert ask(SVC, "A", zone)[0] == NXDOMAIN
    held.event("services", "SYNC", [])
    assert ask("10.0.43.10.in-addr.arpa", "PTR", zone)[0] == NXDOMAIN


def test_a_slice_that_changes_its_service_leaves_the_first() -> None:
    held = directory()
    held.event("endpointslices", "MODIFIED", piece("db-1", "web", [endpoint("10.42.0.5")]))
    assert [e["addresses"] for e in held.endpoints(("default", "web"))] == [["10.42.0.85"], ["10.42.0.5"]]
    assert len(held.endpoints(("default", "db"))) == 3
    held.event("endpointslices", "MODIFIED", {"metadata": {"name": "db-1", "namespace": "default"}})
    assert len(held.endpoints(("default", "web"))) == 1


def exchange(name: str, kind: str = "A", *, size: int | None = None, tcp: bool = False, **flags: Any) -> Any:
    query = dnslib.DNSRecord.question(name, kind)
    if size is not None:
        query.add_ar(dnslib.EDNS0(udp_len=size, version=flags.get("version", 0)))
    data = respond(query.pack(), flags.get("zone", ZONE), tcp=tcp)
    assert data is not None
    parsed = dnslib.DNSRecord.parse(data)
    assert parsed.header.id == query.header.id
    return parsed, len(data)


def test_an_answer_on_the_wire_has_its_question_flags_and_ttl() -> None:
    parsed, _ = exchange(f"Web.{SVC}")
    assert (parsed.header.qr, parsed.header.aa, parsed.header.rd, parsed.header.tc) == (1, 1, 1, 0)
    assert str(parsed.q.qname) == f"Web.{SVC}."
    assert [(str(r.rname), r.ttl, str(r.rdata)) for r in parsed.rr] == [(f"Web.{SVC}.", TTL, "10.43.7.203")]
    refused, _ = exchange("example.org")
    assert (refused.header.rcode, refused.header.aa) == (REFUSED, 0)
    for name, kind in (
        (f"_http._tcp.web.{SVC}", "SRV"),
        ("dns-version.cluster.local", "TXT"),
        (DOMAIN, "SOA"),
        (DOMAIN, "NS"),
        (f"outside.{SVC}", "CNAME"),
        ("203.7.43.10.in-addr.arpa", "PTR"),
        (f"dual.{SVC}", "AAAA"),
    ):
        assert len(exchange(name, kind)[0].rr) == 1


def many(count: int) -> Zone:
    held = directory()
    held.event(
        "endpointslices",
        "SYNC",
        [
            piece(f"db-{at}", "db", [endpoint(f"10.42.{at}.{n + 1}") for n in range(100)])
            for at in range(count // 100)
        ],
    )
    return Zone(held, DOMAIN)


def test_too_many_records_are_cut_on_udp_and_whole_on_tcp() -> None:
    zone = many(500)
    small, length = exchange(f"db.{SVC}", zone=zone)
    assert small.header.tc == 1
    assert length <= 512
    assert len(small.rr) >= 20
    large, length = exchange(f"db.{SVC}", zone=zone, size=1232)
    assert large.header.tc == 1
    assert len(small.rr) < len(large.rr) < 500
    assert length <= 1232
    assert [r.rtype for r in large.ar] == [dnslib.QTYPE.OPT]
    capped, length = exchange(f"db.{SVC}", zone=zone, size=65000)
    assert (capped.header.tc, length <= 4096) == (1, True)
    whole, _ = exchange(f"db.{SVC}", zone=zone, tcp=True)
    assert (whole.header.tc, len(whole.rr)) == (0, 500)
    srv, _ = exchange(f"_http._tcp.db.{SVC}", "SRV", zone=zone, tcp=True)
    assert len(srv.rr) == 500


def test_additional_records_give_way_before_answers_do() -> None:
    held = directory()
    held.event(
        "endpointslices",
        "SYNC",
        [piece("db-1", "db", [endpoint(f"10.42.0.{n}", hostname=f"host-{n}") for n in range(1, 8)])],
    )
    parsed, length = exchange(f"_http._tcp.db.{SVC}", "SRV", zone=Zone(held, DOMAIN))
    assert (parsed.header.tc, len(parsed.rr), parsed.ar) == (0, 7, [])
    assert length <= 512


def test_an_edns_version_of_the_future_is_refused_as_such() -> None:
    parsed, _ = exchange(f"web.{SVC}", size=1232, version=1)
    assert parsed.rr == []
    assert parsed.ar[0].ttl >> 24 == 1


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda q: bytes([*q[:2], q[2] | 0x28, *q[3:]]), 4),  # opcode UPDATE
        (lambda q: q[:12], 1),  # a question is announced and missing
        (lambda q: q[:4] + b"\x00\x00" + q[6:12], 1),
        (lambda q: q[:4] + b"\x00\x02" + q[6:] + q[12:], 1),
        (lambda q: q[:-2] + b"\x00\x03", 5),  # class CHAOS
        (lambda q: q[:12] + b"\xc0\x0c" + q[-4:], 1),  # a name that points at itself
    ],
)
def test_messages_that_cannot_be_served_are_told_so(change: Any, code: int) -> None:
    query = dnslib.DNSRecord.question(f"web.{SVC}").pack()
    data = respond(change(bytes(query)), ZONE)
    assert data is not None
    assert data[:2] == query[:2]
    assert data[2] & 0x80
    assert data[3] & 0xF == code


def test_answers_and_scraps_are_not_answered() -> None:
    answer = dnslib.DNSRecord.question("a.b").reply().pack()
    assert respond(answer, ZONE) is None
    assert respond(b"", ZONE) is None
    assert respond(b"\x00" * 11, ZONE) is None


HEADERS = st.builds(
    lambda number, flags, counts: number + flags + counts,
    st.binary(min_size=2, max_size=2),
    st.sampled_from([b"\x01\x00", b"\x00\x00", b"\x01\x20"]),
    st.sampled_from([b"\x00\x01" + bytes(6), b"\x00\x01" + bytes(5) + b"\x01", bytes(8)]),
)
LABELS = st.lists(
    st.one_of(
        st.binary(min_size=1, max_size=63),
        st.sampled_from(
            [
                b"web",
                b"default",
                b"svc",
                b"cluster",
                b"local",
                b"db",
                b"_tcp",
                b"_http",
                b"in-addr",
                b"arpa",
                b"a.b",
            ]
        ),
    ),
    max_size=8,
)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=600), st.booleans())
@example(bytes(12), False)
def test_any_bytes_give_an_answer_or_nothing(data: bytes, tcp: bool) -> None:
    check(data, respond(data, ZONE, tcp=tcp), tcp)


@settings(max_examples=400, deadline=None)
@given(HEADERS, LABELS, st.integers(0, 65535), st.binary(max_size=40), st.booleans())
def test_any_name_and_type_give_an_answer(
    header: bytes,
    labels: list[bytes],
    kind: int,
    rest: bytes,
    inside: bool,
) -> None:
    tail = [b"default", b"svc", b"cluster", b"local"] if inside else []
    name = b"".join(bytes([len(label)]) + label for label in [*labels, *tail]) + b"\0"
    data = header + name + kind.to_bytes(2, "big") + b"\0\x01" + rest
    check(data, respond(data, ZONE), False)


def check(data: bytes, answer: bytes | None, tcp: bool) -> None:
    if answer is None:
        assert len(data) < 12 or data[2] & 0x80
        return
    assert answer[:2] == data[:2]
    assert answer[2] & 0x80
    assert tcp or len(answer) <= 4096
    dnslib.DNSHeader.parse(dnslib.DNSBuffer(answer))


@given(st.lists(st.text(max_size=5), max_size=40), st.sampled_from(["in-addr", "ip6"]))
def test_any_reverse_name_is_an_address_or_nothing(labels: list[str], tree: str) -> None:
    assert isinstance(reverse_address([*labels, tree, "arpa"]), str)
