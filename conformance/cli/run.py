"""``service-conformance run``: judge what provides Services on a cluster that is there."""

from __future__ import annotations

import argparse
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

from clusters.base import ClusterError
from clusters.netns import kept
from conformance.cli.running import run_and_report
from conformance.cli.selection import add_running, add_selection, options_of
from conformance.session import RunError


def add(commands: Any) -> None:
    """Add the subcommand."""
    parser = commands.add_parser("run", help="judge a cluster that is there")
    add_selection(parser)
    parser.add_argument("--cluster", help="its URL; netns-kept://NAME for one of `cluster up`")
    parser.add_argument("--implementation", help="descriptor of what runs there, or is to be started")
    add_running(parser)
    parser.set_defaults(command=command)


def command(arguments: argparse.Namespace) -> int:
    """Run; the files are under ``OUT/run/<cluster>/``."""
    options = options_of(arguments)
    if not options.cluster:
        raise RunError("run needs --cluster URL, such as 'netns://?seed'; `certify` raises one by itself")
    if not options.implementation and options.cluster.startswith(f"{kept.SCHEME}://"):
        options = replace(options, implementation=_provided(options.cluster))
    name = re.sub(r"[^A-Za-z0-9.]+", "-", options.cluster).strip("-")
    return run_and_report(options, Path(options.out) / "run" / name)


def _provided(url: str) -> str:
    """What a kept cluster was raised with, so that its declared features are judged."""
    try:
        return kept.find(kept.name_in(url)).implementation
    except ClusterError as problem:
        raise RunError(str(problem)) from problem
