"""Clusters that outlive their command: side by side, killed in every way, entered, left as they were."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from clusters.base import ClusterError
from clusters.client import Client
from clusters.locate import locate
from clusters.netns import keeper, kept, terminal
from clusters.netns.cluster import NetnsCluster
from clusters.netns.kept import Kept, Process
from clusters.tests import host

_ROOT = Path(__file__).resolve().parents[2]
_UP = "from clusters.netns import keeper; keeper.keep('x', 'netns://1-node', ''); print('up')"
_IN = """
import sys
from pathlib import Path
from clusters.netns import terminal
sys.exit(terminal.run(Path(sys.argv[1]), sys.argv[2], sys.argv[3:]))
"""
_NODE = "k3s-master-rpi001"


@pytest.fixture(autouse=True)
def _state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A state folder of the test's own; whatever it kept is ended, also when it failed."""
    own = str(tmp_path / "state")
    monkeypatch.setenv("XDG_STATE_HOME", own)
    yield
    monkeypatch.setenv("XDG_STATE_HOME", own)
    for one in kept.listed()[0]:
        kept.end(one.name)


@pytest.fixture(scope="module")
def kept_one(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Kept]]:
    """One kept cluster, and its state folder's base, for the tests that only enter it."""
    base = str(tmp_path_factory.mktemp("kept"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", base)
        made = keeper.keep("x", "netns://1-node", "")
    try:
        yield base, made
    finally:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("XDG_STATE_HOME", base)
            kept.end("x")


@pytest.fixture
def shared(kept_one: tuple[str, Kept]) -> Path:
    """The run folder of that cluster."""
    return Path(kept_one[1].run_folder)


def _of(run_folder: str) -> list[int]:
    """The processes of the run with this folder."""
    return host.of_run(run_folder.rpartition("-")[2])


def _until(gone: Kept, seconds: float = 2.0) -> None:
    end = time.monotonic() + seconds
    while _of(gone.run_folder) or gone.folder.exists():
        assert time.monotonic() < end, (_of(gone.run_folder), gone.folder.exists())
        time.sleep(0.01)


def _command(code: str, *args: str, **more: object) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "PYTHONPATH": str(_ROOT)}
    return subprocess.Popen([sys.executable, "-c", code, *args], env=environment, **more)  # type: ignore[call-overload,no-any-return]


@pytest.mark.kernel
def test_two_stand_side_by_side_and_each_ends_alone() -> None:
    before = host.picture()
    one = keeper.keep("one", "netns://1-node", "")
    two = keeper.keep("two", "netns://2-nodes", "reference-iptables")
    assert [(found.name, len(found.nodes)) for found in kept.listed()[0]] == [("one", 1), ("two", 2)]
    assert one.kubeconfig.read_text() != two.kubeconfig.read_text()
    assert {path.stat().st_mode & 0o777 for path in (one.folder, two.folder)} == {0o700}
    with pytest.raises(ClusterError, match=f"'one' is taken by process {one.keeper} since 2"):
        keeper.keep("one", "netns://1-node", "")
    began = time.monotonic()
    assert kept.end("one")
    assert time.monotonic() - began < 2
    assert _of(one.run_folder) == []
    assert not Path(one.run_folder).exists()
    assert len(_of(two.run_folder)) > 5
    assert not kept.end("one"), "a second time there is nothing to end"
    os.kill(two.keeper, signal.SIGTERM)
    _until(two)
    assert kept.listed() == ([], [])
    assert host.picture() == before


@pytest.mark.kernel
def test_a_killed_keeper_leaves_nothing_and_the_next_look_says_so() -> None:
    before = host.picture()
    made = keeper.keep("x", "netns://1-node", "")
    os.kill(made.keeper, signal.SIGHUP)
    time.sleep(0.02)
    assert kept.is_kept("x"), "the end of a terminal is not its end"
    os.kill(made.keeper, signal.SIGKILL)
    end = time.monotonic() + 2
    while _of(made.run_folder):
        assert time.monotonic() < end
        time.sleep(0.01)
    with pytest.raises(ClusterError, match=r"no cluster 'x' is kept \(there are: none\); raise it with"):
        kept.find("x")
    made.folder.mkdir(parents=True, exist_ok=True)
    assert kept.listed() == ([], ["x"])
    assert kept.listed() == ([], [])
    assert not Path(made.run_folder).exists()
    assert host.picture() == before


@pytest.mark.kernel
def test_one_that_hangs_is_killed_within_two_seconds_and_a_dead_machine_ends_its_keeper() -> None:
    made = keeper.keep("x", "netns://1-node", "")
    for pid in (*_of(made.run_folder), made.keeper):
        os.kill(pid, signal.SIGSTOP)
    began = time.monotonic()
    assert kept.end("x")
    assert time.monotonic() - began < 2
    assert _of(made.run_folder) == []
    again = keeper.keep("x", "netns://1-node", "")
    os.kill(again.processes[1].pid, signal.SIGKILL)
    _until(again)


@pytest.mark.kernel
def test_it_outlives_the_terminal_it_was_raised_from() -> None:
    mine, its = pty.openpty()

    def controlling() -> None:
        os.setsid()
        fcntl.ioctl(0, 0x540E, 0)  # TIOCSCTTY

    command = _command(_UP, stdin=its, stdout=its, stderr=its, preexec_fn=controlling)
    os.close(its)
    said = b""
    while b"up" not in said:
        said += os.read(mine, 1000)
    os.close(mine)  # everything in that terminal's session is hung up
    command.wait(5)
    assert len(_of(kept.find("x").run_folder)) > 5


@pytest.mark.kernel
def test_a_command_killed_while_it_raises_leaves_nothing(tmp_path: Path) -> None:
    command = _command(_UP)
    about = tmp_path / "state/service-conformance/clusters/x/about.json"
    end = time.monotonic() + 5
    while not about.exists():
        assert time.monotonic() < end
        time.sleep(0.005)
    pid = json.loads(about.read_text())["processes"][0]["pid"]
    command.kill()
    command.wait()
    keeper_fd = Process.of(pid).open()
    assert keeper_fd < 0 or select.select([keeper_fd], [], [], 5)[0], "it ends once nobody waits for it"
    if keeper_fd >= 0:
        os.close(keeper_fd)
    assert kept.listed() == ([], [])


@pytest.mark.kernel
@pytest.mark.parametrize(("url", "implementation", "sentence"), [
    ("netns://1-node", "nope", "no implementation 'nope'"),
    ("netns://1-node?apiserver=clusters.miniatures.nothing:main", "", "cannot load clusters"),
    ("netns://many", "", "'many' is not a size"),
    ("kind://x", "", "only the embedded cluster can be raised"),
])
def test_one_that_cannot_stand_is_a_sentence_and_leaves_nothing(
    url: str, implementation: str, sentence: str,
) -> None:
    with pytest.raises(ClusterError, match=sentence):
        keeper.keep("x", url, implementation)
    assert kept.listed() == ([], [])
    assert not (kept.state_folder() / "x").exists()


@pytest.mark.kernel
async def test_who_attaches_leaves_it_standing_and_takes_along_what_was_placed(
    kept_one: tuple[str, Kept], monkeypatch: pytest.MonkeyPatch,
) -> None:
    base, made = kept_one
    monkeypatch.setenv("XDG_STATE_HOME", base)
    cluster = await locate("netns-kept://x")
    assert isinstance(cluster, NetnsCluster)
    serve = ["python3", "-m", "http.server", "8099"]
    placed = await cluster.place_outside("outside", "placed", {"index.html": b"hello"}, serve, 8099)
    assert await placed.request("GET", "/", timeout=2) == (200, b"hello")
    config = cluster.kubeconfig.read_text()
    await cluster.signal("control-plane", "api-server", signal.SIGKILL)
    assert await cluster.restart("control-plane", "api-server")
    async with Client.from_kubeconfig(made.kubeconfig) as client:
        assert len(await client.list("/api/v1/nodes")) == 1, "the same port, the same authority"
    assert made.kubeconfig.read_text() == config
    await cluster.close()
    await cluster.close()
    assert kept.is_kept("x")
    with pytest.raises(ClusterError, match="refused"):
        await placed.request("GET", "/", timeout=2)
    assert list((Path(made.run_folder) / "placed").iterdir()) == []
    with pytest.raises(ClusterError, match=r"no cluster 'y' is kept \(there are: x\)"):
        await locate("netns-kept://y")


@pytest.mark.kernel
def test_a_program_on_a_node_has_the_callers_outputs_and_status(shared: Path) -> None:
    script = "read word; echo got $word; echo wrong >&2; exit 7"
    command = _command(_IN, str(shared), _NODE, "sh", "-c", script,
                       stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert command.communicate(b"this\n", 5) == (b"got this\n", b"wrong\n")
    assert command.returncode == 7
    with pytest.raises(ClusterError, match="there is no host 'nowhere'; the hosts are control-plane"):
        terminal.run(shared, "nowhere", ["true"])
    assert terminal.run(shared, "outside", ["sh", "-c", "kill -9 $$"]) == 137
    assert terminal.run(shared, "outside", ["no-such-program"]) == 127
    with pytest.raises(ClusterError, match="the cluster is gone"):
        terminal.run(shared / "nothing", "outside", ["true"])


@pytest.mark.kernel
def test_output_streams_and_who_goes_away_ends_the_program(shared: Path) -> None:
    script = "echo first; exec sleep 61"
    command = _command(_IN, str(shared), _NODE, "sh", "-c", script, stdout=subprocess.PIPE)
    assert command.stdout is not None
    assert command.stdout.readline() == b"first\n", "before the program ends"
    _until_sleeping(shared, 1)
    command.kill()
    command.wait()
    _until_sleeping(shared, 0)
    command.stdout.close()


def _until_sleeping(folder: Path, count: int) -> None:
    end = time.monotonic() + 2
    while _sleeping(folder) != count:
        assert time.monotonic() < end
        time.sleep(0.01)


def _sleeping(folder: Path) -> int:
    def words(pid: int) -> bytes:
        with suppress(OSError):
            return Path(f"/proc/{pid}/cmdline").read_bytes()
        return b""

    return sum(words(pid) == b"sleep\x0061\0" for pid in _of(str(folder)))


@pytest.mark.kernel
def test_on_a_terminal_the_program_has_one_with_size_and_ctrl_c(shared: Path) -> None:
    mine, its = pty.openpty()
    fcntl.ioctl(its, 0x5414, b"\x21\0\x64\0\0\0\0\0")  # TIOCSWINSZ: 33 rows, 100 columns
    script = "stty size; trap 'echo caught; exit 9' INT; echo ready; while :; do sleep 0.02; done"
    command = _command(_IN, str(shared), _NODE, "sh", "-c", script, stdin=its, stdout=its, stderr=its)
    said = b""
    while b"ready" not in said:
        assert select.select([mine], [], [], 5)[0], said
        said += os.read(mine, 1000)
    assert b"33 100" in said
    os.write(mine, b"\x03")
    assert command.wait(5) == 9
    said = b""
    while b"caught" not in said:
        assert select.select([mine], [], [], 2)[0], said
        said += os.read(mine, 1000)
    os.close(its)
    os.close(mine)


@pytest.mark.parametrize("name", ["", "../x", "X", "a b", "-a", "a-", "a" * 41, "a\n"])
def test_a_name_stays_a_plain_folder(name: str) -> None:
    with pytest.raises(ClusterError, match="cannot be a cluster's name"):
        kept.claim(name)


def test_a_process_number_that_changed_hands_is_never_signalled() -> None:
    other = subprocess.Popen(["sleep", "60"])
    lock = kept.claim("x")
    try:
        Kept("x", "netns://", "", time.time(), (Process(other.pid, 1),), (_NODE,), "/nowhere/x").write()
        assert kept.is_kept("x")
        kept.end("x")
        assert other.poll() is None
    finally:
        os.close(lock)
        other.kill()
        other.wait()


def test_a_state_folder_that_cannot_be_written_is_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    with pytest.raises(ClusterError, match="set XDG_STATE_HOME to a folder you may write to"):
        kept.claim("x")


def test_a_user_without_a_home_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    with monkeypatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", "not/absolute")
        patch.setattr(kept.Path, "home", homeless)
        with pytest.raises(ClusterError, match="has no home folder"):
            kept.find("x")
