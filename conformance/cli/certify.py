"""``service-conformance certify``: raise the embedded cluster with an implementation, judge it, write its
report.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

from conformance.cli.running import run_and_report
from conformance.cli.selection import add_running, add_selection, options_of
from conformance.features import Feature
from conformance.session import REFERENCE, RunError, declared

CLUSTER, BOTH = "netns://?seed", "netns://?seed&dual"
STANDING = ("kind", "kubeconfig")  # clusters on which something serves already


def add(commands: Any) -> None:
    """Add the subcommand."""
    parser = commands.add_parser("certify", help="judge an implementation in the embedded cluster")
    add_selection(parser)
    named = f"name or TOML file of a descriptor (default: {REFERENCE})"
    parser.add_argument("--implementation", help=named)
    parser.add_argument("--cluster", help=(
        f"URL of a cluster to raise (default: {CLUSTER}, and {BOTH} for who declares dual-stack)"))
    add_running(parser)
    parser.set_defaults(command=command)


def command(arguments: argparse.Namespace) -> int:
    """Certify; the files are under ``OUT/certificate/<implementation>/``."""
    options = options_of(arguments, implementation=REFERENCE)
    if not options.cluster:
        dual = declared(options.implementation).supports(Feature.DUAL_STACK)
        options = replace(options, cluster=BOTH if dual else CLUSTER)
    if options.cluster.partition("://")[0] in STANDING:
        raise RunError(f"{options.cluster}: certify starts what it judges, which only netns:// can; "
                       "for what is there: service-conformance run --cluster URL --implementation FILE")
    name = Path(options.implementation).name.removesuffix(".toml")
    return run_and_report(options, Path(options.out) / "certificate" / name)
