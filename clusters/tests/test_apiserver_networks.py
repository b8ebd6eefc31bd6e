"""ServiceCIDR and IPAddress objects follow the Services, and Services follow them."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator

import pytest

from clusters.tests.test_apiserver_fixture import (
    Server,
    eventually,
    make_service,
    refused_service,
    services,
)

pytest_plugins = ["clusters.tests.test_apiserver_fixture"]
_ROOT = "/apis/networking.k8s.io/v1"
CIDRS, ADDRESSES = f"{_ROOT}/servicecidrs", f"{_ROOT}/ipaddresses"


@pytest.fixture
def more(server: Server) -> Iterator[str]:
    """A second network for Services, removed at the end."""
    wanted = {"metadata": {"name": "more"}, "spec": {"cidrs": ["10.99.0.0/28"]}}
    server.ok("POST", CIDRS, wanted)
    yield "10.99.0.0/28"
    server.call("DELETE", f"{CIDRS}/more")


def ready(server: Server, name: str) -> tuple[str, str] | None:
    found = server.ok("GET", f"{CIDRS}/{name}").get("status", {}).get("conditions")
    return (found[0]["status"], found[0]["reason"]) if found else None


def test_the_first_network_is_there_and_ready(server: Server) -> None:
    found = server.ok("GET", f"{CIDRS}/kubernetes")
    assert found["status"]["conditions"][0]["message"] == "Kubernetes Service CIDR is ready"
    assert found["metadata"]["finalizers"] == ["networking.k8s.io/service-cidr-finalizer"]


def test_a_new_network_gives_addresses_and_stays_until_none_is_used(
    server: Server, namespace: str, more: str
) -> None:
    eventually(lambda: ready(server, "more") == ("True", ""))
    made = make_service(server, namespace, "chosen", clusterIP="10.99.0.3")
    assert made["spec"]["clusterIP"] == "10.99.0.3"
    parent = server.ok("GET", f"{ADDRESSES}/10.99.0.3")["spec"]["parentRef"]
    assert (parent["namespace"], parent["name"]) == (namespace, "chosen")
    server.ok("DELETE", f"{CIDRS}/more")
    eventually(lambda: ready(server, "more") == ("False", "Terminating"))
    server.ok("DELETE", services(namespace, "chosen"))
    eventually(lambda: server.call("GET", f"{CIDRS}/more")[0] == 404)
    told = refused_service(server, namespace, "late", clusterIP="10.99.0.3")
    assert "failed to allocate IP 10.99.0.3: the provided network does not match the current range" in told


def test_an_address_that_somebody_keeps_is_not_given_away(server: Server, namespace: str, more: str) -> None:
    eventually(lambda: ready(server, "more") == ("True", ""))
    parent = {"group": "", "resource": "services", "namespace": namespace, "name": "none"}
    server.ok("POST", ADDRESSES, {"metadata": {"name": "10.99.0.5"}, "spec": {"parentRef": parent}})
    told = refused_service(server, namespace, "kept", clusterIP="10.99.0.5")
    assert "provided IP is already allocated" in told
    server.ok("DELETE", f"{ADDRESSES}/10.99.0.5")
    made = make_service(server, namespace, "kept", clusterIP="10.99.0.5")
    assert ipaddress.ip_address(made["spec"]["clusterIP"]) in ipaddress.ip_network(more)
    server.ok("DELETE", f"{ADDRESSES}/10.99.0.5")
    eventually(lambda: server.call("GET", f"{ADDRESSES}/10.99.0.5")[0] == 200)
    server.ok("DELETE", services(namespace, "kept"))
    eventually(lambda: server.call("GET", f"{ADDRESSES}/10.99.0.5")[0] == 404)
