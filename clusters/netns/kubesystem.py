"""What runs in kube-system of the blog post's cluster besides DNS: Traefik, what installed it, and two more.

All on the master, so that where other pods go does not depend on how soon these are there. Pure.
"""

from __future__ import annotations

from typing import Any

from clusters.netns import plan

Object = dict[str, Any]
_NAMESPACE = "kube-system"
TRAEFIK = f"/api/v1/namespaces/{_NAMESPACE}/services/traefik"


def traefik_status() -> Object:
    """The address that Traefik has in the post, from a load balancer that is no longer there.

    It is the master's own. Whoever else gives addresses must leave it alone.
    """
    address = plan.node_plans(1)[0].address
    return {"status": {"loadBalancer": {"ingress": [{"ip": address}]}}}


def objects() -> list[tuple[str, Object]]:
    """Collection paths and objects, Services first, as their numbers are the post's."""
    services = f"/api/v1/namespaces/{_NAMESPACE}/services"
    deployments = f"/apis/apps/v1/namespaces/{_NAMESPACE}/deployments"
    web = [{"name": "http", "port": 80, "targetPort": 80}, {"name": "https", "port": 443, "targetPort": 443}]
    prometheus = [{"name": "metrics", "port": 9100, "targetPort": 9100}]
    metrics = [{"name": "https", "port": 443, "targetPort": 443}]
    return [
        (services, _service("traefik", "traefik", web, type="LoadBalancer")),
        (services, _service("traefik-prometheus", "traefik", prometheus)),
        (services, _service("metrics-server", "metrics-server", metrics)),
        (deployments, _deployment("traefik", "rancher/library-traefik:1.7.19", (80, 443, 9100))),
        (deployments, _deployment("metrics-server", "rancher/metrics-server:v0.3.6", (443,))),
        (deployments, _deployment("local-path-provisioner", "rancher/local-path-provisioner:v0.0.11", ())),
        (f"/apis/batch/v1/namespaces/{_NAMESPACE}/jobs", _install("traefik", "rancher/klipper-helm:v0.2.5")),
    ]


def _install(chart: str, image: str) -> Object:
    """The Job with which k3s installs a chart."""
    name, labels = f"helm-install-{chart}", {"helmcharts.helm.cattle.io/chart": chart}
    return {
        "apiVersion": "batch/v1", "kind": "Job",
        "metadata": {"name": name, "namespace": _NAMESPACE, "labels": labels},
        "spec": {"backoffLimit": 1000, "template": {
            "metadata": {"labels": labels},
            "spec": {
                "restartPolicy": "OnFailure", "nodeSelector": {"node-role.kubernetes.io/master": "true"},
                "containers": [{"name": "helm", "image": image, "args": ["install"]}],
            },
        }},
    }


def _service(name: str, app: str, ports: list[Object], **spec: Any) -> Object:
    return {
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"name": name, "namespace": _NAMESPACE, "labels": {"app": app}},
        "spec": {"selector": {"app": app}, "ports": ports, **spec},
    }


def _deployment(name: str, image: str, ports: tuple[int, ...]) -> Object:
    container: Object = {"name": name, "image": image, "ports": [{"containerPort": port} for port in ports]}
    if ports:
        container["readinessProbe"] = {"tcpSocket": {"port": ports[0]}, "periodSeconds": 10}
    return {
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": name, "namespace": _NAMESPACE, "labels": {"app": name}},
        "spec": {"replicas": 1, "selector": {"matchLabels": {"app": name}}, "template": {
            "metadata": {"labels": {"app": name}},
            "spec": {"containers": [container], "nodeSelector": {"node-role.kubernetes.io/master": "true"}},
        }},
    }
