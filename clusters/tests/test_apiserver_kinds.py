"""The kinds that are stored for others to act on, what follows from objects, and custom resources."""

from __future__ import annotations

from typing import Any

import pytest

from clusters.tests.test_apiserver_fixture import Server, eventually, make_service, maps, services

pytest_plugins = ["clusters.tests.test_apiserver_fixture"]

MERGE = "application/merge-patch+json"
POD = {"restartPolicy": "Never", "containers": [{"name": "c", "image": "busybox"}]}


def template(restart: str = "Always") -> dict[str, Any]:
    return {"metadata": {"labels": {"app": "x"}}, "spec": {**POD, "restartPolicy": restart}}


def labelled(**spec: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": "x"},
        "spec": {"selector": {"matchLabels": {"app": "x"}}, "template": template(), **spec},
    }


def test_a_job_gets_its_own_selector_and_labels(server: Server, namespace: str) -> None:
    path = f"/apis/batch/v1/namespaces/{namespace}/jobs"
    job = server.ok("POST", path, {"metadata": {"name": "j"}, "spec": {"template": {"spec": POD}}})
    uid = job["metadata"]["uid"]
    assert job["spec"]["selector"]["matchLabels"] == {"batch.kubernetes.io/controller-uid": uid}
    assert job["spec"]["template"]["metadata"]["labels"]["job-name"] == "j"
    assert (job["spec"]["completions"], job["spec"]["parallelism"], job["spec"]["backoffLimit"]) == (1, 1, 6)
    assert job["metadata"]["generation"] == 1
    again = server.ok("PUT", f"{path}/j", job)
    assert again["metadata"]["resourceVersion"] == job["metadata"]["resourceVersion"]
    wrong = {"metadata": {"name": "k"}, "spec": {"template": {"spec": {**POD, "restartPolicy": "Always"}}}}
    assert (
        'restartPolicy: Required value: valid values: "OnFailure", "Never"'
        in server.refused("POST", path, wrong)[2]
    )
    cron = server.ok(
        "POST",
        f"/apis/batch/v1/namespaces/{namespace}/cronjobs",
        {
            "metadata": {"name": "c"},
            "spec": {"schedule": "* * * * *", "jobTemplate": {"spec": {"template": {"spec": POD}}}},
        },
    )
    assert cron["spec"]["concurrencyPolicy"] == "Allow" and cron["spec"]["suspend"] is False


def test_workloads_have_kubernetes_defaults_and_rules(server: Server, namespace: str) -> None:
    base = f"/apis/apps/v1/namespaces/{namespace}"
    daemon = server.ok("POST", f"{base}/daemonsets", labelled())
    assert daemon["spec"]["updateStrategy"]["rollingUpdate"] == {"maxUnavailable": 1, "maxSurge": 0}
    assert daemon["status"]["desiredNumberScheduled"] == 0
    stateful = server.ok("POST", f"{base}/statefulsets", labelled(serviceName="x"))
    assert stateful["spec"]["replicas"] == 1 and stateful["spec"]["podManagementPolicy"] == "OrderedReady"
    server.ok("PATCH", f"{base}/statefulsets/x/scale", {"spec": {"replicas": 3}}, MERGE)
    assert server.ok("GET", f"{base}/statefulsets/x")["spec"]["replicas"] == 3
    wrong = labelled()
    wrong["spec"]["template"]["metadata"]["labels"] = {"app": "y"}
    wrong["metadata"]["name"] = "y"
    assert (
        "`selector` does not match template `labels`"
        in server.refused("POST", f"{base}/daemonsets", wrong)[2]
    )
    controller = server.ok(
        "POST",
        f"/api/v1/namespaces/{namespace}/replicationcontrollers",
        {"metadata": {"name": "rc"}, "spec": {"template": template()}},
    )
    assert controller["spec"]["selector"] == controller["metadata"]["labels"] == {"app": "x"}


def test_rbac_names_may_hold_colons_and_a_role_reference_stays(server: Server, namespace: str) -> None:
    base, name = "/apis/rbac.authorization.k8s.io/v1", f"{namespace}:controller"
    role = {
        "metadata": {"name": name},
        "rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}],
    }
    server.ok("POST", f"{base}/clusterroles", role)
    subject = {"kind": "ServiceAccount", "name": "controller", "namespace": namespace}
    made = server.ok(
        "POST",
        f"{base}/clusterrolebindings",
        {"metadata": {"name": name}, "roleRef": {"kind": "ClusterRole", "name": name}, "subjects": [subject]},
    )
    assert made["roleRef"]["apiGroup"] == "rbac.authorization.k8s.io"
    made["roleRef"]["name"] = "other"
    assert "cannot change roleRef" in server.refused("PUT", f"{base}/clusterrolebindings/{name}", made)[2]
    for plural in ("clusterrolebindings", "clusterroles"):
        server.ok("DELETE", f"{base}/{plural}/{name}")


def test_an_old_pod_security_policy_is_kept_with_a_warning(server: Server) -> None:
    path = "/apis/policy/v1beta1/podsecuritypolicies"
    body = {"metadata": {"name": "speaker"}, "spec": {"privileged": True, "volumes": ["configMap"]}}
    answer = server.session.post(server.url + path, json=body, timeout=10)
    assert answer.status_code == 201 and answer.json()["spec"]["privileged"] is True
    assert answer.headers["Warning"] == (
        '299 - "policy/v1beta1 PodSecurityPolicy is deprecated in v1.21+, unavailable in v1.25+"'
    )
    server.ok("DELETE", f"{path}/speaker")


def test_other_kinds_are_stored_with_their_defaults(server: Server, namespace: str) -> None:
    scaler = server.ok(
        "POST",
        f"/apis/autoscaling/v2/namespaces/{namespace}/horizontalpodautoscalers",
        {
            "metadata": {"name": "h"},
            "spec": {"scaleTargetRef": {"kind": "Deployment", "name": "web"}, "maxReplicas": 3},
        },
    )
    assert scaler["spec"]["minReplicas"] == 1 and scaler["spec"]["metrics"]
    policy = server.ok(
        "POST",
        f"/apis/networking.k8s.io/v1/namespaces/{namespace}/networkpolicies",
        {"metadata": {"name": "n"}, "spec": {"egress": [{}]}},
    )
    assert policy["spec"]["policyTypes"] == ["Ingress", "Egress"]
    claim = server.ok(
        "POST",
        f"/api/v1/namespaces/{namespace}/persistentvolumeclaims",
        {
            "metadata": {"name": "c"},
            "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
        },
    )
    assert claim["status"]["phase"] == "Pending"
    ingress = {
        "metadata": {"name": "i"},
        "spec": {"defaultBackend": {"service": {"name": "web", "port": {"number": 80}}}},
    }
    server.ok("POST", f"/apis/networking.k8s.io/v1/namespaces/{namespace}/ingresses", ingress)
    server.ok(
        "POST", f"/apis/policy/v1/namespaces/{namespace}/poddisruptionbudgets", {"metadata": {"name": "p"}}
    )
    for plural in ("limitranges", "resourcequotas"):
        server.ok("POST", f"/api/v1/namespaces/{namespace}/{plural}", {"metadata": {"name": "l"}})


def test_every_cluster_address_has_an_ip_address_object(server: Server, namespace: str) -> None:
    base = "/apis/networking.k8s.io/v1"
    service = make_service(server, namespace)
    address = service["spec"]["clusterIP"]
    found = server.ok("GET", f"{base}/ipaddresses/{address}")
    assert found["spec"]["parentRef"] == {
        "group": "",
        "resource": "services",
        "namespace": namespace,
        "name": "svc",
    }
    assert found["metadata"]["labels"]["ipaddress.kubernetes.io/ip-family"] == "IPv4"
    server.ok(
        "PATCH", services(namespace, "svc"), {"spec": {"type": "ExternalName", "externalName": "a.b"}}, MERGE
    )
    assert server.refused("GET", f"{base}/ipaddresses/{address}")[0] == 404
    server.ok("PATCH", services(namespace, "svc"), {"spec": {"type": "ClusterIP"}}, MERGE)
    address = server.ok("GET", services(namespace, "svc"))["spec"]["clusterIP"]
    server.ok("GET", f"{base}/ipaddresses/{address}")
    server.ok("DELETE", services(namespace, "svc"))
    assert server.refused("GET", f"{base}/ipaddresses/{address}")[0] == 404
    network = server.ok("GET", f"{base}/servicecidrs/kubernetes")
    assert network["status"]["conditions"][0]["status"] == "True" and network["spec"]["cidrs"]


def test_a_namespace_comes_with_an_account_and_the_certificate(server: Server, namespace: str) -> None:
    accounts = f"/api/v1/namespaces/{namespace}/serviceaccounts/default"
    first = eventually(lambda: server.ok("GET", accounts))
    told = server.ok("GET", maps(namespace, "kube-root-ca.crt"))["data"]["ca.crt"]
    assert told.startswith("-----BEGIN CERTIFICATE-----")
    server.ok("DELETE", accounts)
    assert eventually(lambda: server.ok("GET", accounts))["metadata"]["uid"] != first["metadata"]["uid"]


SCHEMA = {
    "type": "object",
    "required": ["spec"],
    "properties": {
        "spec": {
            "type": "object",
            "required": ["addresses"],
            "properties": {
                "addresses": {"type": "array", "items": {"type": "string"}},
                "autoAssign": {"type": "boolean", "default": True},
                "protocol": {"type": "string", "enum": ["layer2", "bgp"]},
                "port": {"type": "integer", "minimum": 1, "maximum": 16384},
                "community": {"type": "string", "pattern": "^[0-9]+:[0-9]+$"},
            },
        },
        "status": {"type": "object", "properties": {"assigned": {"type": "integer"}}},
    },
}


def definition(group: str) -> dict[str, Any]:
    column = {"name": "Auto Assign", "type": "boolean", "jsonPath": ".spec.autoAssign"}
    wide = {"name": "Addresses", "type": "string", "jsonPath": ".spec.addresses", "priority": 1}
    version = {"served": True, "schema": {"openAPIV3Schema": SCHEMA}, "subresources": {"status": {}}}
    return {
        "metadata": {"name": f"ipaddresspools.{group}"},
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": {"plural": "ipaddresspools", "kind": "IPAddressPool", "shortNames": ["pool"]},
            "versions": [
                {**version, "name": "v1beta1", "storage": True, "additionalPrinterColumns": [column, wide]},
                {**version, "name": "v1alpha1", "storage": False, "deprecated": True},
            ],
        },
    }


CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"


@pytest.fixture
def pools(server: Server, namespace: str) -> Any:
    """The path of a custom resource's collection, defined for one test."""
    group = f"{namespace}.example.io"
    made = server.ok("POST", CRDS, definition(group))
    made = eventually(
        lambda: [
            c
            for c in server.ok("GET", f"{CRDS}/{made['metadata']['name']}")["status"].get("conditions", ())
            if c["type"] == "Established" and c["status"] == "True"
        ]
    )
    yield f"/apis/{group}/v1beta1/namespaces/{namespace}/ipaddresspools"
    server.call("DELETE", f"{CRDS}/ipaddresspools.{group}")


def pool(name: str = "p", **spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": name}, "spec": {"addresses": ["192.168.2.200-192.168.2.225"], **spec}}


def test_custom_resources_are_pruned_defaulted_and_judged(server: Server, pools: str) -> None:
    made = server.ok("POST", pools, {**pool(unknown=1), "more": {}})
    assert made["spec"] == {"addresses": ["192.168.2.200-192.168.2.225"], "autoAssign": True}
    assert "more" not in made and made["metadata"]["generation"] == 1 and made["kind"] == "IPAddressPool"
    for spec, words in (
        ({"addresses": "x"}, 'spec.addresses in body must be of type array: "string"'),
        ({"protocol": "arp"}, 'spec.protocol: Unsupported value: "arp": supported values: "layer2", "bgp"'),
        ({"port": 0}, "spec.port in body should be greater than or equal to 1"),
        ({"community": "x"}, "spec.community in body should match '^[0-9]+:[0-9]+$'"),
    ):
        assert words in server.refused("POST", pools, pool("q", **spec))[2]
    assert (
        "spec.addresses: Required value"
        in server.refused("POST", pools, {"metadata": {"name": "q"}, "spec": {}})[2]
    )
    assert (
        'unknown field "spec.x"' in server.refused("POST", pools, pool("q", x=1), fieldValidation="Strict")[2]
    )
    assert server.refused("PATCH", f"{pools}/p", {}, "application/strategic-merge-patch+json")[0] == 415


def test_custom_resources_keep_status_apart_and_are_watched(server: Server, pools: str) -> None:
    made = server.ok("POST", pools, {**pool(), "status": {"assigned": 9}})
    assert "status" not in made
    events = server.watch(pools, resourceVersion=made["metadata"]["resourceVersion"], timeoutSeconds=10)
    server.ok("PATCH", f"{pools}/p/status", {"status": {"assigned": 3}}, MERGE)
    event = next(events)
    assert event["type"] == "MODIFIED" and event["object"]["status"] == {"assigned": 3}
    changed = server.ok(
        "PATCH", f"{pools}/p", {"spec": {"autoAssign": False}, "status": {"assigned": 1}}, MERGE
    )
    assert changed["metadata"]["generation"] == 2 and changed["status"] == {"assigned": 3}


def test_custom_resources_have_versions_columns_and_discovery(server: Server, pools: str) -> None:
    server.ok("POST", pools, pool())
    old = server.session.get(server.url + pools.replace("v1beta1", "v1alpha1") + "/p", timeout=10)
    assert old.json()["apiVersion"].endswith("/v1alpha1")
    if server.ours:
        assert "is deprecated" in old.headers["Warning"]
    base = pools.partition("/namespaces")[0]
    (entry, status) = server.ok("GET", base)["resources"]
    assert entry["shortNames"] == ["pool"] and status["name"] == "ipaddresspools/status"
    versions = server.ok("GET", base.rpartition("/")[0])["versions"]
    assert [version["version"] for version in versions] == ["v1beta1", "v1alpha1"]
    accept = {"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io"}
    table = server.session.get(server.url + pools, headers=accept, timeout=10).json()
    assert [column["name"] for column in table["columnDefinitions"]] == ["Name", "Auto Assign", "Addresses"]
    assert table["rows"][0]["cells"] == ["p", True, '["192.168.2.200-192.168.2.225"]']


def test_a_definition_takes_its_objects_with_it(server: Server, pools: str, namespace: str) -> None:
    server.ok("POST", pools, pool())
    server.ok("DELETE", f"{CRDS}/ipaddresspools.{namespace}.example.io")
    eventually(lambda: server.call("GET", pools)[0] == 404)
    wrong = definition("a.example.io") | {"metadata": {"name": "other"}}
    assert 'must be spec.names.plural+"."+spec.group' in server.refused("POST", CRDS, wrong)[2]


def test_a_custom_kind_may_have_the_name_of_another(server: Server, namespace: str) -> None:
    group = f"{namespace}.example.dev"
    version = {
        "name": "v1",
        "served": True,
        "storage": True,
        "deprecated": True,
        "deprecationWarning": 'say "no"\r\nX-Other: 1',
        "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}},
    }
    names = {"plural": "services", "kind": "Service"}
    body = {
        "metadata": {"name": f"services.{group}"},
        "spec": {"group": group, "scope": "Namespaced", "names": names, "versions": [version]},
    }
    server.ok("POST", CRDS, body)
    path = f"/apis/{group}/v1/namespaces/{namespace}/services"
    eventually(lambda: server.call("GET", path)[0] == 200)
    made = server.session.post(server.url + path, json={"metadata": {"name": "1.a"}, "x": [1]}, timeout=10)
    assert made.status_code == 201 and made.json()["x"] == [1] and "spec" not in made.json()
    assert "X-Other" not in made.headers
    server.ok("DELETE", f"{path}/1.a")
    server.ok("DELETE", f"{CRDS}/services.{group}")


def test_discovery_can_be_had_all_at_once(server: Server) -> None:
    accept = {
        "Accept": "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json"
    }
    for path, group, plural in (("/api", "", "services"), ("/apis", "apps", "deployments")):
        answer = server.session.get(server.url + path, headers=accept, timeout=10)
        assert "as=APIGroupDiscoveryList" in answer.headers["Content-Type"]
        found = answer.json()
        item = next(i for i in found["items"] if i["metadata"].get("name", "") == group)
        resource = next(r for r in item["versions"][0]["resources"] if r["resource"] == plural)
        assert resource["scope"] == "Namespaced" and "all" in resource["categories"]
        assert {"subresource", "responseKind", "verbs"} <= set(resource["subresources"][0])


def test_openapi_describes_fields_and_that_they_are_checked(server: Server) -> None:
    paths = server.ok("GET", "/openapi/v3")["paths"]
    document = server.ok("GET", paths["apis/apps/v1"]["serverRelativeURL"])
    schemas = document["components"]["schemas"]
    deployment = schemas["io.k8s.api.apps.v1.Deployment"]
    assert deployment["x-kubernetes-group-version-kind"] == [
        {"group": "apps", "kind": "Deployment", "version": "v1"}
    ]
    assert "replicas" in schemas["io.k8s.api.apps.v1.DeploymentSpec"]["properties"]
    assert "image" in schemas["io.k8s.api.core.v1.Container"]["properties"]
    patch = document["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments/{name}"]["patch"]
    assert "fieldValidation" in {parameter["name"] for parameter in patch["parameters"]}


def test_questions_about_rights_are_answered_and_not_stored(server: Server, namespace: str) -> None:
    base = "/apis/authorization.k8s.io/v1"
    asked = {"spec": {"resourceAttributes": {"verb": "create", "resource": "services"}}}
    answer = server.ok("POST", f"{base}/selfsubjectaccessreviews", asked)
    assert answer["status"]["allowed"] is True and answer["kind"] == "SelfSubjectAccessReview"
    assert server.refused("GET", f"{base}/selfsubjectaccessreviews")[0] in {404, 405}
    me = server.ok("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", {})
    assert me["status"]["userInfo"]["username"]


def test_a_token_of_an_account_lets_in_until_it_is_changed(server: Server, namespace: str) -> None:
    path = f"/api/v1/namespaces/{namespace}/serviceaccounts/default/token"
    asked = {"spec": {"audiences": [], "expirationSeconds": 600}}
    token = server.ok("POST", path, asked)["status"]["token"]

    def let_in(bearer: str) -> int:
        headers = {"Authorization": f"Bearer {bearer}"}
        return server.session.get(f"{server.url}/api", headers=headers, timeout=10).status_code

    assert let_in(token) == 200
    head, claims, signature = token.split(".")
    for wrong in (f"{head}.{claims}x.{signature}", f"{head}.{claims}.", "..", "."):
        assert let_in(wrong) == 401
    review = server.ok("POST", "/apis/authentication.k8s.io/v1/tokenreviews", {"spec": {"token": token}})[
        "status"
    ]
    assert review["user"]["username"] == f"system:serviceaccount:{namespace}:default"
    assert server.refused("POST", path, {"spec": {"expirationSeconds": 5}})[0] in {400, 422}


def test_an_eviction_deletes_the_pod(server: Server, namespace: str) -> None:
    pods = f"/api/v1/namespaces/{namespace}/pods"
    server.ok("POST", pods, {"metadata": {"name": "p"}, "spec": POD})
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "p"}}
    assert server.ok("POST", f"{pods}/p/eviction", eviction)["status"] == "Success"
    eventually(lambda: server.call("GET", f"{pods}/p")[0] == 404)
