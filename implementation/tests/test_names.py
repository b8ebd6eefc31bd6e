"""Chain names, against names seen on real clusters."""

import pytest

from implementation.dataplane.iptables import names
from implementation.dataplane.iptables.names import Style
from implementation.state.desired import Endpoint, ServedPort


def port(namespace: str, name: str, port_name: str, protocol: str) -> ServedPort:
    return ServedPort(namespace, name, port_name, protocol, 4, "10.43.0.5", 80)


@pytest.mark.parametrize(
    ("of", "style", "expected"),
    [
        (("ns1", "svc1", "p80", "tcp"), Style.CURRENT, "XPGD46QRK7WJZT7O"),
        (("ns2", "svc2", "p80", "tcp"), Style.CURRENT, "GNZBNJ2PO5MGZ6GT"),
        (("default", "kubernetes", "https", "tcp"), Style.CURRENT, "NPX46M4PTMTKRN6Y"),
        (("default", "kubernetes", "https", "tcp"), Style.OLD, "NPX46M4PTMTKRN6Y"),
        (("kube-system", "kube-dns", "dns", "udp"), Style.CURRENT, "TCOU7JCQXEZGVUNU"),
        (("kube-system", "kube-dns", "dns-tcp", "tcp"), Style.CURRENT, "ERIFXISQEP7F7OF4"),
        (("kube-system", "kube-dns", "metrics", "tcp"), Style.CURRENT, "JD5MR3NA4I4DYORP"),
        (("default", "foo", "", "tcp"), Style.OLD, "PUDHWSP3TSDG63YK"),
        (("default", "foo", "", "tcp"), Style.CURRENT, "2ET4SOZOXOH76MUL"),
        (("default", "nextcloud-dev-clusterip", "", "tcp"), Style.OLD, "WNPCWQYGSYD7A5N6"),
        (("demo", "web", "http", "tcp"), Style.CURRENT, "XRY76EGRC3BSCIIJ"),
    ],
)
def test_service_chains_have_the_names_seen_on_real_nodes(
    of: tuple[str, str, str, str],
    style: Style,
    expected: str,
) -> None:
    for kind in ("SVC", "SVL", "EXT", "FW"):
        assert f"KUBE-{kind}-{expected}" == names.chain(kind, port(*of), style)


@pytest.mark.parametrize(
    ("of", "style", "endpoint", "expected"),
    [
        (("ns1", "svc1", "p80", "tcp"), Style.CURRENT, ("10.180.0.1", 80), "SXIVWICOYRO3J4NJ"),
        (("demo", "web", "http", "tcp"), Style.CURRENT, ("10.244.1.10", 8080), "SI62D7XAGVO2CP3X"),
        (("demo", "web", "http", "tcp"), Style.CURRENT, ("10.244.2.20", 8080), "EDPRHQMK3QKBXSQ4"),
        (
            ("default", "nextcloud-dev-clusterip", "", "tcp"),
            Style.OLD,
            ("10.42.0.85", 80),
            "REGCNUNS5RWEMTHB",
        ),
        (
            ("default", "nextcloud-dev-clusterip", "", "tcp"),
            Style.OLD,
            ("10.42.1.170", 80),
            "AB7UW27KCQCMC3UG",
        ),
    ],
)
def test_endpoint_chains_have_the_names_seen_on_real_nodes(
    of: tuple[str, str, str, str],
    style: Style,
    endpoint: tuple[str, int],
    expected: str,
) -> None:
    assert f"KUBE-SEP-{expected}" == names.endpoint_chain(port(*of), Endpoint(*endpoint), style)


def test_an_ipv6_endpoint_is_hashed_with_brackets() -> None:
    assert Endpoint("fd00::1", 80).target == "[fd00::1]:80"


def test_every_name_fits_the_kernels_28_characters() -> None:
    assert all(
        len(names.chain(kind, port("a" * 63, "b" * 63, "c" * 15, "sctp"), Style.OLD)) <= 28
        for kind in ("SVC", "SVL", "EXT", "FW")
    )
