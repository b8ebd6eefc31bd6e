"""From a container's specification to the program that runs it: words, environment, files, volumes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clusters.netns import images, podspec
from clusters.netns.podroot import Root
from clusters.netns.program import Program

if TYPE_CHECKING:
    from clusters.netns.podrun import PodRun

Object = dict[str, Any]
Maps = Mapping[str, Mapping[str, str]]
Binds = tuple[tuple[str, str], ...]
_ACCOUNT = "/run/secrets/kubernetes.io/serviceaccount"  # where pods look, as /var/run is /run


def program(pod: PodRun, spec: Object, image: images.Image, maps: Maps, termination: Path) -> Program:
    """The container's program, ``termination`` the file of its last words.

    ValueError says what in its specification is not supported.
    """
    rooms = pod.kubelet.rooms
    own = podspec.environment(pod.pod, spec, pod.facts, maps)
    if spec.get("tty"):
        own.setdefault("TERM", "xterm")
    command = [podspec.expand(word, own) for word in spec.get("command") or ()]
    args = [podspec.expand(word, own) for word in spec.get("args") or ()]
    python, words = images.program_of(image, command, args)
    if image.account:  # the image's own words, which the container's environment completes
        words = tuple(podspec.expand(word, own) for word in words)
    if image.kubeconfig:  # the cluster DNS
        python = rooms.config["dns"]
    binds, writable = _volumes(pod, spec, maps)
    termination.parent.mkdir(parents=True, exist_ok=True)
    termination.write_bytes(b"")
    last_words = (str(termination), spec.get("terminationMessagePath") or "/dev/termination-log")
    return Program(
        argv=() if python else words, python=python, args=words if python else (),
        env=rooms.pod_environment(own), cwd=spec.get("workingDir") or "/",
        hostname="" if pod.network.on_host else podspec.hostname(pod.pod), net=True,
        root=Root(_files(pod, image), binds, (*writable, last_words), tuple(rooms.config["keep"])),
    )


def _files(pod: PodRun, image: images.Image) -> dict[str, str]:
    """The files of the container that no volume brings."""
    rooms = pod.kubelet.rooms
    files = {
        "/etc/resolv.conf": podspec.resolv_conf(pod.pod),
        "/etc/hosts": podspec.hosts_file(pod.pod, pod.facts),
        "/etc/hostname": podspec.hostname(pod.pod) + "\n",
    }
    if image.account:
        namespace = pod.pod["metadata"].get("namespace", "default")
        files |= {f"{_ACCOUNT}/{name}": text for name, text in (
            ("token", pod.token), ("ca.crt", rooms.authority().decode()), ("namespace", namespace))}
    if image.kubeconfig:
        files["/run/kubeconfig"] = (rooms.folder / "internal" / "coredns").read_text()
    return files


def _volumes(pod: PodRun, spec: Object, maps: Maps) -> tuple[Binds, Binds]:
    """What to show in the container, read-only and writable: (source, target)."""
    volumes = {volume["name"]: volume for volume in pod.pod["spec"].get("volumes") or ()}
    shown: list[tuple[str, str]] = []
    writable: list[tuple[str, str]] = []
    for mount in spec.get("volumeMounts") or ():
        volume = volumes.get(mount["name"])
        if volume is None:
            raise ValueError(f"volumeMount {mount['name']!r} names no volume of the pod")
        folder = pod.folder / "volumes" / str(volume["name"])
        if "emptyDir" in volume:
            source = (folder / str(mount.get("subPath") or "")).resolve()
            if not source.is_relative_to(folder.resolve()):
                raise ValueError(f"volumeMount {mount['name']!r}: subPath leads out of the volume")
            source.mkdir(parents=True, exist_ok=True)
            source.chmod(0o777)
            (shown if mount.get("readOnly") else writable).append((str(source), mount["mountPath"]))
        elif "configMap" in volume or "secret" in volume:
            _write_map(folder, volume, maps)
            source = folder / mount["subPath"] if mount.get("subPath") else folder
            shown.append((str(source), mount["mountPath"]))
        elif mount["mountPath"] != "/var/run/secrets/kubernetes.io/serviceaccount":
            raise ValueError(f"volume {mount['name']!r}: only configMap, secret and emptyDir are "
                             "supported here")
    return tuple(shown), tuple(writable)


def _write_map(target: Path, volume: Object, maps: Maps) -> None:
    """Write the files of a ConfigMap's or Secret's volume."""
    target.mkdir(parents=True, exist_ok=True)
    kind = "configmap" if "configMap" in volume else "secret"
    about = volume["configMap"] if kind == "configmap" else volume["secret"]
    name = about.get("secretName") or about.get("name", "")
    values, items = maps.get(f"{kind}/{name}", {}), about.get("items")
    chosen = {item["key"]: item["path"] for item in items} if items else {key: key for key in values}
    for key, path in chosen.items():
        if key not in values:
            raise ValueError(f"volume {volume['name']!r}: {kind} {name!r} has no key {key!r}")
        file = target / path
        if not file.resolve().is_relative_to(target.resolve()):
            raise ValueError(f"volume {volume['name']!r}: path {path!r} leads out of the volume")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(values[key])
