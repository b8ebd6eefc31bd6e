"""What the kubelet decides without asking anybody: probes, back-off, restarts, statuses, what a log shows."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clusters.netns import containerlog, podstatus, probes
from clusters.netns.containerlog import Log, Selection, Wanted
from clusters.netns.podstatus import ContainerState
from clusters.netns.probes import Action, BackOff, Probe, Tally


def test_probes_have_kubernetes_defaults_and_know_named_ports() -> None:
    container = {
        "ports": [{"name": "http", "containerPort": 8080}],
        "readinessProbe": {"httpGet": {"port": "http"}},
        "livenessProbe": {"tcpSocket": {"port": 1}, "periodSeconds": 2, "terminationGracePeriodSeconds": 0},
        "startupProbe": {"exec": {"command": ["true"]}, "failureThreshold": 30},
    }
    assert probes.probes(container) == {
        "startup": Probe(Action(argv=("true",)), failures=30),
        "liveness": Probe(Action(port=1), period=2, grace=0),
        "readiness": Probe(Action(8080, "/"), delay=0, period=10, timeout=1, successes=1, failures=3),
    }


@pytest.mark.parametrize(
    ("handler", "words"),
    [
        ({"httpGet": {"port": "grpc"}}, "the livenessProbe's port 'grpc' is not among"),
        ({"grpc": {"port": 1}}, "a livenessProbe needs httpGet, tcpSocket or exec; others, such as grpc"),
    ],
)
def test_a_probe_that_is_not_supported_is_named(handler: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        probes.probes({"livenessProbe": handler})


def test_hooks_wait_run_and_ask() -> None:
    container = {"lifecycle": {"preStop": {"sleep": {"seconds": 3}},
                               "postStart": {"httpGet": {"port": 80, "path": "x", "scheme": "HTTPS"}}}}
    assert probes.hook(container, "preStop") == Action(sleep=3.0)
    assert probes.hook(container, "postStart") == Action(80, "/x", tls=True)
    assert probes.hook({}, "preStop") is None


def test_a_verdict_changes_after_enough_equal_answers_in_a_row() -> None:
    tally = Tally(Probe(Action(), successes=2, failures=3), False)
    assert [tally.add(good) for good in (True, False, True, True)] == [False, False, False, True]
    assert [tally.add(good) for good in (False, False, True, False, False, False)] == [False] * 5 + [True]
    assert tally.verdict is False


@given(st.lists(st.booleans(), max_size=40), st.integers(1, 4), st.integers(1, 4))
def test_a_verdict_is_that_of_the_last_full_row(answers: list[bool], successes: int, failures: int) -> None:
    tally, verdict = Tally(Probe(Action(), successes=successes, failures=failures), None), None
    for number, good in enumerate(answers):
        tally.add(good)
        need = successes if good else failures
        if number + 1 >= need and all(a == good for a in answers[number + 1 - need : number + 1]):
            verdict = good
    assert tally.verdict is verdict


def test_restarts_wait_longer_each_time_until_a_long_run() -> None:
    backoff = BackOff()
    assert [backoff.after(1) for _ in range(8)] == [0, 10, 20, 40, 80, 160, 300, 300]
    assert [backoff.after(ran) for ran in (600, 1)] == [0, 10]
    assert [probes.go_duration(n) for n in (10, 80, 300)] == ["10s", "1m20s", "5m0s"]


@pytest.mark.parametrize(
    ("policy", "container", "init", "effective"),
    [
        ("Always", {}, False, "Always"), ("Never", {}, True, "Never"), ("Always", {}, True, "OnFailure"),
        ("Never", {"restartPolicy": "Always"}, True, "Always"),
    ],
)  # fmt: skip
def test_init_containers_that_succeed_are_done(
    policy: str, container: dict[str, Any], init: bool, effective: str,
) -> None:
    assert probes.policy_of({"spec": {"restartPolicy": policy}}, container, init=init) == effective


def told(main: ContainerState, init: ContainerState, **more: Any) -> dict[str, Any]:
    """The status of a pod of two containers; conditions by their type."""
    status = podstatus.build([main], inits=[init], policy="Never", addresses=(), host_addresses=("h",),
                             started="t", now="t", before={}, **more)
    return status | {"conditions": {c["type"]: c for c in status["conditions"]}}


def test_a_pod_waits_for_its_init_containers_and_fails_with_them() -> None:
    main, init = ContainerState("m", "i", waiting=("PodInitializing", "")), ContainerState("first", "i")
    init.began("t1", "n1")
    status = told(main, init)
    assert (status["phase"], status["conditions"]["Initialized"]["status"]) == ("Pending", "False")
    assert status["conditions"]["Initialized"]["message"] == "containers with incomplete status: [first]"
    init.ended(0, "t2", "")
    status = told(main, init)
    assert status["conditions"]["Initialized"]["status"] == "True"
    assert status["initContainerStatuses"][0]["ready"] is True
    init.ended(2, "t2", "went wrong")
    status = told(main, init)
    assert status["phase"] == "Failed" and status["conditions"]["Ready"]["reason"] == "PodFailed"
    assert status["initContainerStatuses"][0]["state"]["terminated"]["message"] == "went wrong"


def test_a_sidecar_holds_the_pod_until_it_has_started_and_is_ready() -> None:
    main, side = ContainerState("m", "i"), ContainerState("side", "i", sidecar=True)
    side.began("t", "n")
    assert not side.initialized
    side.started = True
    main.began("t", "n")
    main.ready = True
    status = told(main, side)
    assert side.initialized
    assert status["conditions"]["Ready"]["message"] == "containers with unready status: [side]"


def test_readiness_gates_hold_back_ready_only() -> None:
    main, init = ContainerState("m", "i"), ContainerState("first", "i", waiting=None, exit_status=0)
    main.began("t", "n")
    main.ready = True
    status = told(main, init, gates=["x/y"])
    assert status["conditions"]["ContainersReady"]["status"] == "True"
    assert status["conditions"]["Ready"]["message"] == (
        'corresponding condition of pod readiness gate "x/y" does not exist.')
    status = told(main, init, gates=["x/y"], extra=[{"type": "x/y", "status": "True"}])
    assert status["conditions"]["Ready"]["status"] == "True"


async def shown(path: Path, **wanted: Any) -> bytes:
    """What a reader of the log gets."""
    return b"".join([text async for text in containerlog.read(path, Wanted(**wanted))])


async def test_a_log_keeps_lines_with_their_streams_and_what_has_no_end(tmp_path: Path) -> None:
    log = Log(tmp_path / "log")
    log.write(1, b"one\ntw")
    log.write(2, b"bad\n")
    log.write(1, b"o\n\nlast")
    log.write(1, b"")
    log.close()
    assert await shown(log.path) == b"one\nbad\ntwo\n\nlast"
    assert await shown(log.path, tail=2) == b"\nlast"
    assert await shown(log.path, tail=0) == b""
    assert await shown(log.path, limit=5) == b"one\nb"
    assert await shown(log.path, since="9999") == b""
    kept = log.path.read_bytes().splitlines()
    assert [line.split(b" ")[1:3] for line in kept] == [
        [b"stdout", b"F"], [b"stderr", b"F"], [b"stdout", b"F"], [b"stdout", b"F"], [b"stdout", b"P"],
    ]  # fmt: skip


async def test_a_long_line_is_kept_in_parts_and_shown_whole(tmp_path: Path) -> None:
    log, line = Log(tmp_path / "log"), b"x" * 40_000 + b"\n"
    for at in range(0, len(line), 7000):
        log.write(1, line[at : at + 7000])
    log.close()
    assert await shown(log.path) == line
    stamped = await shown(log.path, timestamps=True)
    assert len(stamped) == len(line) + len("2026-01-02T03:04:05.000000006Z ")


async def test_a_follower_sees_what_comes_and_the_end(tmp_path: Path) -> None:
    log = Log(tmp_path / "log")
    log.write(1, b"before\n")
    reader = containerlog.read(log.path, Wanted(tail=1), log)
    assert await anext(reader) == b"before\n"
    coming = asyncio.ensure_future(anext(reader))
    await asyncio.sleep(0)
    log.write(1, b"after\n")
    assert await coming == b"after\n"
    log.close()
    assert [text async for text in reader] == [] and not log.readers


@given(st.binary(max_size=60))
def test_any_line_of_a_log_file_is_shown_or_left_out(line: bytes) -> None:
    assert isinstance(Selection(Wanted(timestamps=True)).text(line), bytes)


@pytest.mark.parametrize(
    ("state", "previous", "words"),
    [
        (None, False, 'container "c" in pod "p" is not available'),
        (ContainerState("c", "i"), False, 'container "c" in pod "p" is waiting to start: ContainerCreating'),
        (ContainerState("c", "i", waiting=("ErrImagePull", "")), False, "is waiting to start: image can't"),
        (ContainerState("c", "i", waiting=None), True, 'previous terminated container "c" in pod "p" not'),
        (ContainerState("c", "i", previous={"terminated": {}}), False, ""),
        (ContainerState("c", "i", waiting=None), False, ""),
    ],
)
def test_why_there_is_no_log(state: ContainerState | None, previous: bool, words: str) -> None:
    said = containerlog.refusal(state, "c", "p", previous=previous)
    assert words in said and bool(words) == bool(said)


def test_last_words_come_from_the_file_or_from_the_end_of_the_log(tmp_path: Path) -> None:
    log = Log(tmp_path / "log")
    log.write(2, b"".join(b"line %d\n" % number for number in range(100)))
    (tmp_path / "words").write_bytes(b"")
    assert containerlog.last_words(tmp_path / "words", log.path).startswith("line 20\n")
    assert containerlog.last_words(tmp_path / "words", None) == ""
    (tmp_path / "words").write_bytes(b"x" * 5000)
    assert containerlog.last_words(tmp_path / "words", log.path) == "x" * 4096
