"""Tables: the columns and cells kubectl prints, on list, get and watch."""

from __future__ import annotations

import json
from typing import Any

import pytest

from clusters.apiserver import table
from clusters.apiserver.accept import accepted
from clusters.apiserver.builtin import RESOURCES
from clusters.apiserver.columns import human, selector
from clusters.apiserver.status import Refused
from clusters.tests.test_apiserver_fixture import (
    Server,
    deployment,
    deployments,
    make_map,
    make_service,
    maps,
    services,
)

pytest_plugins = ["clusters.tests.test_apiserver_fixture"]

TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"
NOW = 1_700_000_000.0


def tables(server: Server, path: str, **query: str) -> dict[str, Any]:
    answer = server.session.get(server.url + path, headers={"Accept": TABLE}, params=query, timeout=10)
    assert answer.status_code == 200, answer.text
    found = answer.json()
    assert (found["kind"], found["apiVersion"]) == ("Table", "meta.k8s.io/v1")
    return found


def shown(found: dict[str, Any], *, wide: bool = True) -> list[dict[str, Any]]:
    """The rows as {column: cell}, wide columns only when asked for."""
    names = [column for column in found["columnDefinitions"] if wide or not column["priority"]]
    return [dict(zip([c["name"] for c in names], row["cells"], strict=False)) for row in found["rows"]]


def cells(kind: str, obj: dict[str, Any]) -> dict[str, Any]:
    """The cells of one object, by column, at NOW."""
    resource = next(r for r in RESOURCES if r.kind == kind and not r.stored_as)
    layout = table.layout(resource)
    obj.setdefault("metadata", {}).setdefault("name", "x")
    values = layout.cells(obj, NOW)
    assert len(values) == len(layout.columns)
    return {column.name: value for column, value in zip(layout.columns, values, strict=True)}


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-5, "<invalid>"),
        (-1, "0s"),
        (0, "0s"),
        (23, "23s"),
        (119.9, "119s"),
        (120, "2m"),
        (147, "2m27s"),
        (12 * 60, "12m"),
        (179 * 60, "179m"),
        (3 * 3600, "3h"),
        (3 * 3600 + 300, "3h5m"),
        (10 * 3600, "10h"),
        (47 * 3600, "47h"),
        (77 * 3600, "3d5h"),
        (96 * 3600, "4d"),
        (9 * 86400, "9d"),
        (729 * 86400, "729d"),
        (730 * 86400, "2y"),
        (735 * 86400, "2y5d"),
        (9 * 365 * 86400, "9y"),
    ],
)
def test_ages_are_written_as_kubectl_writes_them(seconds: float, text: str) -> None:
    assert human(seconds) == text


def test_services_have_the_columns_of_the_post(server: Server, namespace: str) -> None:
    make_service(server, namespace, "plain", selector={"environment": "dev", "app": "nextcloud"})
    made = make_service(server, namespace, "node", type="NodePort")
    make_service(
        server,
        namespace,
        "lb",
        type="LoadBalancer",
        ports=[{"name": "a", "port": 80}, {"name": "b", "port": 53, "protocol": "UDP"}],
    )
    make_service(server, namespace, "name", type="ExternalName", externalName="example.org", ports=[])
    make_service(server, namespace, "headless", clusterIP="None")
    make_service(server, namespace, "ext", externalIPs=["192.0.2.1", "192.0.2.2"])
    found = tables(server, services(namespace))
    by = {row["Name"]: row for row in shown(found)}
    assert list(by["plain"]) == ["Name", "Type", "Cluster-IP", "External-IP", "Port(s)", "Age", "Selector"]
    assert [c["priority"] for c in found["columnDefinitions"]] == [0, 0, 0, 0, 0, 0, 1]
    assert by["plain"]["Selector"] == "app=nextcloud,environment=dev"
    assert (by["plain"]["External-IP"], by["plain"]["Port(s)"]) == ("<none>", "80/TCP")
    assert by["node"]["Port(s)"] == f"80:{made['spec']['ports'][0]['nodePort']}/TCP"
    assert by["node"]["Selector"] == "<none>"
    assert by["lb"]["External-IP"] == "<pending>" and by["lb"]["Port(s)"].endswith("/UDP")
    assert (by["name"]["Cluster-IP"], by["name"]["External-IP"]) == ("<none>", "example.org")
    assert by["name"]["Port(s)"] == "<none>"
    assert by["headless"]["Cluster-IP"] == "None"
    assert by["ext"]["External-IP"] == "192.0.2.1,192.0.2.2"
    assert by["plain"]["Age"].endswith("s")
    server.ok(
        "PATCH",
        services(namespace, "lb") + "/status",
        {"status": {"loadBalancer": {"ingress": [{"ip": "192.168.2.200"}]}}},
        "application/merge-patch+json",
    )
    (one,) = shown(tables(server, services(namespace, "lb")))
    assert one["External-IP"] == "192.168.2.200"


def test_includes_pages_and_metadata_of_a_table(server: Server, namespace: str) -> None:
    for name in ("a", "b", "c"):
        make_map(server, namespace, name, k="v")
    first = tables(server, maps(namespace), limit="2", includeObject="None", labelSelector="")
    assert [row["object"] for row in first["rows"]] == [None, None]
    assert first["metadata"]["continue"] and first["metadata"]["resourceVersion"]
    row = tables(server, maps(namespace, "a"))["rows"][0]
    assert row["object"]["kind"] == "PartialObjectMetadata" and row["object"]["metadata"]["name"] == "a"
    assert "data" not in row["object"]
    whole = tables(server, maps(namespace, "a"), includeObject="Object")["rows"][0]["object"]
    assert (whole["kind"], whole["data"]) == ("ConfigMap", {"k": "v"})
    wrong = server.session.get(
        server.url + maps(namespace), headers={"Accept": TABLE}, params={"includeObject": "All"}, timeout=10
    )
    assert wrong.status_code == 400


def test_a_watch_of_tables_tells_the_columns_once(server: Server, namespace: str) -> None:
    make_map(server, namespace, "a")
    with server.session.get(
        server.url + maps(namespace),
        headers={"Accept": TABLE},
        params={"watch": "1", "fieldSelector": "metadata.name=a", "timeoutSeconds": "5"},
        stream=True,
        timeout=10,
    ) as answer:
        lines = answer.iter_lines(chunk_size=1)
        added = json.loads(next(lines))
        server.ok("DELETE", maps(namespace, "a"))
        deleted = json.loads(next(lines))
    assert (added["type"], deleted["type"]) == ("ADDED", "DELETED")
    assert added["object"]["kind"] == deleted["object"]["kind"] == "Table"
    assert added["object"]["columnDefinitions"] and not deleted["object"]["columnDefinitions"]
    assert deleted["object"]["rows"][0]["cells"][0] == "a"


def test_events_of_both_groups_are_one_table(server: Server, namespace: str) -> None:
    server.ok(
        "POST",
        f"/api/v1/namespaces/{namespace}/events",
        {
            "metadata": {"name": "e"},
            "involvedObject": {"kind": "Pod", "name": "p", "namespace": namespace},
            "reason": "Pulled",
            "message": "done ",
            "type": "Normal",
            "source": {"component": "kubelet", "host": "n1"},
            "count": 3,
        },
    )
    for base in ("/api/v1", "/apis/events.k8s.io/v1"):
        (row,) = shown(tables(server, f"{base}/namespaces/{namespace}/events"))
        assert row["Object"] == "pod/p" and row["Message"] == "done" and row["Count"] == 3
        assert row["Source"] == "kubelet, n1" and row["Last Seen"] == "<unknown>"


def test_deployments_and_replica_sets(server: Server, namespace: str) -> None:
    server.ok("POST", deployments(namespace), deployment("web", replicas=2))
    (row,) = shown(tables(server, deployments(namespace)))
    assert list(row) == [
        "Name", "Ready", "Up-to-date", "Available", "Age", "Containers", "Images", "Selector",
    ]  # fmt: skip
    assert (row["Ready"], row["Up-to-date"], row["Selector"]) == ("0/2", 0, "app=web")
    assert (row["Containers"], row["Images"]) == ("main", "nextcloud")


def pod(*states: dict[str, Any], phase: str = "Running", **status: Any) -> dict[str, Any]:
    return {
        "spec": {"containers": [{"name": str(i)} for i in range(max(1, len(states)))], "nodeName": "n1"},
        "status": {
            "phase": phase,
            "containerStatuses": [
                {"name": str(i), "ready": "running" in state, "restartCount": 0, "state": state}
                for i, state in enumerate(states)
            ],
            **status,
        },
    }


RUNNING: dict[str, Any] = {"running": {}}


@pytest.mark.parametrize(
    ("obj", "ready", "status"),
    [
        (pod(phase="Pending"), "0/1", "Pending"),
        (pod(RUNNING), "1/1", "Running"),
        (pod({"waiting": {"reason": "ContainerCreating"}}, phase="Pending"), "0/1", "ContainerCreating"),
        (pod({"waiting": {"reason": "ErrImagePull"}}, phase="Pending"), "0/1", "ErrImagePull"),
        (pod(RUNNING, {"waiting": {"reason": "CrashLoopBackOff"}}), "1/2", "CrashLoopBackOff"),
        (pod({"terminated": {"exitCode": 0, "reason": "Completed"}}, phase="Succeeded"), "0/1", "Completed"),
        (pod({"terminated": {"exitCode": 3}}, phase="Failed"), "0/1", "ExitCode:3"),
        (pod({"terminated": {"exitCode": 137, "signal": 9}}, phase="Failed"), "0/1", "Signal:9"),
        (pod(reason="Evicted", phase="Failed"), "0/1", "Evicted"),
        (
            pod(
                {"terminated": {"exitCode": 0, "reason": "Completed"}},
                RUNNING,
                conditions=[{"type": "Ready", "status": "True"}],
            ),
            "1/2",
            "Running",
        ),
        (
            pod({"terminated": {"exitCode": 0, "reason": "Completed"}}, RUNNING),
            "1/2",
            "NotReady",
        ),
    ],
)
def test_the_status_of_a_pod(obj: dict[str, Any], ready: str, status: str) -> None:
    found = cells("Pod", obj)
    assert (found["Ready"], found["Status"]) == (ready, status)
    assert found["Node"] == "n1" and found["IP"] == found["Nominated Node"] == "<none>"


def test_init_containers_restarts_and_terminating_pods() -> None:
    obj = pod(
        phase="Pending",
        initContainerStatuses=[{"name": "i", "restartCount": 2, "state": {"running": {}}}],
    )
    obj["spec"]["initContainers"] = [{"name": "i"}, {"name": "j"}]
    assert cells("Pod", obj)["Status"] == "Init:0/2"
    obj["status"]["initContainerStatuses"][0]["state"] = {"terminated": {"exitCode": 1, "reason": "Error"}}
    assert cells("Pod", obj)["Status"] == "Init:Error"
    obj = pod(RUNNING)
    obj["status"]["containerStatuses"][0] |= {
        "restartCount": 58,
        "lastState": {"terminated": {"finishedAt": "2023-11-14T22:11:20Z"}},
    }
    assert cells("Pod", obj)["Restarts"] == "58 (2m ago)"
    obj["metadata"]["deletionTimestamp"] = "2023-11-14T22:11:20Z"
    assert cells("Pod", obj)["Status"] == "Terminating"


def test_a_pod_that_ended_carries_the_condition_that_hides_it() -> None:
    resource = next(r for r in RESOURCES if r.kind == "Pod")
    obj = pod(phase="Succeeded") | {"metadata": {"name": "x"}}
    row = table.row(resource, obj, table.TableOptions(), NOW)
    assert row["conditions"][0]["reason"] == "Succeeded"
    assert "conditions" not in table.row(resource, pod(RUNNING) | {"metadata": {}}, table.TableOptions(), NOW)


def test_nodes() -> None:
    found = cells(
        "Node",
        {
            "metadata": {
                "labels": {"node-role.kubernetes.io/master": "", "node-role.kubernetes.io/etcd": ""}
            },
            "spec": {"unschedulable": True},
            "status": {
                "conditions": [{"type": "Ready", "status": "True"}],
                "addresses": [{"type": "InternalIP", "address": "192.168.2.114"}],
                "nodeInfo": {"kubeletVersion": "v1"},
            },
        },
    )
    assert (found["Status"], found["Roles"]) == ("Ready,SchedulingDisabled", "etcd,master")
    assert (found["Internal-IP"], found["External-IP"], found["OS-Image"]) == (
        "192.168.2.114",
        "<none>",
        "<unknown>",
    )
    assert cells("Node", {})["Status"] == "Unknown" and cells("Node", {})["Roles"] == "<none>"


def test_endpoints_and_slices_show_three_and_count_the_rest() -> None:
    found = cells(
        "EndpointSlice",
        {
            "addressType": "IPv4",
            "endpoints": [{"addresses": [f"10.42.0.{n}"]} for n in range(5)],
            "ports": [{"name": "http", "port": 80}, {"name": "any"}],
        },
    )
    assert found["Endpoints"] == "10.42.0.0,10.42.0.1,10.42.0.2 + 2 more..." and found["Ports"] == "80,any"
    assert cells("EndpointSlice", {})["Endpoints"] == "<unset>"
    assert cells("Endpoints", {})["Endpoints"] == "<none>"
    subsets = [{"addresses": [{"ip": "10.42.0.1"}, {"ip": "fd00::1"}], "ports": [{"port": 80}]}]
    assert cells("Endpoints", {"subsets": subsets})["Endpoints"] == "10.42.0.1:80,[fd00::1]:80"


def test_selectors_as_text() -> None:
    found = {"matchLabels": {"a": "b"}, "matchExpressions": [
        {"key": "x", "operator": "In", "values": ["2", "1"]}, {"key": "y", "operator": "DoesNotExist"},
    ]}  # fmt: skip
    assert selector(found) == "!y,a=b,x in (1,2)"
    assert selector(None) == selector({}) == "<none>"


@pytest.mark.parametrize("resource", RESOURCES, ids=lambda r: r.qualified)
def test_every_kind_has_as_many_cells_as_columns_even_when_empty(resource: Any) -> None:
    layout = table.layout(resource)
    assert len(layout.cells({"metadata": {}}, NOW)) == len(layout.columns)


def test_what_a_client_accepts() -> None:
    assert accepted("").kind == accepted("*/*").kind == accepted("application/json").kind == ""
    assert accepted("application/vnd.kubernetes.protobuf,application/json").kind == ""
    beta = accepted("application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json")
    assert (beta.kind, beta.version) == ("Table", "v1beta1")
    assert accepted("application/json;as=Table;v=v9;g=meta.k8s.io, application/json").kind == ""
    with pytest.raises(Refused) as refused:
        accepted("application/vnd.kubernetes.protobuf")
    assert refused.value.code == 406
