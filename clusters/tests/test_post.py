"""Every command of the post's page, typed in order: the columns and states that the page says must come."""

from __future__ import annotations

import os
import pty
import re
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from clusters.tests import post_page
from clusters.tests.post_page import PAGE, Line

_PATIENCE = 30.0  # seconds for a state to come; the post's author waited 23
_PROMPT = re.compile(rb"[^\r\n]*[#$] $")
_COLOURS = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]|\x1b\][^\x07]*\x07")
LINES = post_page.read(PAGE.read_text(encoding="utf-8"))


def test_the_page_has_every_line_in_order_with_a_reason_for_each_other_one() -> None:
    assert [line.number for line in LINES] == list(range(1, len(LINES) + 1))
    for line in LINES:
        assert line.at in {"host", "pod", "worker", "master", "lan"}
        assert line.why or line.typed == line.post, f"line {line.number} is another command without a reason"
        assert bool(line.expected) == bool(line.typed), f"line {line.number}: what must come?"
    verbatim = [line for line in LINES if line.typed == line.post]
    assert len(verbatim) >= 18


@pytest.mark.parametrize(("number", "wrong"), [
    (3, ("10.42.0.85", "10.42.0.86")), (3, ("Running", "Pending")), (29, ("<pending>", "192.168.2.200")),
    (24, ("1/1     Running     58", "0/1     Running     58")), (24, ("job.batch", "cronjob.batch")),
    (14, ("NodePort", "ClusterIP")), (10, ("0.50000000000", "0.33333333349")),
    (10, ("to:10.42.0.85:80", "to:10.42.0.85:81")), (10, (" */ tcp to:10.42.1.170:80\n", "\n")),
    (11, ("Jump to KUBE-SERVICES", "Accept")), (11, ("Delivered", "Lost")), (8, ("6815", "6816")),
    (17, ("daemonset.apps/speaker created\n", "")), (13, ("created", "unchanged")),
    (5, ("10.42.1.171", "10.42.1.172")),
])
def test_another_output_is_noticed(number: int, wrong: tuple[str, str]) -> None:
    expected = LINES[number - 1].expected
    assert post_page.differs(expected, expected) == ""
    assert wrong[0] in expected
    assert post_page.differs(expected, expected.replace(*wrong)) != ""


def test_names_ages_and_counters_may_be_others() -> None:
    pods, rules = LINES[2].expected, LINES[9].expected
    later = pods.replace("64c9559b8c-qgjbp", "5d8f7c9b6d-x2x2x").replace("23s", "7m ")
    assert post_page.differs(pods, later) == ""
    counted = rules.replace(" 8229 1258K", "    1    60").replace("tcp  --", "6    --")
    assert post_page.differs(rules, counted.replace("(23 references)", "(9 references)")) == ""
    gone = 'pod "debian-bash" deleted from default namespace'
    assert post_page.differs(LINES[-1].expected, gone) == ""


class Terminal:
    """The shell of the post's pod: kubectl in a terminal of its own."""

    def __init__(self, command: str, folder: Path, environment: dict[str, str]) -> None:
        self._mine, its = pty.openpty()
        self.process = subprocess.Popen(
            ["bash", "-c", command], cwd=folder, env=environment, stdin=its, stdout=its, stderr=its,
            start_new_session=True)
        os.close(its)
        self.greeting = self._until_prompt()

    def type(self, command: str) -> str:
        """What the command prints until the next prompt; of the last one, until the end."""
        os.write(self._mine, command.encode() + b"\n")
        said = self._until_prompt()
        return said.partition("\n")[2].rpartition("\n")[0] if self.process.poll() is None else said

    def _until_prompt(self) -> str:
        seen, end = b"", time.monotonic() + _PATIENCE
        while time.monotonic() < end:
            if not select.select([self._mine], [], [], 0.1)[0]:
                continue
            try:
                seen += os.read(self._mine, 65536)
            except OSError:  # its other side is closed: kubectl has ended
                self.process.wait(_PATIENCE)
                break
            plain = _COLOURS.sub("", seen.decode("utf-8", "replace"))
            if _PROMPT.search(plain.encode()) and b"\n" in seen:
                break
        return _COLOURS.sub("", seen.decode("utf-8", "replace")).replace("\r\n", "\n")

    def close(self) -> None:
        """End it, however it stands."""
        with suppress(ProcessLookupError):
            self.process.kill()
        self.process.wait()
        os.close(self._mine)


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[tuple[Path, dict[str, str]]]:
    """A copy of the page's folder, and the environment that the page's first lines make."""
    folder = tmp_path / "post"
    shutil.copytree(PAGE.parent, folder)
    here = f"{Path(sys.executable).parent}:{os.environ['PATH']}:/usr/sbin:/sbin"
    environment = {**os.environ, "XDG_STATE_HOME": str(tmp_path / "state"), "PATH": here}
    environment["KUBECONFIG"] = str(tmp_path / "state/service-conformance/clusters/default/kubeconfig")
    page = PAGE.read_text(encoding="utf-8")
    up = next(line for line in page.splitlines() if line.startswith("service-conformance cluster up"))
    subprocess.run(up, shell=True, cwd=folder, env=environment, check=True, timeout=60, capture_output=True)
    yield folder, environment
    down = ["service-conformance", "cluster", "down"]
    subprocess.run(down, cwd=folder, env=environment, check=True, timeout=60, capture_output=True)


@pytest.mark.kernel
@pytest.mark.slow  # thirty commands of a real kubectl
def test_every_line_of_the_post(shell: tuple[Path, dict[str, str]]) -> None:
    folder, environment = shell
    terminal: Terminal | None = None
    wrong = []
    try:
        for line in LINES:
            if not line.typed:
                continue
            if " -i --tty " in line.typed:
                terminal = Terminal(line.typed, folder, environment)
                said = terminal.greeting
                if line.expected.strip() not in said:
                    wrong.append(f"line {line.number}: {line.typed}: no greeting: {said!r}")
            elif line.at == "pod":
                assert terminal is not None
                said = post_page.differs(line.expected, terminal.type(line.typed))
                wrong += [f"line {line.number}: {line.typed}\n{said}"] if said else []
            else:
                wrong += _typed(line, folder, environment)
    finally:
        if terminal is not None:
            terminal.close()
    assert not wrong, "\n\n".join(wrong)


def _typed(line: Line, folder: Path, environment: dict[str, str]) -> list[str]:
    """Type a line at the host; what only shows a state is asked again until the state has come."""
    shows = re.search(r"kubectl get|iptables|curl|trace", line.typed)
    end = time.monotonic() + (_PATIENCE if shows else 0)
    while True:
        done = subprocess.run(["bash", "-c", line.typed], cwd=folder, env=environment, capture_output=True,
                              text=True, timeout=60, check=False)
        said = post_page.differs(line.expected, done.stdout)
        if done.returncode == 0 and not said:
            return []
        if time.monotonic() > end:
            return [f"line {line.number}: {line.typed}: status {done.returncode}: {done.stderr}\n{said}"]
        time.sleep(0.2)
