"""The --config file: kind KubeProxyConfiguration, read strictly. A file wins over flags, as upstream's
does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import yaml

from implementation import flags
from implementation.settings import Settings, SettingsError

API_VERSION, KIND = "kubeproxy.config.k8s.io/v1alpha1", "KubeProxyConfiguration"
Ignored = Any  # fields of upstream that change nothing here (README, "Limits")


class _Strict(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """Fields of the file; one that is not listed is an error."""


class _Iptables(_Strict):
    masquerade_bit: int | None = None
    masquerade_all: bool | None = None
    localhost_node_ports: bool | None = None
    sync_period: str | None = None
    min_sync_period: str | None = None


class _DetectLocal(_Strict):
    bridge_interface: str | None = None
    interface_name_prefix: str | None = None


class _Client(_Strict):
    kubeconfig: str | None = None
    accept_content_types: Ignored = None
    content_type: Ignored = None
    qps: Ignored = None
    burst: Ignored = None


class _Conntrack(_Strict):
    tcp_be_liberal: bool | None = None
    max_per_core: int | None = None
    min: int | None = None
    tcp_established_timeout: str | None = None
    tcp_close_wait_timeout: str | None = None
    udp_timeout: str | None = None
    udp_stream_timeout: str | None = None


class _File(_Strict):
    api_version: str
    kind: str
    mode: str | None = None
    hostname_override: str | None = None
    bind_address: str | None = None
    healthz_bind_address: str | None = None
    metrics_bind_address: str | None = None
    cluster_cidr: str | None = msgspec.field(name="clusterCIDR", default=None)
    detect_local_mode: str | None = None
    detect_local: _DetectLocal | None = None
    node_port_addresses: list[str] | None = None
    client_connection: _Client | None = None
    iptables: _Iptables | None = None
    conntrack: _Conntrack | None = None
    bind_address_hard_fail: Ignored = None
    config_sync_period: Ignored = None
    enable_profiling: Ignored = None
    feature_gates: Ignored = None
    ipvs: Ignored = None
    logging: Ignored = None
    nftables: Ignored = None
    oom_score_adj: Ignored = None
    port_range: Ignored = None
    show_hidden_metrics_for_version: Ignored = None
    winkernel: Ignored = None
    windows_run_as_service: Ignored = None


def load(path: str, settings: Settings, *, named: bool) -> Settings:
    """``settings`` with what the file at ``path`` says; ``named`` when the node's name was given as a flag.

    Raises SettingsError that names file and field.
    """
    try:
        return apply(Path(path).read_text(), settings, named=named)
    except OSError as error:
        raise SettingsError(f"--config {path}: {error.strerror}") from error
    except SettingsError as error:
        raise SettingsError(f"--config {path}: {error}") from error


def apply(text: str, settings: Settings, *, named: bool) -> Settings:
    """``settings`` with what this text says. Raises SettingsError that names the field."""
    try:
        found = msgspec.convert(yaml.safe_load(text), _File)
    except yaml.YAMLError as error:
        raise SettingsError(f"is not YAML: {error}") from error
    except msgspec.ValidationError as error:
        raise SettingsError(str(error)) from error
    if (found.api_version, found.kind) != (API_VERSION, KIND):
        raise SettingsError(f"is {found.api_version} {found.kind}; {API_VERSION} {KIND} is expected")
    checks = {field: (flag, check) for flag, field, check in flags.FLAGS}
    checks |= {field: (flag, flags.truth) for flag, field in flags.SWITCHES}
    values: dict[str, Any] = {}
    for name, given in _texts(found, named=named).items():
        field, check = checks[name]
        try:
            values[name] = check(given)
        except SettingsError as error:
            raise SettingsError(f"the field of {field}: {error}") from error
    return msgspec.structs.replace(settings, **values)


def _texts(found: _File, *, named: bool) -> dict[str, str]:
    """The given fields, as a flag would spell them, by field of Settings."""
    iptables, conntrack = found.iptables or _Iptables(), found.conntrack or _Conntrack()
    detect, client = found.detect_local or _DetectLocal(), found.client_connection or _Client()
    addresses = found.node_port_addresses
    given: dict[str, object] = {
        "mode": found.mode,
        "node_name": None if named else found.hostname_override or None,
        "bind_address": found.bind_address,
        "healthz": found.healthz_bind_address,
        "metrics": found.metrics_bind_address,
        "cluster_cidrs": found.cluster_cidr,
        "detect_local": found.detect_local_mode or None,
        "bridge": detect.bridge_interface or None,
        "interface_prefix": detect.interface_name_prefix or None,
        "node_port_addresses": None if addresses is None else ",".join(addresses),
        "kubeconfig": client.kubeconfig or None,
        "masquerade_bit": iptables.masquerade_bit,
        "masquerade_all": iptables.masquerade_all,
        "localhost_node_ports": iptables.localhost_node_ports,
        "sync_period": _duration(iptables.sync_period),
        "min_sync_period": _duration(iptables.min_sync_period),
        "tcp_be_liberal": conntrack.tcp_be_liberal,
        "conntrack_max_per_core": conntrack.max_per_core,
        "conntrack_min": conntrack.min,
        "tcp_established_timeout": conntrack.tcp_established_timeout,
        "tcp_close_wait_timeout": conntrack.tcp_close_wait_timeout,
        "udp_timeout": conntrack.udp_timeout,
        "udp_stream_timeout": conntrack.udp_stream_timeout,
    }
    return {
        name: str(value).lower() if isinstance(value, bool) else str(value)
        for name, value in given.items()
        if value is not None
    }


def shown(settings: Settings) -> dict[str, Any]:
    """The settings in force, as /configz gives them: by upstream's key, in the form of the file."""
    addresses = list(settings.node_port_networks)
    return {
        API_VERSION.partition("/")[0]: {
            "mode": settings.mode,
            "hostnameOverride": settings.node_name,
            "bindAddress": settings.bind_address,
            "healthzBindAddress": settings.healthz,
            "metricsBindAddress": settings.metrics,
            "clusterCIDR": ",".join(settings.cluster_cidrs),
            "detectLocalMode": settings.detect_local,
            "detectLocal": {
                "bridgeInterface": settings.bridge,
                "interfaceNamePrefix": settings.interface_prefix,
            },
            "nodePortAddresses": addresses or None,
            "clientConnection": {"kubeconfig": settings.kubeconfig},
            "iptables": {
                "masqueradeBit": settings.masquerade_bit,
                "masqueradeAll": settings.masquerade_all,
                "localhostNodePorts": settings.localhost_node_ports,
                "syncPeriod": f"{settings.sync_period:g}s",
                "minSyncPeriod": f"{settings.min_sync_period:g}s",
            },
            "conntrack": {
                "maxPerCore": settings.conntrack_max_per_core,
                "min": settings.conntrack_min,
                "tcpEstablishedTimeout": f"{settings.tcp_established_timeout:g}s",
                "tcpCloseWaitTimeout": f"{settings.tcp_close_wait_timeout:g}s",
                "tcpBeLiberal": settings.tcp_be_liberal,
                "udpTimeout": f"{settings.udp_timeout:g}s",
                "udpStreamTimeout": f"{settings.udp_stream_timeout:g}s",
            },
        }
    }


def _duration(text: str | None) -> str | None:
    """A duration as given; "0s" is what upstream writes for "the default"."""
    return None if text in (None, "0s", "0") else text
