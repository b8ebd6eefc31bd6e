"""Repeats certificates of healthy implementations and counts false alarms: ``ci/healthy.py --runs 10``.

Every run must exit 0; anything else is a false alarm (or a real fault, which the kept report tells apart).
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parent.parent
HEALTHY = ("reference-iptables", "reference-iptables-1.18", "reference-nftables",
           "reference-userspace", "reference-loadbalancer")
SECONDS = 240


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


def main() -> int:
    """Run each healthy implementation ``--runs`` times, in turn."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=10, help="certificates of each (default 10)")
    options = parser.parse_args()
    alarms, seconds = 0, []
    for run in range(1, options.runs + 1):
        for implementation in HEALTHY:
            status, took, said = certify(implementation, ROOT / "out/healthy" / f"{run}")
            seconds.append(took)
            alarms += status != 0
            print(f"{implementation} {run}/{options.runs}: exit {status}, {took:.1f} s", flush=True)
            if status != 0:
                print(said)
    print(f"{len(seconds)} runs, {alarms} false alarms; seconds min {min(seconds):.1f} "
          f"median {median(seconds):.1f} max {max(seconds):.1f}")
    return 1 if alarms else 0


if __name__ == "__main__":
    sys.exit(main())
