"""The embedded cluster's decisions that need no kernel: specifications, statuses, images, numbers, words."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clusters.base import ClusterError
from clusters.netns import (
    bootstrap,
    images,
    launch,
    nextcloud,
    plan,
    podspec,
    podstatus,
    provide,
    runfolder,
    wire,
)
from clusters.netns.podroot import Root
from clusters.netns.podspec import Facts
from clusters.netns.podstatus import ContainerState
from clusters.netns.program import Program
from clusters.netns.seed import Addresses

FACTS = Facts(("10.42.1.170", "fd00:10:42:1::170"), ("192.168.2.115",), "k3s-worker-rpi002")


def pod(**spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": "web-0", "namespace": "shop", "uid": "u-1", "labels": {"app": "web"}},
            "spec": {"containers": [{"name": "c", "image": "python"}], **spec}}


def test_environment_takes_values_fields_and_maps_and_expands_them() -> None:
    container = {"env": [
        {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
        {"name": "APP", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['app']"}}},
        {"name": "COLOUR", "valueFrom": {"configMapKeyRef": {"name": "m", "key": "colour"}}},
        {"name": "KEY", "valueFrom": {"secretKeyRef": {"name": "m", "key": "secretkey"}}},
        {"name": "ALL", "value": "$(IP) $(APP) $$(IP) $(UNKNOWN)"},
    ], "envFrom": [{"prefix": "M_", "configMapRef": {"name": "m"}}, {"secretRef": {"name": "m"}}]}
    secret = podspec.texts({"kind": "Secret", "data": {"secretkey": "aHVzaA=="}})
    wanted = podspec.sources(pod(containers=[container]))
    assert wanted == {"configmap/m": False, "secret/m": False}
    found = podspec.environment(
        pod(), container, FACTS, {"configmap/m": {"colour": "red"}, "secret/m": secret})
    assert (found["KEY"], found["secretkey"]) == ("hush", "hush")
    assert found["ALL"] == "10.42.1.170 web $(IP) $(UNKNOWN)"
    assert (found["COLOUR"], found["M_colour"], found["HOSTNAME"]) == ("red", "red", "web-0")


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ({"valueFrom": {"fieldRef": {"fieldPath": "status.mood"}}}, "'status.mood' is not supported"),
        ({"valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}, "secret 's' has no key 'k'"),
        ({"valueFrom": {"resourceFieldRef": {"resource": "limits.cpu"}}}, "only value, fieldRef"),
        ({"valueFrom": {"configMapKeyRef": {"name": "m", "key": "k"}}}, "has no key 'k'"),
    ],
)
def test_an_environment_that_cannot_be_made_is_explained(entry: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        podspec.environment(pod(), {"env": [{"name": "X", **entry}]}, FACTS, {})


@given(st.text(max_size=60), st.dictionaries(st.text(max_size=8), st.text(max_size=8)))
def test_expansion_is_total_and_leaves_text_without_a_dollar_alone(text: str, known: dict[str, str]) -> None:
    said = podspec.expand(text, known)
    if "$" not in text:
        assert said == text


@pytest.mark.parametrize(
    ("spec", "first"),
    [
        ({}, "search shop.svc.cluster.local svc.cluster.local cluster.local\nnameserver 10.43.0.10"),
        ({"hostNetwork": True}, "\n"),
        ({"hostNetwork": True, "dnsPolicy": "ClusterFirstWithHostNet"}, "search shop.svc"),
        ({"dnsPolicy": "Default"}, "\n"),
        ({"dnsPolicy": "None", "dnsConfig": {"nameservers": ["9.9.9.9"], "options": [{"name": "edns0"}]}},
         "nameserver 9.9.9.9\noptions edns0\n"),
    ],
)
def test_name_resolution_follows_the_policy(spec: dict[str, Any], first: str) -> None:
    assert podspec.resolv_conf(pod(**spec)).startswith(first)


@pytest.mark.parametrize(
    ("states", "policy", "phase"),
    [
        ([{}], "Always", "Pending"),
        ([{"waiting": None}], "Always", "Running"),
        ([{"waiting": None, "exit_status": 0}], "Never", "Succeeded"),
        ([{"waiting": None, "exit_status": 3}], "Never", "Failed"),
        ([{"waiting": None, "exit_status": 3}], "OnFailure", "Running"),
        ([{"waiting": None, "exit_status": 0}], "Always", "Running"),
        ([{"waiting": ("CrashLoopBackOff", ""), "restarts": 2}], "Always", "Running"),
        ([{"waiting": None}, {}], "Always", "Pending"),
    ],
)
def test_phase(states: list[dict[str, Any]], policy: str, phase: str) -> None:
    assert podstatus.phase([ContainerState("c", "i", **state) for state in states], policy) == phase


def status_of(state: ContainerState, before: dict[str, Any], now: str) -> dict[str, Any]:
    return podstatus.build([state], policy="Always", addresses=("10.42.0.2", "fd00:10:42::2"),
                           host_addresses=("192.168.2.114", "fd00:192:168:2::114"), started="t0",
                           now=now, before=before, extra=before.get("conditions") or ())


def test_a_condition_keeps_its_time_until_it_changes_and_others_conditions_stay() -> None:
    state = ContainerState("c", "i", waiting=None, started_at="t0")
    first = status_of(state, {"conditions": [{"type": "Gate", "status": "True"}]}, "t1")
    state.ready = True
    second = status_of(state, first, "t2")
    when = {c["type"]: (c["status"], c.get("lastTransitionTime")) for c in second["conditions"]}
    assert when["Ready"] == ("True", "t2")
    assert when["Initialized"] == ("True", "t1")
    assert when["Gate"] == ("True", "t1")
    assert status_of(state, second, "t3")["conditions"] == second["conditions"]


def test_a_killed_container_has_the_code_a_shell_gives() -> None:
    state = ContainerState("c", "i", waiting=None, exit_status=-9)
    assert state.terminated() | {"exitCode": 137, "signal": 9, "reason": "Error"} == state.terminated()


@pytest.mark.parametrize(
    ("reference", "name"),
    [
        ("nextcloud", "nextcloud"), ("nextcloud:latest", "nextcloud"),
        ("docker.io/library/python:3.12-slim@sha256:00", "python"),
        ("coredns/coredns:1.11", "coredns/coredns"),
        ("rancher/mirrored-coredns-coredns:1.10", "coredns/coredns"),
        ("example.org:5000/nextcloud:1", None), ("nginx", None), ("", None),
    ],
)
def test_images_by_reference(reference: str, name: str | None) -> None:
    found = images.find(reference, {})
    assert (found.name if found else None) == name


def test_commands_and_arguments() -> None:
    python, debian = images.Image("python", default=("python3",)), images.Image("debian", default=("bash",))
    cloud = images.find("nextcloud", {})
    assert cloud is not None
    assert images.program_of(python, ["python3", "/a/x.py"], ["1"]) == (
        "clusters.netns.images:run_file", ("/a/x.py", "1"))
    assert images.program_of(python, ["python3", "-c", "1"], []) == ("", ("python3", "-c", "1"))
    assert images.program_of(debian, [], []) == ("", ("bash",))
    assert images.program_of(debian, [], ["ls", "/"]) == ("", ("ls", "/"))
    assert images.program_of(cloud, [], []) == ("clusters.netns.nextcloud:main", ())
    assert images.program_of(cloud, ["sleep"], ["1"]) == ("", ("sleep", "1"))


def test_the_page_has_the_posts_size_and_says_what_it_is() -> None:
    page = nextcloud.page()
    assert len(page) == 6815
    assert b"not NextCloud" in page
    assert b"Log in" in page


def test_the_post_gets_its_addresses_again_and_again_and_others_do_not() -> None:
    node = Addresses(1, seeded=True)
    assert [node.take("default", "debian-bash"), node.take("default", "nextcloud-dev-1")] == [171, 170]
    node.give_back(170)
    assert node.take("default", "nextcloud-dev-2") == 170
    others = [node.take("shop") for _ in range(240)]
    assert others[0] == 2
    assert {170, 171} & set(others) == set()


def test_an_address_is_used_again_as_late_as_possible_and_their_end_is_an_error() -> None:
    node = Addresses(2, seeded=False)
    assert node.take("a") == 2
    node.give_back(2)
    assert node.take("a") == 3
    for _ in range(252):
        node.take("a")
    with pytest.raises(LookupError):
        node.take("a")


def test_reserved_numbers_are_the_posts_only_with_the_seed() -> None:
    assert bootstrap.reservations(False) == {
        "kube-system/kube-dns": {"clusterIP": "10.43.0.10"}, "default/kubernetes": {"clusterIP": "10.43.0.1"}}
    seeded = bootstrap.reservations(True)
    assert seeded["default/nextcloud-dev-clusterip"] == {"clusterIP": "10.43.7.203"}
    assert seeded["default/nextcloud-dev-nodeport"]["nodePorts"] == {"80": 32540}


def test_every_component_has_a_token_of_its_own() -> None:
    tokens = bootstrap.make_tokens()
    table = json.loads(bootstrap.token_file(tokens))
    assert len(set(tokens.values())) == len(table) == len(tokens)
    assert table[tokens["kubernetes-admin"]]["groups"][0] == "system:masters"
    text = json.loads(bootstrap.kubeconfig("https://x:1", b"CA", "u", "t"))
    assert text["users"] == [{"name": "u", "user": {"token": "t"}}]


def test_pods_of_each_family_leave_the_pod_network_under_the_nodes_address() -> None:
    (single,), (dual,) = plan.node_plans(1), plan.node_plans(1, dual=True)
    assert bootstrap.network_plugin(dual).startswith(bootstrap.network_plugin(single))
    assert "ip6 saddr fd00:10:42::/48" in bootstrap.network_plugin(dual)
    assert "ip6" not in bootstrap.network_plugin(single)


def test_placeholders_are_filled_and_other_braces_stay() -> None:
    assert provide.fill("{node}:{x}:{{", {"node": "n"}) == "n:{x}:{{"


@pytest.mark.parametrize(
    ("name", "value", "words", "sentence"),
    [
        ("user/max_user_namespaces", "0", "unshare: failed: No space left", "max_user_namespaces is 0"),
        ("kernel/unprivileged_userns_clone", "0", "unshare: not permitted", "unprivileged_userns_clone"),
        ("kernel/apparmor_restrict_unprivileged_userns", "1", "x: not permitted", "AppArmor"),
        ("kernel/other", "1", "unshare: unshare failed: Operation not permitted", "seccomp"),
        ("kernel/other", "1", "Traceback\nNameError: x", "before the cluster stood: NameError"),
        ("kernel/other", "1", "", "it said nothing"),
    ],
)
def test_why_a_machine_was_refused(tmp_path: Path, name: str, value: str, words: str, sentence: str) -> None:
    file = tmp_path / "proc/sys" / name
    file.parent.mkdir(parents=True)
    file.write_text(value)
    assert sentence in launch.why_refused(words, tmp_path)


def test_a_missing_tool_is_named_with_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    launch.require_tools()
    monkeypatch.setattr("shutil.which", lambda name, path: None if name == "conntrack" else "/x")
    with pytest.raises(ClusterError, match=r"needs conntrack.*apt-get install conntrack"):
        launch.require_tools()


def test_a_folder_that_another_start_sweeps_before_it_is_locked_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:
    opened, swept = os.open, list[str]()

    def after_a_sweep(path: Any, *more: Any) -> int:
        if not swept:
            swept.append(str(path))
            Path(path).rmdir()
        return opened(path, *more)

    monkeypatch.setattr(runfolder.os, "open", after_a_sweep)
    made = runfolder.make(tmp_path)
    monkeypatch.undo()
    assert made.path.is_dir() and str(made.path) not in swept
    made.remove()


def test_run_folders_are_private_and_only_unheld_ones_are_swept(tmp_path: Path) -> None:
    held = runfolder.make(tmp_path)
    assert held.path.stat().st_mode & 0o777 == 0o700
    stale = tmp_path / f"service-conformance-{os.getuid()}-deadbeef"
    stale.mkdir()
    foreign = tmp_path / "service-conformance-other"
    foreign.mkdir()
    assert runfolder.sweep(tmp_path) == [stale]
    assert held.path.exists()
    assert foreign.exists()
    held.remove()
    assert not held.path.exists()
    with pytest.raises(ClusterError, match="no folder can be made"):
        runfolder.make(tmp_path / "missing")


def test_messages_and_programs_survive_the_way(tmp_path: Path) -> None:
    program = Program(argv=("a",), env={"X": "1"}, net=True, fds=(1,),
                      root=Root({"/etc/x": "y"}, (("/a", "/b"),), (("/s", "/t"),), ("/k",)))
    one, other = wire.pair()
    with one, other, (tmp_path / "f").open("w") as file:
        wire.send(one, {"program": program.to_json()}, [file.fileno()])
        message, fds = wire.receive(other)
        assert message is not None
        assert Program.from_json(message["program"]) == program
        assert not os.get_inheritable(fds[0])
        os.close(fds[0])
        with pytest.raises(ValueError, match="use files"):
            wire.send(one, {"x": "y" * wire.MAX_MESSAGE})
        one.close()
        assert wire.receive(other) == (None, [])
