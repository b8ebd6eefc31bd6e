"""Acceptance list, Services: their defaults and numbers, given, kept and given back."""

from __future__ import annotations

import ipaddress
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from clusters.tests.test_apiserver_fixture import (
    Server,
    free_port,
    make_service,
    refused_service,
    service,
    services,
    started,
)

pytest_plugins = ["clusters.tests.test_apiserver_fixture"]

MERGE = "application/merge-patch+json"
RANGE = "provided port is not in the valid range. The range of valid ports is 30000-32767"


def test_defaults_of_a_cluster_ip_service(server: Server, namespace: str) -> None:
    spec = make_service(server, namespace, selector={"app": "x"})["spec"]
    address = spec.pop("clusterIP")
    ipaddress.ip_address(address)
    assert spec == {
        "type": "ClusterIP",
        "sessionAffinity": "None",
        "internalTrafficPolicy": "Cluster",
        "selector": {"app": "x"},
        "ports": [{"port": 80, "protocol": "TCP", "targetPort": 80}],
        "clusterIPs": [address],
        "ipFamilies": ["IPv4"],
        "ipFamilyPolicy": "SingleStack",
    }


def test_defaults_of_the_other_types(server: Server, namespace: str) -> None:
    node = make_service(server, namespace, "node", type="NodePort")["spec"]
    assert node["externalTrafficPolicy"] == "Cluster"
    assert 30000 <= node["ports"][0]["nodePort"] <= 32767
    balanced = make_service(server, namespace, "lb", type="LoadBalancer")["spec"]
    assert balanced["allocateLoadBalancerNodePorts"] is True and balanced["ports"][0]["nodePort"]
    bare = make_service(server, namespace, "bare", type="LoadBalancer", allocateLoadBalancerNodePorts=False)[
        "spec"
    ]
    assert "nodePort" not in bare["ports"][0] and bare["allocateLoadBalancerNodePorts"] is False
    external = make_service(server, namespace, "ext", [], type="ExternalName", externalName="example.com.")[
        "spec"
    ]
    assert external == {"type": "ExternalName", "externalName": "example.com.", "sessionAffinity": "None"}
    sticky = make_service(server, namespace, "sticky", sessionAffinity="ClientIP")["spec"]
    assert sticky["sessionAffinityConfig"] == {"clientIP": {"timeoutSeconds": 10800}}


def test_headless_services_have_no_address(server: Server, namespace: str) -> None:
    spec = make_service(server, namespace, "head", clusterIP="None", selector={"a": "b"})["spec"]
    assert (spec["clusterIP"], spec["clusterIPs"], spec["ipFamilyPolicy"]) == (
        "None",
        ["None"],
        "SingleStack",
    )
    spec = make_service(server, namespace, "hand", [], clusterIP="None")["spec"]
    assert (spec["ipFamilies"], spec["ipFamilyPolicy"]) == (["IPv4", "IPv6"], "RequireDualStack")
    assert refused_service(server, namespace, "bad", clusterIP="None", type="NodePort") == (
        "spec.clusterIPs[0]: Invalid value: \"None\": may not be set to 'None' for NodePort services"
    )


def test_failed_create_gives_back_what_it_took(server: Server, namespace: str) -> None:
    port = free_port(server, namespace)
    assert "must be between 1 and 65535, inclusive" in refused_service(
        server,
        namespace,
        "bad",
        [{"port": 80, "nodePort": port, "name": "a"}, {"port": 0, "name": "b"}],
        type="NodePort",
    )
    assert make_service(server, namespace, "good", [{"port": 80, "nodePort": port}], type="NodePort")


def test_tcp_and_udp_of_one_port_share_a_node_port(server: Server, namespace: str) -> None:
    both = [{"name": "t", "port": 53, "protocol": "TCP"}, {"name": "u", "port": 53, "protocol": "UDP"}]
    given = [
        port["nodePort"]
        for port in make_service(server, namespace, "any", both, type="NodePort")["spec"]["ports"]
    ]
    assert given[0] == given[1]
    wanted = free_port(server, namespace)
    asked = [{**port, "nodePort": wanted} for port in both]
    assert (
        make_service(server, namespace, "asked", asked, type="NodePort")["spec"]["ports"][1]["nodePort"]
        == wanted
    )
    other = free_port(server, namespace)
    assert refused_service(
        server,
        namespace,
        "twice",
        [{"name": "a", "port": 80, "nodePort": other}, {"name": "b", "port": 81, "nodePort": other}],
        type="NodePort",
    ) == (f"spec.ports[1].nodePort: Invalid value: {other}: provided port is already allocated")


def test_put_of_the_first_manifest_keeps_the_numbers(server: Server, namespace: str) -> None:
    manifest = service(type="LoadBalancer", externalTrafficPolicy="Local")
    made = server.ok("POST", services(namespace), manifest)
    manifest["spec"]["selector"] = {"new": "one"}
    changed = server.ok("PUT", services(namespace, "svc"), manifest)
    for field in ("clusterIP", "clusterIPs", "ports", "healthCheckNodePort"):
        assert changed["spec"][field] == made["spec"][field]
    assert 30000 <= changed["spec"]["healthCheckNodePort"] <= 32767


def test_node_port_of_an_update_is_checked_and_moved(server: Server, namespace: str) -> None:
    old = make_service(server, namespace, type="NodePort")["spec"]["ports"][0]["nodePort"]
    path = services(namespace, "svc")
    patch = [{"op": "replace", "path": "/spec/ports/0/nodePort", "value": 29999}]
    assert server.refused("PATCH", path, patch, "application/json-patch+json")[2].endswith(RANGE)
    new = free_port(server, namespace)
    patch[0]["value"] = new
    assert (
        server.ok("PATCH", path, patch, "application/json-patch+json")["spec"]["ports"][0]["nodePort"] == new
    )
    assert make_service(server, namespace, "other", [{"port": 80, "nodePort": old}], type="NodePort")


def test_changes_of_type_take_and_give_back_numbers(server: Server, namespace: str) -> None:
    made = make_service(server, namespace)
    path, address = services(namespace, "svc"), made["spec"]["clusterIP"]
    node = server.ok("PATCH", path, {"spec": {"type": "NodePort"}}, MERGE)["spec"]
    port = node["ports"][0]["nodePort"]
    assert node["clusterIP"] == address and node["externalTrafficPolicy"] == "Cluster"
    back = server.ok("PATCH", path, {"spec": {"type": "ClusterIP"}}, MERGE)["spec"]
    assert "nodePort" not in back["ports"][0] and "externalTrafficPolicy" not in back
    assert make_service(server, namespace, "heir", [{"port": 80, "nodePort": port}], type="NodePort")
    away = server.ok("PATCH", path, {"spec": {"type": "ExternalName", "externalName": "example.com"}}, MERGE)[
        "spec"
    ]
    assert not {"clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"} & set(away)
    assert make_service(server, namespace, "owner", clusterIP=address)["spec"]["clusterIP"] == address
    again = server.ok("PATCH", path, {"spec": {"type": "ClusterIP", "externalName": None}}, MERGE)["spec"]
    assert again["clusterIP"] not in {"", address}


def test_health_check_port_belongs_to_local_load_balancers(server: Server, namespace: str) -> None:
    port = make_service(server, namespace, type="LoadBalancer", externalTrafficPolicy="Local")["spec"][
        "healthCheckNodePort"
    ]
    path = services(namespace, "svc")
    code, _, message = server.refused(
        "PATCH", path, {"spec": {"healthCheckNodePort": port - 1 or 32000}}, MERGE
    )
    assert code == 422 and "spec.healthCheckNodePort: Forbidden: field is immutable" in message
    changed = server.ok("PATCH", path, {"spec": {"externalTrafficPolicy": "Cluster"}}, MERGE)["spec"]
    assert "healthCheckNodePort" not in changed
    assert make_service(server, namespace, "heir", [{"port": 80, "nodePort": port}], type="NodePort")


def test_put_creates_a_missing_service(server: Server, namespace: str) -> None:
    status, made = server.call("PUT", services(namespace, "svc"), service())
    assert status == 201 and made["spec"]["clusterIP"]


def test_dry_run_takes_no_number(server: Server, namespace: str) -> None:
    port = free_port(server, namespace)
    body = service(ports=[{"port": 80, "nodePort": port}], type="NodePort")
    server.ok("POST", services(namespace), body, dryRun="All")
    assert server.ok("POST", services(namespace), body)["spec"]["ports"][0]["nodePort"] == port


def test_numbers_are_given_to_one_service_only(server: Server, namespace: str) -> None:
    def one(number: int) -> tuple[str, int]:
        mine = Server(server.url, server.token, server.ca, server.ours)
        spec = make_service(mine, namespace, f"s{number}", type="NodePort")["spec"]
        return spec["clusterIP"], spec["ports"][0]["nodePort"]

    with ThreadPoolExecutor(8) as pool:
        given = list(pool.map(one, range(60)))
    assert len({address for address, _ in given}) == len({port for _, port in given}) == 60


def test_delete_of_a_service_answers_it_and_takes_its_endpoints(server: Server, namespace: str) -> None:
    make_service(server, namespace)
    server.call("POST", f"/api/v1/namespaces/{namespace}/endpoints", {"metadata": {"name": "svc"}})
    assert server.ok("DELETE", services(namespace, "svc"))["kind"] == "Service"
    assert server.call("GET", f"/api/v1/namespaces/{namespace}/endpoints/svc")[0] == 404


def test_reserved_numbers_wait_for_their_service(tmp_path: Path) -> None:
    table = {
        "default/web": {"clusterIP": "10.43.7.203", "nodePorts": {"80": 30003}},
        "kube-system/kube-dns": {"clusterIP": "10.43.0.10"},
    }
    (tmp_path / "reserve.json").write_text(json.dumps(table))
    with started(
        tmp_path, "--reserve", str(tmp_path / "reserve.json"), "--node-port-range", "30000-30003"
    ) as server:
        others = {
            make_service(server, "default", f"o{n}", type="NodePort")["spec"]["ports"][0]["nodePort"]
            for n in range(3)
        }
        assert others == {30000, 30001, 30002}
        code, reason, message = server.refused("POST", services("default"), service("more", type="NodePort"))
        assert (code, reason) == (500, "InternalError")
        assert message == "Internal error occurred: failed to allocate a nodePort: range is full"
        web = make_service(server, "default", "web", type="NodePort")["spec"]
        assert (web["clusterIP"], web["ports"][0]["nodePort"]) == ("10.43.7.203", 30003)
        assert make_service(server, "kube-system", "kube-dns")["spec"]["clusterIP"] == "10.43.0.10"


def test_dual_stack_services_get_both_families(tmp_path: Path) -> None:
    with started(tmp_path, "--service-cidr", "10.43.0.0/16,fd43::/112") as server:
        spec = make_service(server, "default", ipFamilyPolicy="PreferDualStack")["spec"]
        assert spec["ipFamilies"] == ["IPv4", "IPv6"]
        assert [ipaddress.ip_address(address).version for address in spec["clusterIPs"]] == [4, 6]
        path = services("default", "svc")
        single = server.ok("PATCH", path, {"spec": {"ipFamilyPolicy": "SingleStack"}}, MERGE)["spec"]
        assert (single["ipFamilies"], single["clusterIPs"]) == (["IPv4"], spec["clusterIPs"][:1])
        six = make_service(server, "default", "six", ipFamilies=["IPv6"])["spec"]
        assert six["clusterIP"].startswith("fd43::") and six["ipFamilyPolicy"] == "SingleStack"
        both = server.ok("PATCH", path, {"spec": {"ipFamilyPolicy": "RequireDualStack"}}, MERGE)["spec"]
        assert len(both["clusterIPs"]) == 2 and both["clusterIPs"][0] == spec["clusterIPs"][0]
