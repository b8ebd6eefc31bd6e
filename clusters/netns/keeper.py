"""The keeper: a small process of its own session that holds a cluster until it is told to end it.

Its life is the cluster's: the machine dies with the thread that started it, and that thread is the keeper's.
So `down`, SIGTERM and even SIGKILL to it leave nothing behind; the end of the terminal does not touch it.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from clusters import implementations
from clusters.base import ClusterError, Implementation
from clusters.netns import kept, launch, plan
from clusters.netns.cluster import NetnsCluster
from clusters.netns.kept import Kept, Process


def keep(name: str, url: str, implementation: str) -> Kept:
    """Raise a cluster that outlives this process, with an implementation (name or file; empty: none).

    Gives it once it stands. ClusterError, with the last lines of what failed, when it does not; nothing is
    left then.
    """
    if not url.startswith("netns://"):
        raise ClusterError(f"{url!r}: only the embedded cluster can be raised; write netns:// or 'netns://?seed'")
    plan.parse(url)
    launch.require_tools()
    if implementation.endswith(".toml") or "/" in implementation:
        implementation = str(Path(implementation).resolve())
    lock = kept.claim(name)
    ready, says = os.pipe2(os.O_CLOEXEC)
    config = {"name": name, "url": url, "implementation": implementation, "lock": lock, "says": says}
    try:
        with (kept.state_folder() / name / "log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", "clusters.netns.keeper", json.dumps(config)],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, pass_fds=(lock, says),
                start_new_session=True, cwd="/", env=launch.environment(),
            )
    except BaseException:
        os.close(ready)
        raise
    finally:
        os.close(lock)
        os.close(says)
    return _stands(name, process, ready)


def _stands(name: str, process: subprocess.Popen[bytes], ready: int) -> Kept:
    """Wait for the keeper's first word; a keeper that has no good one is ended."""
    try:
        with os.fdopen(ready, "rb") as pipe:
            line = pipe.readline()  # it says something or ends: its own start has a bound
        if not line:
            said = _log(name)
            raise ClusterError(f"the keeper of cluster {name!r} ended before it stood: "
                               f"{(said or ['it said nothing'])[-1]}", log=said)
        answer = json.loads(line)
        if not answer["ok"]:
            raise ClusterError(answer["error"], log=answer["log"])
        return kept.find(name)
    except BaseException:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(3)
        process.kill()
        process.wait()
        kept.listed()  # forgets it, if it could not do so itself
        raise


def _log(name: str) -> list[str]:
    with suppress(OSError):
        return (kept.state_folder() / name / "log").read_text(errors="replace").splitlines()[-20:]
    return []


def main(args: list[str]) -> int:
    """Be the keeper; the one argument is JSON as ``keep`` makes it. Gives the exit status."""
    config = json.loads(args[0])
    for fd in (config["lock"], config["says"]):
        os.set_inheritable(fd, False)
    # A session's runtime folder is removed at log-out, which this cluster is to outlive.
    os.environ.pop("XDG_RUNTIME_DIR", None)
    tempfile.tempdir = None
    try:
        return asyncio.run(_live(config))
    finally:
        shutil.rmtree(kept.state_folder() / config["name"], ignore_errors=True)


async def _live(config: dict[str, Any]) -> int:
    """Raise the cluster, say so, and hold it until it ends or this process is told to end it."""
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGHUP, lambda: None)
    about = Kept(config["name"], config["url"], config["implementation"], time.time(),
                 (Process.of(os.getpid()),))
    about.write()
    raising = asyncio.create_task(_raise(about))

    def told() -> None:
        stop.set()
        raising.cancel()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, told)
    cluster: NetnsCluster | None = None
    try:
        with os.fdopen(config["says"], "w") as pipe:
            try:
                cluster = await raising
            except (ClusterError, OSError) as error:
                log = list(error.log) if isinstance(error, ClusterError) else []
                pipe.write(json.dumps({"ok": False, "error": str(error), "log": log}) + "\n")
                return 1
            except asyncio.CancelledError:
                return 1
            pipe.write(json.dumps({"ok": True}) + "\n")  # BrokenPipeError: nobody waits any more
        machine = os.pidfd_open(cluster.machine_pid)
        loop.add_reader(machine, stop.set)
        await stop.wait()
        loop.remove_reader(machine)
        os.close(machine)
    except (BrokenPipeError, ProcessLookupError):
        return 1
    finally:
        if cluster is not None:
            await cluster.close()
    return 0


async def _raise(about: Kept) -> NetnsCluster:
    """The cluster with its implementation running and everything written down."""
    provided: Implementation | None = None
    if about.implementation:
        provided = implementations.find(about.implementation)
    programs = (*provided.per_node, *provided.controllers) if provided else ()
    preload = sorted({one.python.partition(":")[0] for one in programs if one.python})
    cluster = await NetnsCluster.start(about.url, preload=preload)
    try:
        if provided is not None:
            await cluster.provide(provided)
        shutil.copyfile(cluster.kubeconfig, about.kubeconfig)
        about.kubeconfig.chmod(0o600)
        nodes = tuple(node.name for node in await cluster.nodes())
        Kept(about.name, about.url, about.implementation, about.since,
             (*about.processes, *_processes(cluster.machine_pid)), nodes,
             str(cluster.kubeconfig.parent)).write()
    except BaseException:
        await cluster.close()
        raise
    return cluster


def _processes(machine: int) -> list[Process]:
    """``unshare`` and its child, which is process 1 of the cluster and ends after all others."""
    children = Path(f"/proc/{machine}/task/{machine}/children").read_text().split()
    return [Process.of(machine), *(Process.of(int(child)) for child in children)]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
