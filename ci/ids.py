"""Checks conformance/ids.lock: no ID duplicated, reused or vanished, and every registered requirement in it.

What was ever published is read from git: every version of ids.lock. Exit status 1 and one sentence a fault.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOCK = "conformance/ids.lock"
DROPPED = "dropped"  # what conformance.requirements.locked_ids gives for a hole
SECONDS = 30


def faults(
    locked: Mapping[str, str], published: Iterable[str], registered: Mapping[str, str],
) -> list[str]:
    """One sentence for each fault; ``locked`` and ``registered`` give the area by ID."""
    found = [
        f"{id} was published and has vanished from {LOCK}; put its line back, a hole is kept for ever"
        for id in sorted(set(published) - set(locked))
    ]
    for id, area in sorted(registered.items()):
        if id not in locked:
            found.append(f"{id} is registered and not in {LOCK}; add the line '{id} {area}' to its area")
        elif locked[id] == DROPPED:
            found.append(f"{id} was dropped and is never reused; take the next free number of {area}")
        elif locked[id] != area:
            found.append(f"{id} is locked to area {locked[id]}, registered in {area}; take another number")
    return found


def published(root: Path = ROOT) -> set[str]:
    """The IDs of every version of ids.lock that git knows; empty outside a repository."""
    git = ["git", "-C", str(root)]
    versions = subprocess.run(
        [*git, "log", "--format=%H", "--", LOCK],
        capture_output=True, text=True, timeout=SECONDS, check=False,
    ).stdout.split()
    ids: set[str] = set()
    for version in versions:
        shown = subprocess.run(
            [*git, "show", f"{version}:{LOCK}"], capture_output=True, text=True, timeout=SECONDS, check=False,
        )
        lines = (line.partition("#")[0].split() for line in shown.stdout.splitlines())
        ids |= {words[0] for words in lines if words}
    return ids


def main() -> int:
    """Check the lock of this tree."""
    sys.path.insert(0, str(ROOT))
    from conformance.areas import load_areas
    from conformance.requirements import RequirementError, locked_ids, registry

    try:
        load_areas()
        locked = locked_ids()
    except RequirementError as error:
        print(error, file=sys.stderr)
        return 1
    registered = {id: one.area for id, one in registry().items()}
    found = faults(locked, published(), registered)
    for fault in found:
        print(fault, file=sys.stderr)
    print(f"{len(locked)} IDs locked, {len(registered)} requirements written, {len(found)} faults")
    return 1 if found or not registered else 0


if __name__ == "__main__":
    sys.exit(main())
