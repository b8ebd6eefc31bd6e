"""Wrong: the tracking of a connection through a Service is deleted once it is a second old."""

import re
import subprocess
import threading

from implementation import cli, modes
from implementation.dataplane import Dataplane
from implementation.settings import Settings

right = modes.dataplane
FLOW = re.compile(r"src=(\S+) dst=(\S+) sport=(\d+) dport=(\d+) src=(\S+)")


def cut(over: threading.Event, seen: frozenset[tuple[str, ...]] = frozenset()) -> None:
    """Once a second, delete what was translated and was there a second ago."""
    while not over.wait(1.0):
        argv = ["conntrack", "-L", "-p", "tcp", "--state", "ESTABLISHED"]
        listed = subprocess.run(argv, capture_output=True, text=True, timeout=10, check=False).stdout
        flows = frozenset(flow for flow in FLOW.findall(listed) if flow[1] != flow[4])
        for source, destination, sport, dport, _ in flows & seen:
            argv = ["conntrack", "-D", "-p", "tcp", "-s", source, "-d", destination, "--sport", sport]
            subprocess.run([*argv, "--dport", dport], capture_output=True, timeout=10, check=False)
        seen = flows - seen


def forgetful(settings: Settings, pod_cidrs: tuple[str, ...] = ()) -> Dataplane:
    """The data plane, and beside it a thread that cuts."""
    threading.Thread(target=cut, args=(threading.Event(),), daemon=True).start()
    return right(settings, pod_cidrs)


def main(args: list[str] | None = None) -> int:
    """Run the proxy with this one decision wrong."""
    modes.dataplane = forgetful
    return cli.main(args)
