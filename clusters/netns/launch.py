"""Starting the machine from the judge's process, and saying in one sentence why it could not start."""

from __future__ import annotations

import asyncio
import json
import os
import select
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from clusters import binaries, controlplane
from clusters.base import ClusterError
from clusters.netns.plan import Options
from clusters.netns.runfolder import RunFolder

# Program -> the Debian package that has it.
_TOOLS = {"setpriv": "util-linux", "unshare": "util-linux", "iptables": "iptables", "nft": "nftables",
          "conntrack": "conntrack"}
_SYSTEM_PATH = "/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin"
_LIMITS = (
    ("/proc/sys/user/max_user_namespaces", "0", "user.max_user_namespaces is 0; "
     "sudo sysctl user.max_user_namespaces=15000 allows them"),
    ("/proc/sys/kernel/unprivileged_userns_clone", "0", "kernel.unprivileged_userns_clone is 0; "
     "sudo sysctl kernel.unprivileged_userns_clone=1 allows them"),
    ("/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1",
     "AppArmor restricts them; sudo sysctl kernel.apparmor_restrict_unprivileged_userns=0 allows them, "
     "or run this as root"),
)
_END_SECONDS = 5.0  # patience for the kernel to end a killed cluster's processes
_START_SECONDS = 60.0  # patience; it takes about one second


def require_tools() -> None:
    """ClusterError when a program is missing, with the Debian packages that have what is missing."""
    path = os.environ.get("PATH", "") + ":" + _SYSTEM_PATH
    absent = [tool for tool in _TOOLS if shutil.which(tool, path=path) is None]
    if absent:
        packages = " ".join(sorted({_TOOLS[tool] for tool in absent}))
        raise ClusterError(f"the embedded cluster needs {', '.join(absent)}, not found on this machine; "
                           f"install with: sudo apt-get install {packages}")


def why_refused(words: str, root: Path = Path("/")) -> str:
    """The sentence for a machine that did not come up; ``words`` is what unshare or the machine said."""
    for path, bad, sentence in _LIMITS:
        try:
            value = (root / path.lstrip("/")).read_text().strip()
        except OSError:
            continue
        if value == bad and ("unshare" in words or "not permitted" in words.lower()):
            return f"user namespaces are not permitted here: {sentence}"
    said = words.strip().splitlines()
    last = said[-1] if said else "it said nothing"
    if "unshare" in last or "not permitted" in last.lower():
        return (f"user namespaces are not permitted here ({last}): inside a container its seccomp profile "
                "may forbid them (start it with --security-opt seccomp=unconfined), or run this as root")
    return f"the machine ended before the cluster stood: {last}"


class Machine:
    """The machine's process, seen from the judge."""

    def __init__(self, folder: RunFolder) -> None:
        self.folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self._up = threading.Event()
        self._error: Exception | None = None
        self._path = ""  # where programs of others are looked for
        self._programs: dict[str, str] = {}  # of a real control plane: name -> file

    async def start(self, options: Options, preload: Sequence[str], asked: float) -> None:
        """Start it and wait until the cluster stands; ClusterError says why it does not."""
        self._path = binaries.search_path(options.bin_dir)
        self._programs = binaries.find(controlplane.PROGRAMS, self._path) if options.real else {}
        ready, says = os.pipe2(os.O_CLOEXEC)
        with socket.create_server(("127.0.0.1", 0), backlog=256) as listener:
            config = self._config(options, preload, asked, listener, says)
            (self.folder.path / "config").write_text(json.dumps(config))
            # The kernel ends the machine when the *thread* that started it ends (setpriv --pdeathsig): so
            # it is started from one of its own that waits for it, never from a pool or a short-lived loop.
            threading.Thread(
                target=self._hold, args=((listener.fileno(), says),), name="netns-machine", daemon=True,
            ).start()
            self._up.wait()  # a few milliseconds; a cancelled start must not lose the process it made
        os.close(says)
        with os.fdopen(ready, "rb", buffering=0) as pipe:
            if self._error is not None:
                raise ClusterError(f"the machine cannot be started: {self._error}") from self._error
            try:
                line = await _first_line(pipe.fileno())
            except TimeoutError as error:
                raise ClusterError(f"the cluster does not stand after {_START_SECONDS:g} s; "
                                   f"{self.folder.path / 'machine.log'} may say why") from error
        if not line:
            log = (self.folder.path / "machine.log").read_text(errors="replace")
            raise ClusterError(why_refused(log), log=log.splitlines()[-20:])
        answer = json.loads(line)
        if not answer["ok"]:
            raise ClusterError(answer["error"], log=answer["log"])

    def end(self, patience: float) -> None:
        """Wait ``patience`` seconds for the machine to end, then kill it.

        The kernel lets process 1 of a PID namespace end only after all others, and this waits for that one:
        nothing of the cluster runs any more when it returns.
        """
        if self._process is None:
            return
        first = self._first_process()
        try:
            self._process.wait(patience)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if first >= 0:
            select.select([first], [], [], _END_SECONDS)
            os.close(first)

    def _first_process(self) -> int:
        """A descriptor that becomes readable when process 1 of the cluster has ended; -1: it has."""
        assert self._process is not None
        with suppress(OSError, ValueError):
            number = self._process.pid
            return os.pidfd_open(int(Path(f"/proc/{number}/task/{number}/children").read_text()))
        return -1

    @property
    def pid(self) -> int:
        """The process number of ``unshare``, whose end is the cluster's end; 0 before the start."""
        return self._process.pid if self._process is not None else 0

    def _config(
        self, options: Options, preload: Sequence[str], asked: float, listener: socket.socket, says: int,
    ) -> dict[str, Any]:
        return {
            "run": self.folder.run, "run_folder": str(self.folder.path), "nodes": options.nodes,
            "seed": options.seed, "dual": options.dual, "apiserver": options.apiserver, "dns": options.dns,
            "preload": list(preload), "asked": asked,
            "path": self._path, "programs": self._programs,
            "node_grace": options.node_grace, "servicelb": options.servicelb,
            "ready_fd": says, "keep": _program_folders(),
            "listener_fd": listener.fileno(), "listener_port": listener.getsockname()[1],
            "fds": [says, listener.fileno()], "pythonpath": os.pathsep.join(_import_folders()),
        }

    def _hold(self, fds: tuple[int, ...]) -> None:
        """Start the machine and stay until it ends."""
        argv = [
            "setpriv", "--pdeathsig", "KILL", "unshare", "--user", "--map-root-user", "--net", "--mount",
            "--pid", "--fork", "--kill-child", "--", sys.executable, "-P", "-m", "clusters.netns.machine",
            str(self.folder.path / "config"),
        ]
        path = os.environ.get("PATH", "") + ":" + _SYSTEM_PATH
        environment = {
            "PATH": path, "HOME": "/root", "LANG": "C.UTF-8", "SERVICE_CONFORMANCE_RUN": self.folder.run,
            "PYTHONPATH": os.pathsep.join(_import_folders()),
        }
        try:
            with (self.folder.path / "machine.log").open("wb") as log:
                self._process = subprocess.Popen(
                    argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, pass_fds=fds, env=environment,
                    start_new_session=True, cwd="/",
                )
        except Exception as error:  # whatever it is, the one who waits must hear of it
            self._error = error
        finally:
            self._up.set()
        if self._process is not None:
            self._process.wait()


def import_path() -> str:
    """PYTHONPATH for another process of this suite, so that it finds the same modules."""
    return os.pathsep.join(_import_folders())


def environment() -> dict[str, str]:
    """This process's environment, with the system's programs on PATH and our modules found."""
    path = os.environ.get("PATH", "") + ":" + _SYSTEM_PATH
    return {**os.environ, "PATH": path, "PYTHONPATH": import_path()}


def _import_folders() -> list[str]:
    """Where the judge imports from, so that the machine finds the same modules, this package first."""
    here = str(Path(__file__).resolve().parents[2])
    known = [here] + [str(Path(entry).resolve()) for entry in sys.path if entry and Path(entry).is_dir()]
    standard = str(Path(os.__file__).resolve().parent)
    return [path for path in dict.fromkeys(known) if not (path + "/").startswith(standard + "/")]


def _program_folders() -> list[str]:
    """What must be visible in a pod for Python to go on importing: its own home and the import folders."""
    homes = (str(Path(place).resolve()) for place in (sys.prefix, sys.base_prefix))
    return list(dict.fromkeys([*homes, *_import_folders()]))


async def _first_line(fd: int) -> bytes:
    """What the machine says first; empty when it ended without a word. TimeoutError after the patience."""
    loop = asyncio.get_running_loop()
    os.set_blocking(fd, False)
    said = b""
    end = time.monotonic() + _START_SECONDS
    while not said.endswith(b"\n"):
        readable = asyncio.Event()
        loop.add_reader(fd, readable.set)
        try:
            async with asyncio.timeout(end - time.monotonic()):
                await readable.wait()
        finally:
            loop.remove_reader(fd)
        part = os.read(fd, 65536)
        if not part:
            return b""
        said += part
    return said
