"""The whole program as a process, and the tiny API server that feeds it."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

from implementation.tests.api import KUBECONFIG, Api
from implementation.tests.build import service_json, slice_json
from implementation.tests.lab import sh

PORTS = ["--healthz-bind-address=127.0.0.1:10256", "--metrics-bind-address=127.0.0.1:10249"]


class Rig:
    """A proxy process and the API server it reads."""

    def __init__(self, mode: str = "iptables") -> None:
        self.mode = mode
        self.api = Api()
        self.api.put("services", service_json())
        self.api.put("endpointslices", slice_json("web", "10.42.0.1"))

    async def start(self, module: str = "implementation.cli", *args: str) -> None:
        """In fresh namespaces: everything."""
        sh("ip link set lo up && mount -t tmpfs none /run")
        write_kubeconfig(await self.api.start(6443))
        await self.spawn(module, *args)

    async def spawn(self, module: str = "implementation.cli", *args: str, **faults: int) -> None:
        """The proxy's process alone; ``faults`` are those of :mod:`implementation.tests.faulty`."""
        code = f"import sys; from {module} import main; sys.exit(main(sys.argv[1:]))"
        argv = [
            "--kubeconfig=/run/kubeconfig",
            "--hostname-override=here",
            "--cluster-cidr=10.42.0.0/16",
            f"--proxy-mode={self.mode}",
            *PORTS,
            *args,
        ]
        self.process = await asyncio.create_subprocess_exec(
            "sh",
            "-c",
            'exec "$@" 2>>/run/log',
            "sh",
            sys.executable,
            "-c",
            code,
            *argv,
            env={**os.environ, **{f"FAULT_{name.upper()}": str(value) for name, value in faults.items()}},
        )

    async def until(self, condition: Callable[[], bool], seconds: float = 20) -> float:
        start = time.monotonic()
        while not await asyncio.to_thread(condition):
            assert time.monotonic() - start < seconds, log()
            await asyncio.sleep(0.005)
        return time.monotonic() - start

    async def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return await asyncio.wait_for(self.process.wait(), 10)


def write_kubeconfig(server: str) -> None:
    Path("/run/kubeconfig").write_text(KUBECONFIG.replace("SERVER", server))


def log() -> str:
    return Path("/run/log").read_text()


def get(url: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
    except OSError:
        return 0, ""


def well() -> bool:
    return get("http://127.0.0.1:10256/healthz")[0] == 200
