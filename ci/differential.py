#!/usr/bin/env python3
"""Services given to the embedded API server and to a real one:  ci/differential.py [--cases N] [--seed N]

Hypothesis makes them.
The answers (status, reason, message, stored object) are compared, values that a server chooses as symbols.
Exit status 1 when one differs without a reason that is written down, 3 when a server cannot be had.
"""

from __future__ import annotations

import argparse
import sys
import time

from clusters.base import ClusterError
from clusters.tests.differential_run import KNOWN, carry_out


def main() -> int:
    """Run the cases, print each kind of difference with one example."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=5000, help="how many (default 5000)")
    parser.add_argument("--seed", type=int, help="of the cases; without it they are the same in every run")
    options = parser.parse_args()
    began = time.monotonic()
    try:
        done, found = carry_out(options.cases, seed=options.seed)
    except ClusterError as error:
        print(error, *error.log, sep="\n", file=sys.stderr)
        return 3
    for line, (often, case) in sorted(found.items(), key=lambda item: -item[1][0]):
        print(f"{often} x {line}\n    {case}")
    print(f"{done} cases in {time.monotonic() - began:.0f} s: {len(found)} kinds of unexplained differences, "
          f"{len(KNOWN)} explained")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
