"""What provides Services, read from a descriptor: a TOML file that names programs and declared features.

::

    name = "reference-iptables"
    version = "0.1.0"
    description = "…"            # optional, as is url
    manifests = ["rights.yaml"]  # optional: applied first; beside the descriptor
    [[per-node]]                 # a program on every node; [[controller]]: one on the control plane
    name = "kube-proxy"
    python = "module:function"   # or argv = ["kube-proxy", …]
    args = ["--hostname-override={node}"]
    env = { NAME = "value" }
    ready = "http://127.0.0.1:10256/healthz"
    ready-seconds = 30
    account = "kube-system/kube-proxy"  # whose token its kubeconfig holds; without it, an administrator's
    [[image]]                    # a program that runs where a pod names this image
    name = "metallb/speaker"
    python = "module:function"
    args = ["--node-name=$(NAME)"]  # $(NAME): a variable of the container
    [features]                   # optional features it declares: true, false or a text
    iptables-chains = "current"
    [miniature]                  # only in a wrong implementation: what must catch it
"""

from __future__ import annotations

import difflib
import importlib.util
import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from clusters import binaries, manifests
from clusters.base import ClusterError, Command, Implementation, StandIn

_TOP = ("name", "version", "description", "url", "manifests",
        "per-node", "controller", "image", "features", "miniature")
_COMMAND = ("name", "python", "argv", "args", "env", "ready", "ready-seconds", "account")
_PLACEHOLDERS = ("node", "node_ip", "kubeconfig", "cluster_cidr", "service_cidr", "run_dir")
_IMAGE = ("name", "python", "args")
_REFERENCE = re.compile(r"[a-z0-9]+(?:[._-]+[a-z0-9]+)*(?:/[a-z0-9]+(?:[._-]+[a-z0-9]+)*)*")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_ACCOUNT = re.compile(r"[a-z0-9][a-z0-9.-]*/[a-z0-9][a-z0-9.-]*")
_ENTRY = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")


def search_folders() -> tuple[Path, ...]:
    """Where the installed ``implementation`` package keeps its descriptors; found by name, never imported.

    Last those of others' programs, which only a checkout has.
    """
    spec = importlib.util.find_spec("implementation")
    if spec is None or not spec.submodule_search_locations:
        return ()
    root = Path(next(iter(spec.submodule_search_locations)))
    return (root / "descriptors", root / "miniatures", root.parent / "ci" / "peers" / "descriptors")


def find(name_or_path: str, search: Sequence[Path] | None = None) -> Implementation:
    """The implementation with this name in the ``search`` folders, or in this TOML file.

    Raises ClusterError: no such file or name (with the nearest names there are), or a field that is wrong.
    """
    if name_or_path.endswith(".toml") or "/" in name_or_path:
        return read(Path(name_or_path))
    folders = search_folders() if search is None else search
    known: dict[str, Path] = {}
    for folder in folders:
        for path in sorted(folder.glob("*.toml")):
            known.setdefault(path.stem, path)
    if name_or_path in known:
        return read(known[name_or_path])
    near = difflib.get_close_matches(name_or_path, known, 3)
    there_are = f"there are: {', '.join(sorted(known)) or 'none'}"
    hint = f"did you mean {' or '.join(near)}?" if near else there_are
    raise ClusterError(f"there is no implementation {name_or_path!r}; {hint} (or give a .toml file)")


def read(path: Path) -> Implementation:
    """The implementation in a descriptor. Raises ClusterError naming file, field and what is allowed."""
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ClusterError(f"{path}: cannot be read ({error.strerror}); give the path of a descriptor "
                           "or the name of an implementation") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ClusterError(f"{path}: not TOML: {error}") from error
    return parse(data, str(path))


def parse(data: Mapping[str, Any], where: str) -> Implementation:
    """The implementation in decoded TOML; ``where`` names the file in errors (ClusterError)."""
    _known(data, _TOP, where, "")
    per_node = _commands(data, "per-node", where)
    controllers = _commands(data, "controller", where)
    images = tuple(_image(entry, where, f"[[image]] number {number}: ")
                   for number, entry in enumerate(_tables(data, "image", where), 1))
    names = [command.name for command in (*per_node, *controllers)]
    for name in names:
        if names.count(name) > 1:
            raise ClusterError(f"{where}: two programs are named {name!r}; give each a name of its own")
    for commands in (per_node, controllers):
        _ports_apart(commands, where)
    features = data.get("features", {})
    if not isinstance(features, dict):
        raise ClusterError(f"{where}: features must be a table, such as [features]")
    for name, value in features.items():
        if not isinstance(value, bool | str):
            raise ClusterError(f"{where}: feature {name} is {value!r}; true, false or a text is allowed")
    name = _text(data, "name", where, "", needed=True)
    if not _NAME.fullmatch(name):
        raise ClusterError(f"{where}: name {name!r}: letters, digits, dot, dash and underscore are allowed")
    return Implementation(
        name=name, version=_text(data, "version", where, "", needed=True),
        description=_text(data, "description", where, ""), per_node=per_node, controllers=controllers,
        features=dict(features), url=_text(data, "url", where, ""),
        objects=tuple(item for file in _list(data, "manifests", where, "")
                      for item in manifests.read(_beside(file, where))),
        images=images,
    )


def _beside(file: str, where: str) -> Path:
    """The manifest of this name: beside the descriptor, else among what ``ci/peers/build`` has made."""
    places = [Path(where).parent, *map(Path, binaries.folders())]
    return next((place / file for place in places if (place / file).is_file()), places[0] / file)


def _ports_apart(commands: Sequence[Command], where: str) -> None:
    """Refuse two programs of one place that would answer at the same port: one would vouch for the other."""
    known: dict[int, str] = {}
    for command in commands:
        port = urlsplit(command.ready).port or 80 if command.ready else 0
        if port and port in known:
            raise ClusterError(f"{where}: {known[port]} and {command.name} are both ready at port {port}; "
                               "give each a port of its own")
        known[port] = command.name


def _known(data: Mapping[str, Any], allowed: Sequence[str], where: str, inside: str) -> None:
    for key in data:
        if key not in allowed:
            near = difflib.get_close_matches(key, allowed, 1)
            hint = f"did you mean {near[0]}?" if near else f"allowed are: {', '.join(allowed)}"
            raise ClusterError(f"{where}: unknown key {inside}{key}; {hint}")


def _text(
    data: Mapping[str, Any], key: str, where: str, inside: str, *, needed: bool = False,
) -> str:
    value = data.get(key, "")
    if not isinstance(value, str):
        raise ClusterError(f"{where}: {inside}{key} is {value!r}; it must be a text in quotes")
    if needed and not value:
        raise ClusterError(f"{where}: {inside}{key} is missing; it must be a text that is not empty")
    return value


def _tables(data: Mapping[str, Any], key: str, where: str) -> list[Mapping[str, Any]]:
    entries = data.get(key, [])
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise ClusterError(f"{where}: {key} must be a list of tables; write [[{key}]] above each program")
    return entries


def _commands(data: Mapping[str, Any], key: str, where: str) -> tuple[Command, ...]:
    return tuple(_command(entry, where, f"[[{key}]] number {number}: ")
                 for number, entry in enumerate(_tables(data, key, where), 1))


def _image(data: Mapping[str, Any], where: str, inside: str) -> StandIn:
    _known(data, _IMAGE, where, inside)
    name = _text(data, "name", where, inside, needed=True)
    if not _REFERENCE.fullmatch(name):
        raise ClusterError(f"{where}: {inside}name {name!r}: an image without registry, tag and digest, such "
                           "as metallb/speaker")
    python = _text(data, "python", where, inside, needed=True)
    if not _ENTRY.fullmatch(python):
        raise ClusterError(f"{where}: {inside}python is {python!r}; write module:function")
    return StandIn(name, python, _list(data, "args", where, inside))


def _command(data: Mapping[str, Any], where: str, inside: str) -> Command:
    _known(data, _COMMAND, where, inside)
    name = _text(data, "name", where, inside, needed=True)
    if not _NAME.fullmatch(name):
        raise ClusterError(f"{where}: {inside}name {name!r}: letters, digits, dot, dash and underscore "
                           "are allowed")
    python, argv = _text(data, "python", where, inside), _list(data, "argv", where, inside)
    if bool(python) == bool(argv):
        raise ClusterError(f"{where}: {inside}exactly one of python and argv says what to start")
    if python and not _ENTRY.fullmatch(python):
        raise ClusterError(f"{where}: {inside}python is {python!r}; write module:function")
    env = data.get("env", {})
    if not isinstance(env, dict) or not all(isinstance(value, str) for value in env.values()):
        raise ClusterError(f"{where}: {inside}env must be a table of texts, such as {{ NAME = \"value\" }}")
    seconds = data.get("ready-seconds", 30)
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 < seconds <= 3600:
        raise ClusterError(f"{where}: {inside}ready-seconds is {seconds!r}; a number above 0, at most 3600")
    ready = _text(data, "ready", where, inside)
    _ready(ready, where, inside)
    account = _text(data, "account", where, inside)
    if account and not _ACCOUNT.fullmatch(account):
        raise ClusterError(f"{where}: {inside}account is {account!r}; "
                           "write NAMESPACE/NAME of a ServiceAccount")
    args = _list(data, "args", where, inside)
    for text in (*argv, *args, *env.values()):
        _braces(text, where, inside)
    return Command(name=name, argv=argv, python=python, args=args, env=dict(env), ready=ready,
                   ready_seconds=float(seconds), account=account)


def _list(data: Mapping[str, Any], key: str, where: str, inside: str) -> tuple[str, ...]:
    value = data.get(key, [])
    if not isinstance(value, list) or not all(isinstance(word, str) for word in value):
        raise ClusterError(f"{where}: {inside}{key} is {value!r}; it must be a list of texts")
    return tuple(value)


def _ready(ready: str, where: str, inside: str) -> None:
    if not ready:
        return
    try:
        parts = urlsplit(ready)
        good = parts.scheme == "http" and bool(parts.hostname) and parts.port != 0
    except ValueError:
        good = False
    if not good:
        raise ClusterError(f"{where}: {inside}ready is {ready!r}; a URL such as "
                           "http://127.0.0.1:10256/healthz is wanted")


def _braces(text: str, where: str, inside: str) -> None:
    """Refuse a misspelt placeholder, which would otherwise reach the program as it stands."""
    for name in re.findall(r"\{([a-z_]+)\}", text):
        if name not in _PLACEHOLDERS:
            raise ClusterError(f"{where}: {inside}{{{name}}} in {text!r} is not known; there are "
                               + ", ".join(f"{{{known}}}" for known in _PLACEHOLDERS))
