"""Descriptors: what they may say, and the sentence for each mistake."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest

from clusters.base import ClusterError, StandIn
from clusters.implementations import find, parse, read, search_folders

GOOD = """
name = "mine"
version = "1.2"
description = "a proxy"
url = "https://example.org"
[[per-node]]
name = "proxy"
argv = ["proxy", "--node={node}", "--config={run_dir}/x"]
env = { KUBECONFIG = "{kubeconfig}" }
ready = "http://127.0.0.1:10256/healthz"
ready-seconds = 5
[[controller]]
name = "control"
python = "package.module:main"
args = ["--cidr={cluster_cidr},{service_cidr}", "{node_ip}"]
[features]
dual-stack = false
iptables-chains = "current"
[miniature]
caught-by = ["CLUSTERIP-01"]
"""


def test_a_whole_descriptor_is_read() -> None:
    found = parse(tomllib.loads(GOOD), "mine.toml")
    assert (found.name, found.version, found.url) == ("mine", "1.2", "https://example.org")
    proxy, control = found.per_node[0], found.controllers[0]
    assert proxy.argv == ("proxy", "--node={node}", "--config={run_dir}/x")
    assert (proxy.env, proxy.ready_seconds) == ({"KUBECONFIG": "{kubeconfig}"}, 5.0)
    assert (control.python, control.ready, control.ready_seconds) == ("package.module:main", "", 30.0)
    assert found.features == {"dual-stack": False, "iptables-chains": "current"}


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('version = "1.2"', "", "version is missing"),
        ('name = "mine"', "name = 3", "name is 3; it must be a text"),
        ('name = "mine"', 'name = "a b"', "letters, digits"),
        ("ready-seconds = 5", "ready_seconds = 5", r"unknown key \[\[per-node\]\] number 1: ready_seconds; "
                                                  "did you mean ready-seconds"),
        ("ready-seconds = 5", "ready-seconds = 0", "a number above 0"),
        ("ready-seconds = 5", "ready-seconds = true", "a number above 0"),
        ('url = "https://example.org"', 'colour = "red"', "unknown key colour; allowed are"),
        ("[[controller]]", "[controller]", "controller must be a list of tables"),
        ('python = "package.module:main"', "", "exactly one of python and argv"),
        ('python = "package.module:main"', 'python = "package.module"', "write module:function"),
        ('name = "control"', 'name = "proxy"', "two programs are named 'proxy'"),
        ("{node}", "{nod}", r"\{nod\} in '--node=\{nod\}' is not known"),
        ("dual-stack = false", "dual-stack = 3", "feature dual-stack is 3"),
        ('ready = "http://127.0.0.1:10256/healthz"', 'ready = "10256"', "a URL such as"),
        ('env = { KUBECONFIG = "{kubeconfig}" }', "env = { A = 1 }", "env must be a table of texts"),
        ('["proxy", "--node={node}", "--config={run_dir}/x"]', '"proxy"', "it must be a list of texts"),
    ],
)
def test_a_mistake_is_named_with_file_field_and_what_is_allowed(old: str, new: str, words: str) -> None:
    assert old in GOOD
    with pytest.raises(ClusterError, match=words) as caught:
        parse(tomllib.loads(GOOD.replace(old, new)), "mine.toml")
    assert str(caught.value).startswith("mine.toml: ")


def test_a_descriptor_may_only_say_what_is_there() -> None:
    found = parse({"name": "x", "version": "1", "features": {"external-ips": True}}, "x.toml")
    assert (found.per_node, found.controllers, dict(found.features)) == ((), (), {"external-ips": True})


def test_by_name_by_path_and_by_a_name_that_is_nearly_right(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(GOOD)
    assert find("mine", [tmp_path]).name == "mine"
    assert find(str(tmp_path / "mine.toml")).name == "mine"
    with pytest.raises(ClusterError, match="did you mean mine"):
        find("mien", [tmp_path])
    with pytest.raises(ClusterError, match="there are: mine"):
        find("something-else", [tmp_path])
    with pytest.raises(ClusterError, match="cannot be read"):
        find("./missing.toml")
    (tmp_path / "bad.toml").write_text("name =")
    with pytest.raises(ClusterError, match="not TOML"):
        read(tmp_path / "bad.toml")


def test_every_descriptor_in_the_tree_can_be_read() -> None:
    paths = [path for folder in search_folders() for path in folder.glob("*.toml")]
    assert paths
    for path in paths:
        assert read(path).name == path.stem


def test_manifests_are_read_from_beside_the_descriptor_and_each_mistake_is_named(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text('manifests = ["rights.yaml"]\n' + GOOD)
    with pytest.raises(ClusterError, match=r"rights\.yaml: this manifest cannot be read"):
        read(tmp_path / "mine.toml")
    for text, why in (
        ("a: [", "not YAML"), ("- 1", "object 1 needs apiVersion, kind and metadata.name"),
        ("apiVersion: v1\nkind: Namespace\nmetadata: {name: a}\n---\nkind: X", "object 2 needs apiVersion"),
    ):
        (tmp_path / "rights.yaml").write_text(text)
        with pytest.raises(ClusterError, match=why):
            read(tmp_path / "mine.toml")
    (tmp_path / "rights.yaml").write_text("apiVersion: v1\nkind: Namespace\nmetadata: {name: a}\n---\n")
    assert [item["kind"] for item in read(tmp_path / "mine.toml").objects] == ["Namespace"]


def test_an_account_is_a_namespace_and_a_name() -> None:
    told = GOOD.replace("ready-seconds = 5", 'account = "kube-system/mine"')
    found = parse(tomllib.loads(told), "mine.toml")
    assert found.per_node[0].account == "kube-system/mine"
    with pytest.raises(ClusterError, match="account is 'mine'; write NAMESPACE/NAME"):
        parse(tomllib.loads(GOOD.replace("ready-seconds = 5", 'account = "mine"')), "mine.toml")


def test_an_implementation_brings_programs_for_images() -> None:
    image = {"name": "metallb/speaker", "python": "a.b:main", "args": ["--n=$(N)"]}
    found = parse({**tomllib.loads(GOOD), "image": [image]}, "x")
    assert found.images == (StandIn("metallb/speaker", "a.b:main", ("--n=$(N)",)),)


@pytest.mark.parametrize(("image", "words"), [
    ({"name": "docker.io/a:1", "python": "a:b"}, "without registry, tag and digest"),
    ({"name": "a", "python": "a.b"}, "write module:function"), ({"python": "a:b"}, "name is missing"),
    ({"name": "a", "argv": ["x"]}, "unknown key"),
])
def test_a_wrong_image_is_explained(image: dict[str, Any], words: str) -> None:
    with pytest.raises(ClusterError, match=words):
        parse({**tomllib.loads(GOOD), "image": [image]}, "x")
