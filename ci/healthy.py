"""Repeats certificates of healthy implementations and counts false alarms: ``ci/healthy.py --runs 10``.

Every run must exit 0; anything else is a false alarm (or a real fault, which the kept report tells apart).
With ``--busy`` two processes beside it keep two processors busy all the while. Then a run may also end with
2: what could not be measured is ``unknown`` by design, is counted apart, and must stay rare.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parent.parent
HEALTHY = ("reference-iptables", "reference-iptables-1.18", "reference-nftables",
           "reference-userspace", "reference-loadbalancer")
SECONDS = 240
BURNERS = 2
RARE = 0.01  # of all verdicts may be unknown on a busy machine
# Ends when this program does, however that ends: its end of the pipe is closed then.
BURN = """
import os, threading
threading.Thread(target=lambda: (os.read(0, 1), os._exit(0)), daemon=True).start()
while True:
    pass
"""


@contextmanager
def busy(count: int) -> Iterator[None]:
    """Keep ``count`` processors busy until the block ends."""
    argv = [sys.executable, "-c", BURN]
    burning = [subprocess.Popen(argv, stdin=subprocess.PIPE) for _ in range(count)]
    try:
        yield
    finally:
        for process in burning:
            process.kill()
            process.wait()


def certify(implementation: str, out: Path) -> tuple[int, float, str]:
    """Certify once; gives the exit status, the seconds it took and the last 15 lines it said."""
    began = time.monotonic()
    command = [
        sys.executable, "-m", "conformance.cli.main", "certify", "--implementation", implementation,
        "--out", str(out),
    ]
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=ROOT, timeout=SECONDS, check=False,
    )
    said = "\n".join((done.stdout + done.stderr).splitlines()[-15:])
    return done.returncode, time.monotonic() - began, said


def not_green(out: Path, implementation: str) -> tuple[int, list[str]]:
    """How many requirements a run judged, and a line for each that is neither pass nor unsupported."""
    report = out / "certificate" / implementation / "report.json"
    rows = json.loads(report.read_text())["requirements"] if report.exists() else []
    return len(rows), [f"{row['id']} {row['verdict']}: {row['reason'] or row['findings'][:1]}" for row in rows
                       if row["verdict"] not in {"pass", "unsupported"}]


def main() -> int:
    """Run each healthy implementation ``--runs`` times, in turn."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=10, help="certificates of each (default 10)")
    parser.add_argument("--busy", action="store_true", help=f"keep {BURNERS} processors busy beside it")
    parser.add_argument("names", nargs="*", default=HEALTHY, help="implementations (default: all of them)")
    options = parser.parse_args()
    allowed = {0, 2} if options.busy else {0}
    alarms, judged, unknown, seconds = 0, 0, 0, []
    with busy(BURNERS if options.busy else 0):
        for run in range(1, options.runs + 1):
            for implementation in options.names:
                out = ROOT / "out/healthy" / f"{run}"
                status, took, said = certify(implementation, out)
                rows, lines = not_green(out, implementation)
                seconds.append(took)
                alarms += status not in allowed
                judged, unknown = judged + rows, unknown + (len(lines) if status == 2 else 0)
                print(f"{implementation} {run}/{options.runs}: exit {status}, {took:.1f} s", flush=True)
                print("\n".join(lines) or said if status else "", end="\n" if status else "", flush=True)
    print(f"{len(seconds)} runs, {alarms} false alarms, {unknown} of {judged} verdicts unknown; seconds min "
          f"{min(seconds):.1f} median {median(seconds):.1f} max {max(seconds):.1f}")
    return 1 if alarms or unknown > RARE * judged else 0


if __name__ == "__main__":
    sys.exit(main())
