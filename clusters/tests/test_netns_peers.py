"""Programs of others in the cluster: each way in which one can fail to start has its sentence."""

from __future__ import annotations

import asyncio
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from clusters import implementations
from clusters.base import ClusterError
from clusters.locate import locate
from clusters.netns.cluster import NetnsCluster

pytestmark = pytest.mark.kernel
MASTER = "k3s-master-rpi001"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("bin")


@pytest.fixture(scope="module")
def cluster(folder: Path) -> Iterator[NetnsCluster]:
    made = asyncio.run(locate(f"netns://1-nodes?bin-dir={folder}"))
    assert isinstance(made, NetnsCluster)
    yield made
    asyncio.run(made.close())


def program(folder: Path, name: str, text: str) -> None:
    (folder / name).write_text(text)
    (folder / name).chmod(0o755)


def described(argv: str, more: str = "") -> str:
    return f'name = "it"\nversion = "1"\n[[controller]]\nname = "it"\nargv = {argv}\n{more}'


async def refusal(cluster: NetnsCluster, text: str) -> ClusterError:
    with pytest.raises(ClusterError) as caught:
        await cluster.provide(implementations.parse(tomllib.loads(text), "it.toml"))
    return caught.value


async def test_a_missing_program_is_named_with_where_it_was_looked_for(
    cluster: NetnsCluster, folder: Path,
) -> None:
    error = await refusal(cluster, described('["no-such-proxy"]'))
    assert str(error).startswith(f"no-such-proxy is not on this machine (looked in {folder}, ")
    assert "ci/peers/build no-such-proxy, or name a folder that has them with --bin-dir" in str(error)


async def test_one_that_dies_at_once_is_quoted(cluster: NetnsCluster, folder: Path) -> None:
    program(folder, "dies", "#!/bin/sh\nfor n in $(seq 40); do echo line $n; done\nexit 9\n")
    error = await refusal(cluster, described('["dies"]', 'ready = "http://127.0.0.1:9999/"'))
    assert str(error).startswith("it on control-plane ended with status 9 before it was ready")
    assert error.log == tuple(f"line {n}" for n in range(21, 41))


async def test_one_that_is_no_program_is_told_apart(cluster: NetnsCluster, folder: Path) -> None:
    program(folder, "text", "\0\1\2 nothing to run")
    error = await refusal(cluster, described('["text"]', 'ready = "http://127.0.0.1:9999/"'))
    assert "ended with status" in str(error) and "Exec format" in error.log[-1]


async def test_one_that_is_never_ready_is_quoted(cluster: NetnsCluster, folder: Path) -> None:
    program(folder, "idle", "#!/bin/sh\necho waiting for godot\nexec sleep 600\n")
    more = 'ready = "http://127.0.0.1:9999/healthz"\nready-seconds = 0.5'
    error = await refusal(cluster, described('["idle"]', more))
    assert str(error).startswith("it on control-plane is not ready after 0.5 s: "
                                 "http://127.0.0.1:9999/healthz did not answer")
    assert error.log == ("waiting for godot",)


async def test_a_port_in_use_is_named_before_anything_is_started(
    cluster: NetnsCluster, folder: Path,
) -> None:
    taker = b"import socket, signal\nlistener = socket.create_server((\"\", 9998))\nsignal.pause()\n"
    await cluster.place_outside("outside", "taker", {"taker.py": taker}, ["python3", "taker.py"], 9998)
    error = await refusal(cluster, described('["idle"]', 'ready = "http://192.168.2.50:9998/"'))
    assert str(error) == ("it on control-plane: port 9998 is in use before it is started; "
                          "end what listens there, or give the program another port")


def test_two_programs_of_one_place_cannot_share_a_port() -> None:
    one = '[[per-node]]\nname = "{}"\nargv = ["a"]\nready = "http://127.0.0.1:10256/"\n'
    text = 'name = "it"\nversion = "1"\n' + one.format("a") + one.format("b")
    with pytest.raises(ClusterError, match="a and b are both ready at port 10256"):
        implementations.parse(tomllib.loads(text), "it.toml")
