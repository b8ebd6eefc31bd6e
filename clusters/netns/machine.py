"""The machine: process 1 of the embedded cluster's namespaces, which end when it ends.

Started by ``launch`` with one argument, the configuration file in the run folder. It says on the descriptor
``ready_fd``, in one JSON line, that the cluster stands, or why it does not.

Only what costs nothing is imported here: the zygote is forked first and loads the big modules at the same
time as this process makes the network.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from clusters.netns import kernel, wire, zygote

# Loaded before the API server's host is forked, and before the other hosts are.
_FIRST = (
    "ssl", "msgspec", "yaml", "aiohttp.web", "cryptography.x509",
    "cryptography.hazmat.primitives.asymmetric.ec", "cryptography.hazmat.primitives.serialization",
    "clusters.apiserver.http", "clusters.apiserver.serve",
)
_LATER = ("clusters.client", "clusters.controllers.main", "clusters.dns.server", "clusters.netns.nextcloud",
          "clusters.netns.images", "clusters.netns.standin", "clusters.netns.tap",
          "clusters.netns.klipper", "runpy", "http.server")


def main(args: list[str]) -> int:
    """Be the machine until the judge goes away or says ``down``; gives the exit status."""
    config = json.loads(Path(args[0]).read_text())
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    with suppress(PermissionError):  # inside a container its own /proc may be all there is; it is enough
        kernel.mount("proc", "/proc", "proc")
    mine, its = wire.pair()
    if os.fork() == 0:
        mine.close()
        for fd in config["fds"]:
            os.close(fd)
        zygote.serve(its, config["run_folder"], _FIRST, [*_LATER, *config["preload"]])
    its.close()
    return _run(config, mine)


def _run(config: dict[str, Any], zygote_socket: Any) -> int:
    import asyncio
    import resource

    from clusters.netns.rooms import Rooms

    # Each pod takes its network, two pipes and a log; programs keep the usual limit, forked elsewhere.
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))

    try:
        asyncio.run(Rooms(config, zygote_socket).live())
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
