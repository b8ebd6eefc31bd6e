"""Small builders of API objects and of what is served."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import msgspec

from implementation.dataplane.iptables.options import Detect, LocalTraffic, Options
from implementation.dataplane.nftables.options import Options as RowOptions
from implementation.objects import EndpointSlice, Service, ServicePort, SliceEndpoint, SlicePort
from implementation.state.desired import Desired, ThisNode
from implementation.state.serve import serve

NODE = ThisNode("here", ("192.168.2.114",))
ROWS = RowOptions(pods=((4, "10.42.0.0/16"), (6, "fd42::/48")))
OPTIONS = Options(local_traffic=((4, LocalTraffic(Detect.SOURCE, "10.42.0.0/16")),))


def service(
    name: str = "web",
    ip: str = "10.43.0.5",
    port: int = 80,
    *,
    namespace: str = "default",
    port_name: str = "",
    protocol: str = "TCP",
    node_port: int = 0,
    **more: Any,
) -> Service:
    """A Service with one port."""
    ports = more.pop("ports", (ServicePort(port_name, protocol, port, node_port),))
    return Service(
        namespace=namespace, name=name, cluster_ips=more.pop("cluster_ips", (ip,)), ports=ports, **more
    )


def endpoints_of(
    of: Service,
    *endpoints: SliceEndpoint | str,
    port: int = 8080,
    name: str = "",
    family: int = 4,
    ports: Sequence[SlicePort] = (),
) -> EndpointSlice:
    """A slice of a Service; a string is a ready endpoint on this node's neighbour."""
    made = tuple(SliceEndpoint(e, node="there") if isinstance(e, str) else e for e in endpoints)
    ports = ports or tuple(SlicePort(p.name, p.protocol, port) for p in of.ports)
    return EndpointSlice(of.namespace, name or f"{of.name}-1", of.name, family, tuple(ports), made)


def desired(*pairs: tuple[Service, Sequence[EndpointSlice]], node: ThisNode = NODE) -> Desired:
    """What follows from these Services and slices on ``node``."""
    return Desired({one.key: serve(one, slices, node) for one, slices in pairs})


def raw(value: Any) -> msgspec.Raw:
    """A value as the API would send it."""
    return msgspec.Raw(json.dumps(value).encode())


def service_json(name: str = "web", namespace: str = "default", **spec: Any) -> dict[str, Any]:
    """A Service as JSON, ClusterIP 10.43.0.5 with port 80 unless said otherwise."""
    spec = {"clusterIP": "10.43.0.5", "clusterIPs": ["10.43.0.5"], "ports": [{"port": 80}], **spec}
    status = spec.pop("status", {})
    return {"metadata": {"name": name, "namespace": namespace}, "spec": spec, "status": status}


def slice_json(
    service_name: str = "web",
    *addresses: str,
    namespace: str = "default",
    name: str = "",
    port: int = 8080,
) -> dict[str, Any]:
    """An EndpointSlice as JSON."""
    return {
        "metadata": {
            "name": name or f"{service_name}-1",
            "namespace": namespace,
            "labels": {"kubernetes.io/service-name": service_name},
        },
        "addressType": "IPv4",
        "ports": [{"name": "", "port": port, "protocol": "TCP"}],
        "endpoints": [{"addresses": [address]} for address in addresses],
    }
