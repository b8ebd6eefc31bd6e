"""Small builders of API objects as plain dictionaries: no YAML, no defaults that the API server should set.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Object = dict[str, Any]

RUN_LABEL = "service-conformance/run"
AGENT_CONFIG = "conformance-agent"
AGENT_FILE = "agent.py"
AGENT_FOLDER = "/conformance"


def family_of(address: str) -> str:
    """``IPv4`` or ``IPv6``, the words of ipFamilies and addressType."""
    return "IPv6" if ":" in address else "IPv4"


def metadata(name: str, run: str, labels: Mapping[str, str] | None = None) -> Object:
    """Metadata with the run's label, by which everything made is found again and removed."""
    return {"name": name, "labels": {**(labels or {}), RUN_LABEL: run}}


def namespace(name: str, run: str) -> Object:
    """A Namespace."""
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata(name, run)}


def config_map(name: str, run: str, data: Mapping[str, str]) -> Object:
    """A ConfigMap with text files."""
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata(name, run), "data": dict(data)}


def port(
    number: int, target: int | str | None = None, *, protocol: str = "TCP", name: str = "",
    node_port: int = 0,
) -> Object:
    """One port of a Service; ``target`` and ``node_port`` are left to the API server when not given."""
    made: Object = {"port": number, "protocol": protocol}
    if name:
        made["name"] = name
    if target is not None:
        made["targetPort"] = target
    if node_port:
        made["nodePort"] = node_port
    return made


def in_words(ports: Sequence[Object]) -> str:
    """Ports of a Service for people: ``TCP 80 → 8080, node port 30080``."""
    told = []
    for one in ports:
        target = f" → {one['targetPort']}" if one.get("targetPort", one["port"]) != one["port"] else ""
        node = f", node port {one['nodePort']}" if one.get("nodePort") else ""
        told.append(f"{one.get('protocol', 'TCP')} {one['port']}{target}{node}")
    return "; ".join(told) or "no ports"


def service(
    name: str, run: str, ports: Sequence[Object], selector: Mapping[str, str] | None = None, **spec: Any,
) -> Object:
    """A Service; ``spec`` takes further fields by their API names (``type``, ``clusterIP``, …)."""
    body: Object = {"ports": list(ports), **spec}
    if selector:
        body["selector"] = dict(selector)
    return {"apiVersion": "v1", "kind": "Service", "metadata": metadata(name, run), "spec": body}


def deployment(
    name: str, run: str, replicas: int, labels: Mapping[str, str], container: Object,
) -> Object:
    """A Deployment of one container whose pods carry ``labels``."""
    return {
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata(name, run, labels),
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": dict(labels)},
            "template": {
                "metadata": {"labels": {**labels, RUN_LABEL: run}},
                "spec": {"containers": [container]},
            },
        },
    }


def endpoint_slice(
    name: str, run: str, service_name: str, addresses: Sequence[str],
    ports: Sequence[Object] = ({"name": "", "port": 80, "protocol": "TCP"},),
) -> Object:
    """A hand-made EndpointSlice of a Service, all its endpoints ready, in the family of the first."""
    labels = {
        "kubernetes.io/service-name": service_name,
        "endpointslice.kubernetes.io/managed-by": "service-conformance",
    }
    return {
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "metadata": metadata(name, run, labels),
        "addressType": family_of(addresses[0]), "ports": list(ports),
        "endpoints": [{"addresses": [address], "conditions": {"ready": True}} for address in addresses],
    }


def pod(name: str, run: str, labels: Mapping[str, str], spec: Object) -> Object:
    """A Pod."""
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata(name, run, labels), "spec": spec}


def agent_arguments(name: str, nonce: str, token: str, control: int, echo: Sequence[str]) -> list[str]:
    """The agent's own arguments, after its file."""
    arguments = ["--control", str(control), "--token", token, "--name", name, "--nonce", nonce]
    for listener in echo:
        arguments += ["--echo", listener]
    return arguments


def agent_pod(
    name: str, run: str, *, image: str, node: str, nonce: str, token: str, control: int,
    labels: Mapping[str, str] | None = None, echo: Sequence[str] = (), on_host: bool = False,
) -> Object:
    """A pod that runs the agent on ``node``, its program from the ConfigMap ``conformance-agent`` beside it.

    With ``on_host`` it has the node's own network.
    """
    arguments = agent_arguments(name, nonce, token, control, echo)
    container = {
        "name": "agent", "image": image, "command": ["python3", f"{AGENT_FOLDER}/{AGENT_FILE}", *arguments],
        "ports": [{"containerPort": control}],
        # One failure is enough, as rows turn it on purpose; a slow answer is none.
        "readinessProbe": {
            "httpGet": {"path": "/readyz", "port": control}, "periodSeconds": 1, "failureThreshold": 1,
            "timeoutSeconds": 5,
        },
        "volumeMounts": [{"name": "agent", "mountPath": AGENT_FOLDER}],
    }
    return pod(name, run, labels or {}, {
        "nodeName": node, "containers": [container], "terminationGracePeriodSeconds": 1,
        "tolerations": [{"operator": "Exists"}],
        "volumes": [{"name": "agent", "configMap": {"name": AGENT_CONFIG}}],
        **({"hostNetwork": True} if on_host else {}),
    })
