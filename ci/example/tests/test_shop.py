"""The shop's own Service, on the cluster that is judged."""

import os
import time
from collections.abc import Iterator
from typing import Any

import pytest
from kubernetes import client

IMAGE = os.environ.get("SHOP_IMAGE", "nextcloud")


@pytest.fixture
def namespace(kube: client.ApiClient) -> Iterator[str]:
    """A namespace for one test."""
    core = client.CoreV1Api(kube)
    made = core.create_namespace({"metadata": {"generateName": "shop-"}}).metadata.name
    yield made
    core.delete_namespace(made)


@pytest.mark.smoke
def test_the_shop_has_an_address_and_its_pods_behind_it(kube: client.ApiClient, namespace: str) -> None:
    labels = {"app": "shop"}
    pod = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "web", "image": IMAGE}]}}
    shop = {"metadata": {"name": "shop"}, "spec": {"selector": labels, "ports": [{"port": 80}]}}
    deployment = {
        "metadata": {"name": "shop"},
        "spec": {"replicas": 2, "selector": {"matchLabels": labels}, "template": pod},
    }
    core = client.CoreV1Api(kube)
    service = core.create_namespaced_service(namespace, shop)
    client.AppsV1Api(kube).create_namespaced_deployment(namespace, deployment)

    assert service.spec.cluster_ip
    end = time.monotonic() + 60
    while len(ready(kube, namespace)) < 2:
        assert time.monotonic() < end, "the shop's pods are not ready after a minute"
        time.sleep(0.1)


def ready(kube: client.ApiClient, namespace: str) -> list[Any]:
    """The endpoints of the shop that are ready."""
    slices = client.DiscoveryV1Api(kube).list_namespaced_endpoint_slice(namespace).items
    return [one for part in slices for one in part.endpoints or [] if one.conditions.ready]


def test_what_is_not_marked_is_left_out_of_smoke(cluster: Any) -> None:
    assert cluster.url
