"""Built objects: plain, labelled, and nothing that the API server should set."""

from __future__ import annotations

import json
from typing import Any

import pytest

from conformance import objects, post
from conformance.kube import KubeError
from conformance.rig import is_ready, raise_if_stuck

MADE = [
    objects.namespace("n", "r1"), objects.config_map("c", "r1", {"a": "b"}),
    objects.service("s", "r1", [objects.port(80)], {"app": "x"}, type="NodePort"),
    objects.deployment("d", "r1", 2, {"app": "x"}, {"name": "c", "image": "i"}),
    objects.endpoint_slice("e", "r1", "s", ["192.0.2.1"], [{"port": 80}]),
    objects.agent_pod("p", "r1", image="python:3", node="n1", nonce="x", token="t", control=1,
                      echo=["tcp:80"]),
]


@pytest.mark.parametrize("made", MADE, ids=lambda made: made["kind"])
def test_every_object_carries_the_runs_label_and_is_plain_json(made: Any) -> None:
    assert made["metadata"]["labels"][objects.RUN_LABEL] == "r1"
    assert json.loads(json.dumps(made)) == made


def test_what_is_not_asked_for_is_left_to_the_server() -> None:
    assert objects.port(80) == {"port": 80, "protocol": "TCP"}
    asked = objects.port(80, "http", protocol="UDP", name="d", node_port=30001)
    assert asked == {"port": 80, "protocol": "UDP", "name": "d", "targetPort": "http", "nodePort": 30001}
    assert "selector" not in objects.service("s", "r", [])["spec"]


def test_the_posts_services_are_the_posts() -> None:
    clusterip, nodeport = post.service(post.CLUSTER_IP, "r"), post.service(post.NODE_PORT, "r")
    assert clusterip["spec"] == {
        "ports": [{"port": 8080, "targetPort": 80}], "type": "ClusterIP",
        "selector": {"app": "nextcloud", "environment": "dev"},
    }
    assert nodeport["spec"]["ports"] == [{"port": 80}]
    assert nodeport["metadata"]["labels"].items() >= post.LABELS.items()


def test_an_image_that_cannot_be_had_is_said_at_once() -> None:
    waiting = {"waiting": {"reason": "ErrImagePull", "message": "no stand-in"}}
    stuck = {"metadata": {"name": "p"}, "status": {"containerStatuses": [{"state": waiting}]}}
    with pytest.raises(KubeError, match=r"pod p: ErrImagePull: no stand-in; choose an image .*--agent-image"):
        raise_if_stuck(stuck)
    raise_if_stuck(None)
    assert not is_ready(stuck)


def test_ports_in_words() -> None:
    dns, web = objects.port(53, protocol="UDP"), objects.port(443, "https")
    told = objects.in_words([objects.port(80, 8080, node_port=30080), dns, web])
    assert told == "TCP 80 → 8080, node port 30080; UDP 53; TCP 443 → https"
    assert objects.in_words([]) == "no ports"
