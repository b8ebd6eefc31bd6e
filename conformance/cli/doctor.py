"""``service-conformance doctor``: whether the embedded cluster can stand here, and what to change if not."""

from __future__ import annotations

import argparse
import asyncio
from typing import Any

from clusters.netns import fitness
from clusters.netns.fitness import Finding, State

_WRONG = 3


def add(commands: Any) -> None:
    """Add the subcommand."""
    parser = commands.add_parser("doctor", help="check that the embedded cluster can stand here")
    parser.add_argument("url", nargs="?", default="", metavar="URL",
                        help="check this cluster, too: netns:// or netns-kept://NAME")
    parser.set_defaults(command=command)


def command(arguments: argparse.Namespace) -> int:
    """A line for each check; 3 when something is wrong."""
    found = []
    for one in fitness.machine():
        found.append(one)
        _show(one)
    if arguments.url:
        for one in asyncio.run(fitness.standing(arguments.url)):
            found.append(one)
            _show(one)
    wrong = sum(one.state is State.WRONG for one in found)
    print(f"\n{wrong} wrong: put the first right, and ask again" if wrong else "\nall is well")
    return _WRONG if wrong else 0


def _show(one: Finding) -> None:
    print(f"{one.state:6}{one.name:38}{one.detail}", flush=True)
    if one.next_step:
        print(f"{'':6}{'':38}next: {one.next_step}", flush=True)
