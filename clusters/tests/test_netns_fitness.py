"""The doctor's own decisions, on machines that are folders."""

from __future__ import annotations

from pathlib import Path

import pytest

from clusters.netns import fitness
from clusters.netns.fitness import State


@pytest.mark.parametrize(("release", "state"), [
    ("6.8.0-45-generic", State.OK), ("5.10.0", State.OK),
    ("5.4.0-150-generic", State.NOTE), ("odd", State.NOTE),
])
def test_an_old_kernel_is_named_and_the_trials_decide(release: str, state: State) -> None:
    found = fitness._kernel(release)
    assert found.state is state
    assert release in found.detail


def _write(root: Path, name: str, text: str) -> None:
    file = root / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


@pytest.mark.parametrize(("file", "text", "kind"), [
    ("run/.containerenv", "", "a Podman container"), (".dockerenv", "", "a Docker container"),
    ("proc/1/environ", "A=b\0container=lxc\0", "a container (lxc)"), ("proc/1/environ", "A=b\0", ""),
])
def test_containers_are_known_by_what_they_leave(tmp_path: Path, file: str, text: str, kind: str) -> None:
    _write(tmp_path, file, text)
    assert fitness._container(tmp_path) == kind


def test_the_tightest_control_group_counts(tmp_path: Path) -> None:
    _write(tmp_path, "proc/self/cgroup", "4:memory:/x\n0::/job/step\n")
    _write(tmp_path, "sys/fs/cgroup/job/pids.max", "400\n")
    _write(tmp_path, "sys/fs/cgroup/job/pids.current", "150\n")
    _write(tmp_path, "sys/fs/cgroup/job/step/pids.max", "max\n")
    _write(tmp_path, "sys/fs/cgroup/job/step/memory.max", f"{1 << 30}\n")
    _write(tmp_path, "sys/fs/cgroup/job/step/memory.current", "1048576\n")
    processes, memory = fitness._groups(tmp_path)
    assert (processes.name, processes.state) == ("room for processes", State.WRONG)
    assert "250 left" in processes.detail
    assert "--pids-limit" in processes.next_step
    assert memory.state is State.OK


def test_no_control_groups_say_nothing(tmp_path: Path) -> None:
    assert list(fitness._groups(tmp_path)) == []
    _write(tmp_path, "proc/self/cgroup", "0::/\n")
    assert list(fitness._groups(tmp_path)) == []


@pytest.mark.parametrize(("said", "state"), [
    ('{"clientVersion": {"gitVersion": "v1.36.3"}}', State.OK), ('{"gitVersion": "v1.28.1"}', State.WRONG),
    ("", State.NOTE),
])
def test_an_old_kubectl_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str, state: State,
) -> None:
    program = tmp_path / "kubectl"
    if said:
        program.write_text(f"#!/bin/sh\necho '{said}'\n")
        program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert fitness._kubectl().state is state


def test_how_many_rules_fit_a_commit_is_told(tmp_path: Path) -> None:
    (tmp_path / "proc/sys/net/core").mkdir(parents=True)
    (tmp_path / "proc/sys/net/core/wmem_default").write_text("212992\n")
    said = next(one for one in fitness.machine(tmp_path) if one.name == "rules at once")
    assert said.state is State.NOTE and "commits some 553;" in said.detail
    assert "sysctl -w net.core.wmem_default=16777216" in said.detail
