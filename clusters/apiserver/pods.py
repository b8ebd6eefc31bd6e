"""Pods and pod templates: the defaults of fields left out, and what is wrong with one. Pure.

Rules: ``pkg/apis/core/v1/defaults.go``, ``ValidatePodSpec`` and the ServiceAccount admission plug-in of
Kubernetes 1.36, for the fields this cluster's kubelet understands; other fields pass as they came.
"""

from __future__ import annotations

from typing import Any

from clusters.apiserver import names
from clusters.apiserver.status import FieldError, duplicate, forbidden_field, invalid, not_supported, required

_PROBES = ("livenessProbe", "readinessProbe", "startupProbe")
_POLICIES = ("Always", "OnFailure", "Never")
_DNS = ("ClusterFirstWithHostNet", "ClusterFirst", "Default", "None")


def default_pod_spec(spec: dict[str, Any]) -> None:
    """Sets, in place, the fields of a pod spec that Kubernetes sets when they are left out."""
    spec.setdefault("restartPolicy", "Always")
    spec.setdefault("dnsPolicy", "ClusterFirst")
    spec.setdefault("terminationGracePeriodSeconds", 30)
    spec.setdefault("securityContext", {})
    spec.setdefault("schedulerName", "default-scheduler")
    for volume in spec.get("volumes", ()):
        if "configMap" in volume:
            volume["configMap"].setdefault("defaultMode", 420)
    for container in [*spec.get("containers", ()), *spec.get("initContainers", ())]:
        _default_container(container, bool(spec.get("hostNetwork")))


def _default_container(container: dict[str, Any], host_network: bool) -> None:
    image = container.get("image", "")
    tag = image.rpartition("/")[2].partition(":")[2]
    moving = "@" not in image and tag in {"", "latest"}
    container.setdefault("imagePullPolicy", "Always" if moving else "IfNotPresent")
    container.setdefault("terminationMessagePath", "/dev/termination-log")
    container.setdefault("terminationMessagePolicy", "File")
    container.setdefault("resources", {})
    for port in container.get("ports", ()):
        port.setdefault("protocol", "TCP")
        if host_network and port.get("containerPort"):
            port.setdefault("hostPort", port["containerPort"])
    for variable in container.get("env", ()):
        reference = variable.get("valueFrom", {}).get("fieldRef")
        if reference is not None:
            reference.setdefault("apiVersion", "v1")
    for probe in (container[name] for name in _PROBES if name in container):
        for field, value in (
            ("timeoutSeconds", 1),
            ("periodSeconds", 10),
            ("successThreshold", 1),
            ("failureThreshold", 3),
        ):
            if not probe.get(field):
                probe[field] = value
        if "httpGet" in probe:
            probe["httpGet"].setdefault("path", "/")
            probe["httpGet"].setdefault("scheme", "HTTP")


def default_pod(pod: dict[str, Any]) -> None:
    """Sets, in place, what a Pod gets on creation: its spec's defaults, service account, first status."""
    spec = pod.setdefault("spec", {})
    default_pod_spec(spec)
    spec.setdefault("enableServiceLinks", True)
    spec.setdefault("serviceAccountName", "default")
    spec.setdefault("serviceAccount", spec["serviceAccountName"])
    spec.setdefault("preemptionPolicy", "PreemptLowerPriority")
    spec.setdefault("priority", 0)
    for condition in pod.get("status", {}).get("conditions") or ():
        condition.setdefault("lastProbeTime", None)  # Kubernetes writes this one even where there is none
        if not condition.get("message"):
            condition.pop("message", None)  # and never this one
    for trouble in ("not-ready", "unreachable"):
        _tolerate(spec, f"node.kubernetes.io/{trouble}")


def _tolerate(spec: dict[str, Any], key: str) -> None:
    """A pod stays five minutes on a node in trouble, unless it says how long (DefaultTolerationSeconds)."""
    held = spec.get("tolerations") or []
    if any(t.get("key") in {None, "", key} and t.get("effect") in {None, "", "NoExecute"} for t in held):
        return
    added = {"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300}
    spec["tolerations"] = [*held, added]


def pod_spec_errors(spec: dict[str, Any], path: str) -> list[FieldError]:
    """What is wrong with a pod spec; ``path`` is where it stands (``spec``, ``spec.template.spec``)."""
    volumes = [volume.get("name", "") for volume in spec.get("volumes", ())]
    wrong: list[FieldError] = []
    for index, name in enumerate(volumes):
        wrong += _name_errors(name, f"{path}.volumes[{index}].name", volumes[:index])
    wrong += _containers_errors(spec.get("containers", []), f"{path}.containers", volumes)
    if spec.get("initContainers"):
        wrong += _containers_errors(spec["initContainers"], f"{path}.initContainers", volumes)
    if spec.get("restartPolicy") not in _POLICIES:
        wrong.append(not_supported(f"{path}.restartPolicy", spec.get("restartPolicy", ""), _POLICIES))
    if spec.get("dnsPolicy") not in _DNS:
        wrong.append(not_supported(f"{path}.dnsPolicy", spec.get("dnsPolicy", ""), _DNS))
    if spec.get("terminationGracePeriodSeconds", 0) < 0:
        wrong.append(
            invalid(
                f"{path}.terminationGracePeriodSeconds",
                spec["terminationGracePeriodSeconds"],
                "must be greater than or equal to 0",
            )
        )
    for field, rule in (
        ("nodeName", names.dns_subdomain),
        ("hostname", names.dns_label),
        ("subdomain", names.dns_label),
        ("serviceAccountName", names.dns_subdomain),
    ):
        if value := spec.get(field):
            wrong += [invalid(f"{path}.{field}", value, message) for message in rule(value)]
    return wrong


def _name_errors(name: str, path: str, earlier: list[str]) -> list[FieldError]:
    if not name:
        return [required(path)]
    wrong = [invalid(path, name, message) for message in names.dns_label(name)]
    return [*wrong, duplicate(path, name)] if name in earlier else wrong


def _containers_errors(containers: list[dict[str, Any]], path: str, volumes: list[str]) -> list[FieldError]:
    if not containers:
        return [required(path)]
    wrong: list[FieldError] = []
    seen: list[str] = []
    for index, container in enumerate(containers):
        at, name = f"{path}[{index}]", container.get("name", "")
        wrong += _name_errors(name, f"{at}.name", seen)
        seen.append(name)
        image = container.get("image", "")
        if not image:
            wrong.append(required(f"{at}.image"))
        elif image != image.strip():
            wrong.append(invalid(f"{at}.image", image, "must not have leading or trailing whitespace"))
        wrong += _container_port_errors(container.get("ports", []), f"{at}.ports")
        wrong += _env_errors(container.get("env", []), f"{at}.env")
        for number, mount in enumerate(container.get("volumeMounts", ())):
            if mount.get("name", "") not in volumes:
                wrong.append(
                    FieldError(
                        "FieldValueNotFound", f"{at}.volumeMounts[{number}].name", mount.get("name", ""), ""
                    )
                )
            if not mount.get("mountPath"):
                wrong.append(required(f"{at}.volumeMounts[{number}].mountPath"))
        for probe in (name for name in _PROBES if name in container):
            wrong += _probe_errors(container[probe], f"{at}.{probe}")
    return wrong


def _container_port_errors(ports: list[dict[str, Any]], path: str) -> list[FieldError]:
    wrong: list[FieldError] = []
    seen: set[str] = set()
    for index, port in enumerate(ports):
        at, number = f"{path}[{index}]", port.get("containerPort", 0)
        if name := port.get("name"):
            wrong += [invalid(f"{at}.name", name, message) for message in names.port_name(name)]
            if name in seen:
                wrong.append(duplicate(f"{at}.name", name))
            seen.add(name)
        if not number:
            wrong.append(required(f"{at}.containerPort"))
        else:
            wrong += [
                invalid(f"{at}.containerPort", number, message) for message in names.port_number(number)
            ]
        if host := port.get("hostPort"):
            wrong += [invalid(f"{at}.hostPort", host, message) for message in names.port_number(host)]
        if port.get("protocol") not in {"TCP", "UDP", "SCTP"}:
            wrong.append(not_supported(f"{at}.protocol", port.get("protocol", ""), ("SCTP", "TCP", "UDP")))
    return wrong


def _env_errors(variables: list[dict[str, Any]], path: str) -> list[FieldError]:
    wrong = []
    for index, variable in enumerate(variables):
        if not variable.get("name"):
            wrong.append(required(f"{path}[{index}].name"))
        if variable.get("value") and "valueFrom" in variable:
            wrong.append(
                invalid(f"{path}[{index}].valueFrom", "", "may not be specified when `value` is not empty")
            )
    return wrong


def _probe_errors(probe: dict[str, Any], path: str) -> list[FieldError]:
    handlers = [name for name in ("exec", "httpGet", "tcpSocket", "grpc") if name in probe]
    if not handlers:
        return [required(path, "must specify a handler type")]
    wrong = [
        forbidden_field(f"{path}.{name}", "may not specify more than 1 handler type") for name in handlers[1:]
    ]
    for name in ("httpGet", "tcpSocket"):
        if name in probe:
            port = probe[name].get("port", 0)
            rule = names.port_name(port) if isinstance(port, str) else names.port_number(port)
            wrong += [invalid(f"{path}.{name}.port", port, message) for message in rule]
    return wrong


_CHANGEABLE = (
    "activeDeadlineSeconds",
    "tolerations",
    "terminationGracePeriodSeconds",
    "containers",
    "initContainers",
    "schedulingGates",
)


def pod_update_errors(new: dict[str, Any], old: dict[str, Any]) -> list[FieldError]:
    """A pod's spec may change in its images and few other fields only; a node is given by a binding."""
    if _frozen(new["spec"]) == _frozen(old["spec"]):
        return []
    return [
        forbidden_field(
            "spec",
            "pod updates may not change fields other than `spec.containers[*].image`,"
            "`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only "
            "additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be "
            "set to 1 if it was previously negative)",
        )
    ]


def _frozen(spec: dict[str, Any]) -> dict[str, Any]:
    fixed = {name: value for name, value in spec.items() if name not in _CHANGEABLE}
    for name in ("containers", "initContainers"):
        fixed[name] = [
            {key: value for key, value in container.items() if key not in {"image", "imagePullPolicy"}}
            for container in spec.get(name, ())
        ]
    return fixed
