"""Acceptance list, refusals of Services and slices, word for word as kube-apiserver 1.36."""

from __future__ import annotations

from typing import Any

import pytest

from clusters.tests.test_apiserver_fixture import Server, make_service, refused_service, service, services

pytest_plugins = ["clusters.tests.test_apiserver_fixture"]

MERGE = "application/merge-patch+json"
RANGE = "provided port is not in the valid range. The range of valid ports is 30000-32767"


@pytest.mark.parametrize("port", [1, 80, 29999, 32768, 65535, 70000, -1])
def test_node_port_outside_the_range_is_refused(server: Server, namespace: str, port: int) -> None:
    status, answer = server.call(
        "POST", services(namespace), service(ports=[{"port": 80, "nodePort": port}], type="NodePort")
    )
    assert status == 422
    words = f"Invalid value: {port}: {RANGE}"
    assert answer == {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "reason": "Invalid",
        "code": 422,
        "message": f'Service "svc" is invalid: spec.ports[0].nodePort: {words}',
        "details": {
            "name": "svc",
            "kind": "Service",
            "causes": [{"reason": "FieldValueInvalid", "message": words, "field": "spec.ports[0].nodePort"}],
        },
    }


def test_taken_node_port_is_refused_and_given_back_by_delete(server: Server, namespace: str) -> None:
    taken = make_service(server, namespace, "first", type="NodePort")["spec"]["ports"][0]["nodePort"]
    ports = [{"port": 80, "nodePort": taken}]
    assert refused_service(server, namespace, "second", ports, type="NodePort") == (
        f"spec.ports[0].nodePort: Invalid value: {taken}: provided port is already allocated"
    )
    server.ok("DELETE", services(namespace, "first"))
    assert (
        make_service(server, namespace, "second", ports, type="NodePort")["spec"]["ports"][0]["nodePort"]
        == taken
    )


def test_node_port_is_no_field_of_a_cluster_ip_service(server: Server, namespace: str) -> None:
    assert refused_service(server, namespace, ports=[{"port": 80, "nodePort": 30100}]) == (
        "spec.ports[0].nodePort: Forbidden: may not be used when `type` is 'ClusterIP'"
    )


def test_cluster_ip_of_another_network_is_refused(server: Server, namespace: str) -> None:
    assert refused_service(server, namespace, clusterIP="198.51.100.7") == (
        'spec.clusterIPs: Invalid value: ["198.51.100.7"]: failed to allocate IP 198.51.100.7: '
        "the provided network does not match the current range"
    )


def test_taken_cluster_ip_is_refused(server: Server, namespace: str) -> None:
    taken = make_service(server, namespace, "first")["spec"]["clusterIP"]
    assert refused_service(server, namespace, "second", clusterIP=taken) == (
        f'spec.clusterIPs: Invalid value: ["{taken}"]: failed to allocate IP {taken}: provided '
        "IP is already allocated"
    )
    server.ok("DELETE", services(namespace, "first"))
    assert make_service(server, namespace, "second", clusterIP=taken)["spec"]["clusterIPs"] == [taken]


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (
            {"clusterIP": "300.1.1.1"},
            'spec.clusterIPs[0]: Invalid value: "300.1.1.1": must be a valid IP address, '
            "(e.g. 10.9.8.7 or 2001:db8::ffff)",
        ),
        (
            {"clusterIPs": ["10.43.0.99"]},
            'spec.clusterIPs: Invalid value: ["10.43.0.99"]: must be empty when `clusterIP` is not specified',
        ),
        (
            {"clusterIP": "fd00::1"},
            'spec.clusterIPs[0]: Invalid value: ["fd00::1"]: IPv6 is not configured on this cluster',
        ),
        (
            {"ipFamilies": ["IPv6"]},
            'spec.ipFamilies[0]: Invalid value: "IPv6": not configured on this cluster',
        ),
        (
            {"ipFamilyPolicy": "RequireDualStack"},
            'spec.ipFamilyPolicy: Invalid value: "RequireDualStack": this cluster is '
            "not configured for dual-stack services",
        ),
        (
            {"ipFamilyPolicy": "Both"},
            'spec.ipFamilyPolicy: Unsupported value: "Both": supported values: "PreferDualStack", '
            '"RequireDualStack", "SingleStack"',
        ),
        (
            {"type": "Bridge"},
            'spec.type: Unsupported value: "Bridge": supported values: "ClusterIP", "ExternalName", '
            '"LoadBalancer", "NodePort"',
        ),
        ({"ports": []}, "spec.ports: Required value"),
        (
            {"ports": [{"port": 70000}]},
            "[spec.ports[0].port: Invalid value: 70000: must be between 1 and 65535, inclusive, "
            "spec.ports[0].targetPort: Invalid value: 70000: must be between 1 and 65535, "
            "inclusive]",
        ),
        ({"ports": [{"port": 80}, {"name": "b", "port": 81}]}, "spec.ports[0].name: Required value"),
        (
            {"ports": [{"name": "a", "port": 80}, {"name": "a", "port": 81}]},
            'spec.ports[1].name: Duplicate value: "a"',
        ),
        (
            {"ports": [{"port": 80, "protocol": "tcp"}]},
            'spec.ports[0].protocol: Unsupported value: "tcp": supported values: "SCTP", "TCP", "UDP"',
        ),
        (
            {"ports": [{"port": 80, "targetPort": "no_name"}]},
            'spec.ports[0].targetPort: Invalid value: "no_name": must '
            "contain only alpha-numeric characters (a-z, 0-9), and hyphens "
            "(-)",
        ),
        (
            {"sessionAffinity": "Cookie"},
            'spec.sessionAffinity: Unsupported value: "Cookie": supported values: "ClientIP", "None"',
        ),
        (
            {"sessionAffinity": "ClientIP", "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 0}}},
            "spec.sessionAffinityConfig.clientIP.timeoutSeconds: Invalid value: 0: must be "
            "greater than 0 and less than 86400",
        ),
        (
            {"externalTrafficPolicy": "Local"},
            'spec.externalTrafficPolicy: Invalid value: "Local": may only be set for '
            "externally-accessible services",
        ),
        (
            {"healthCheckNodePort": 30500},
            "spec.healthCheckNodePort: Invalid value: 30500: may only be set when `type` is "
            "'LoadBalancer' and `externalTrafficPolicy` is 'Local'",
        ),
        (
            {"internalTrafficPolicy": "Near"},
            'spec.internalTrafficPolicy: Unsupported value: "Near": supported values: "Cluster", "Local"',
        ),
        (
            {"loadBalancerClass": "example.com/x"},
            "spec.loadBalancerClass: Forbidden: may only be used when `type` is 'LoadBalancer'",
        ),
        (
            {"externalIPs": ["127.0.0.1"]},
            'spec.externalIPs[0]: Invalid value: "127.0.0.1": may not be in the loopback range '
            "(127.0.0.0/8, ::1/128)",
        ),
        (
            {"type": "LoadBalancer", "loadBalancerSourceRanges": ["10.0.0.0"]},
            'spec.LoadBalancerSourceRanges[0]: Invalid value: "10.0.0.0": must be a valid CIDR '
            "value, (e.g. 10.9.8.0/24 or "
            "2001:db8::/64)",
        ),
        ({"type": "ExternalName"}, "spec.externalName: Required value"),
        (
            {"type": "ExternalName", "externalName": "a.example", "ipFamilyPolicy": ""},
            "spec.ipFamilyPolicy: Forbidden: may not be set for ExternalName services",
        ),
    ],
)
def test_rules_are_told_word_for_word(server: Server, namespace: str, spec: Any, message: str) -> None:
    body = service(**{"ports": [{"port": 80}], **spec})
    code, reason, told = server.refused("POST", services(namespace), body)
    assert (code, reason, told) == (422, "Invalid", f'Service "svc" is invalid: {message}')


def test_service_name_is_a_dns_label_that_may_begin_with_a_digit(server: Server, namespace: str) -> None:
    assert make_service(server, namespace, "1st")["metadata"]["name"] == "1st"  # KEP-5311, since 1.36
    assert refused_service(server, namespace, "First") == (
        'metadata.name: Invalid value: "First": a lowercase RFC 1123 label must consist of lower case '
        "alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. "
        "'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
    )
    assert refused_service(server, namespace, "x" * 64).endswith(": must be no more than 63 characters")


def test_cluster_ip_never_changes(server: Server, namespace: str) -> None:
    made = make_service(server, namespace)
    message = (
        'Service "svc" is invalid: spec.clusterIPs[0]: Invalid value: ["10.43.200.9"]: may not '
        "change once set"
    )
    assert server.refused(
        "PATCH", services(namespace, "svc"), {"spec": {"clusterIP": "10.43.200.9"}}, MERGE
    ) == (422, "Invalid", message)
    made["spec"].update(clusterIP="10.43.200.9", clusterIPs=["10.43.200.9"])
    assert server.refused("PUT", services(namespace, "svc"), made)[2] == message


def test_endpoint_slices_are_checked(server: Server, namespace: str) -> None:
    path = f"/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices"
    good = {
        "metadata": {"name": "s", "labels": {"kubernetes.io/service-name": "svc"}},
        "addressType": "IPv4",
        "endpoints": [{"addresses": ["10.42.0.5"], "conditions": {"ready": True}}],
        "ports": [{"port": 80}],
    }
    made = server.ok("POST", path, good)
    assert (
        made["ports"] == [{"name": "", "protocol": "TCP", "port": 80}] and made["metadata"]["generation"] == 1
    )
    code, _, message = server.refused("PATCH", path + "/s", {"addressType": "IPv6", "endpoints": []}, MERGE)
    assert code == 422 and 'addressType: Invalid value: "IPv6": field is immutable' in message
    for field, value, words in (
        ("addressType", "IP", 'addressType: Unsupported value: "IP"'),
        ("endpoints", [{"addresses": []}], "endpoints[0].addresses: Required value"),
        ("endpoints", [{"addresses": ["127.0.0.1"]}], "endpoints[0].addresses[0]: Invalid value"),
        (
            "ports",
            [{"name": "a", "port": 1}, {"name": "a", "port": 2}],
            'ports[1].name: Duplicate value: "a"',
        ),
    ):
        code, _, message = server.refused("POST", path, {**good, "metadata": {"name": "t"}, field: value})
        assert code == 422 and words in message
