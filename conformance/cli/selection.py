"""The options that several subcommands share: which requirements, on which cluster, how patiently."""

from __future__ import annotations

import argparse

from conformance.options import Options, gather


def add_selection(parser: argparse.ArgumentParser) -> None:
    """Add what selects requirements."""
    parser.add_argument("ids", nargs="*", metavar="ID", help="requirement, such as DNS-01 or SEED-*")
    parser.add_argument("--requirement", action="append", metavar="ID,…", help="the same, as an option")
    parser.add_argument("--profile", help="a named set; `list --profiles` shows them")
    parser.add_argument("--area", action="append", help="all requirements of an area, such as NODEPORT")
    parser.add_argument("--level", action="append", help="core, ext or impl")
    parser.add_argument("--options", default="", metavar="FILE", help="TOML file with options; flags win")


def add_running(parser: argparse.ArgumentParser) -> None:
    """Add what a run needs besides."""
    parser.add_argument("--out", help="folder for evidence and reports (default: out)")
    parser.add_argument("--agent-image", help="any image with Python 3.8 or newer (default: python:3)")
    parser.add_argument("--nextcloud-image", help="NextCloud, or a stand-in (default: nextcloud:latest)")
    parser.add_argument("--stricter", help="cut the time in which something must settle to this part of it")
    parser.add_argument("--slower", help="stretch patience, never a rule, this many times")
    parser.add_argument("--jobs", help="requirements under way at once (default: 12)")
    parser.add_argument("--bin-dir", metavar="DIR", help="folder of real programs, before KUBEBUILDER_ASSETS "
                        "and what ci/peers/build has made")


def options_of(arguments: argparse.Namespace, **defaults: str) -> Options:
    """Flags, then the options file, then ``defaults``. Raises OptionError."""
    ours = {"command", "options", "ids"}
    told = {name: value for name, value in vars(arguments).items() if name not in ours}
    told["requirement"] = [*arguments.ids, *(arguments.requirement or ())]
    options = gather(told, file=arguments.options)
    missing = {name: value for name, value in defaults.items() if not getattr(options, name)}
    return gather(missing, options.told()) if missing else options
