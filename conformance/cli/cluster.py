"""``service-conformance cluster up | down | list | exec``: embedded clusters for a user's own use.

They outlive the command; any number stand side by side, told apart by their names.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from clusters.base import ClusterError
from clusters.netns import keeper, kept, terminal
from conformance.session import REFERENCE, RunError

NONE = "none"
_NAMED = f"name of the cluster (default: {kept.DEFAULT})"


def add(commands: Any) -> None:
    """Add the subcommand and its own four."""
    parser = commands.add_parser("cluster", help="raise, show, enter and end clusters for your own use")
    own = parser.add_subparsers(metavar="up|down|list|exec", required=True, parser_class=type(parser))
    up = own.add_parser("up", help="raise one that outlives this command")
    up.add_argument("url", nargs="?", default="netns://", metavar="URL", help="such as 'netns://?seed'")
    up.add_argument("--name", default=kept.DEFAULT, help=_NAMED)
    up.add_argument("--implementation", default=REFERENCE,
                    help=f"what provides Services: a name, a TOML file or {NONE} (default: {REFERENCE})")
    up.set_defaults(command=_saying(_up))
    down = own.add_parser("down", help="end one, or all")
    down.add_argument("name", nargs="?", metavar="NAME", help=_NAMED)
    down.add_argument("--all", action="store_true", help="every cluster of this user")
    down.set_defaults(command=_saying(_down))
    own.add_parser("list", help="show those that stand").set_defaults(command=_saying(_list))
    # Everything after "exec" is taken as it is: the words after -- may look like options.
    inside = own.add_parser("exec", help="run a program on a node or place: exec NODE [--name NAME] -- ARGV…",
                            prefix_chars="\0", add_help=False)
    inside.add_argument("words", nargs=argparse.REMAINDER)
    inside.set_defaults(command=_saying(_exec), parser=type(parser)(prog=inside.prog))


def _saying(command: Callable[[argparse.Namespace], int]) -> Callable[[argparse.Namespace], int]:
    """The command with a cluster's sentence as ours."""
    def run(arguments: argparse.Namespace) -> int:
        try:
            return command(arguments)
        except ClusterError as problem:
            raise RunError(str(problem), log=problem.log) from problem
    return run


def _up(arguments: argparse.Namespace) -> int:
    began = time.monotonic()
    chosen = "" if arguments.implementation == NONE else arguments.implementation
    made = keeper.keep(arguments.name, arguments.url, chosen)
    serves = Path(chosen).name.removesuffix(".toml") or "nothing yet"
    print(f"cluster {made.name} stands after {time.monotonic() - began:.1f} s, held by process {made.keeper}")
    print(f"nodes: {', '.join(made.nodes)}; Services by: {serves}")
    print(f"kubeconfig: {made.kubeconfig}\n")
    print(f"  export KUBECONFIG={made.kubeconfig}")
    print("  kubectl get nodes")
    print(f"  service-conformance run --cluster {kept.SCHEME}://{made.name} --profile smoke")
    return 0


def _down(arguments: argparse.Namespace) -> int:
    if arguments.all and arguments.name:
        raise RunError("name a cluster or give --all, not both")
    standing, gone = kept.listed() if arguments.all else ([], [])
    names = [one.name for one in standing] if arguments.all else [arguments.name or kept.DEFAULT]
    for name in names:
        ended = kept.end(name)
        print(f"cluster {name} {'has ended' if ended else 'was not there; nothing to end'}")
    for name in gone:
        print(_was_gone(name))
    if not names:
        print("no cluster stands")
    return 0


def _list(_arguments: argparse.Namespace) -> int:
    standing, gone = kept.listed()
    rows = [("NAME", "URL", "NODES", "AGE", "PID", "SERVICES BY", "KUBECONFIG")]
    rows += [
        (one.name, one.url, str(len(one.nodes)), age(time.time() - one.since), str(one.keeper),
         Path(one.implementation).name.removesuffix(".toml") or "-", str(one.kubeconfig))
        for one in standing
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows if standing else ():
        print("   ".join(word.ljust(width) for word, width in zip(row, widths, strict=True)).rstrip())
    for name in gone:
        print(_was_gone(name))
    if not standing:
        print("no cluster stands; `service-conformance cluster up` raises one")
    return 0


def _was_gone(name: str) -> str:
    return f"cluster {name} is gone: its keeper was killed, and the kernel ended the rest; forgotten now"


def age(seconds: float) -> str:
    """Seconds as kubectl writes an age: its largest two units at most."""
    whole = max(0, int(seconds))
    if whole < 120:
        return f"{whole}s"
    if whole < 3 * 3600:
        return f"{whole // 60}m"
    return f"{whole // 3600}h" if whole < 2 * 86400 else f"{whole // 86400}d"


def _exec(arguments: argparse.Namespace) -> int:
    before, argv = split(arguments.words)
    parser = arguments.parser
    parser.usage = "service-conformance cluster exec NODE|PLACE [--name NAME] [-it] -- ARGV…"
    parser.add_argument("where", metavar="NODE|PLACE", help="a node, outside, router or behind-router")
    parser.add_argument("--name", default=kept.DEFAULT, help=_NAMED)
    parser.add_argument("-i", "-t", "-it", action="store_true", dest="terminal",
                        help="a terminal for the program, as always when this is one")
    told = parser.parse_args(before)
    if not argv:
        raise RunError(f"nothing to run; write it after --, as in: cluster exec {told.where} -- ip route")
    if told.terminal and not terminal.interactive():
        print("no terminal here, so the program gets none", file=sys.stderr)
    found = kept.find(told.name)
    sys.stdout.flush()
    return terminal.run(Path(found.run_folder), told.where, argv)


def split(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """What stands before the first ``--`` and what after it."""
    at = list(words).index("--") if "--" in words else len(words)
    return list(words[:at]), list(words[at + 1:])
