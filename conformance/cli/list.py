"""``service-conformance list``: the requirements, with level, needs and source."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from typing import Any

from conformance.cli.selection import add_selection, options_of
from conformance.profiles import PROFILES, ProfileError
from conformance.requirements import Requirement, RequirementError
from conformance.session import RunError, chosen_requirements


def add(commands: Any) -> None:
    """Add the subcommand."""
    parser = commands.add_parser("list", help="show the requirements")
    add_selection(parser)
    parser.add_argument("--json", action="store_true", help="as JSON, for programs")
    parser.add_argument("--profiles", action="store_true", help="show the profiles instead")
    parser.set_defaults(command=command)


def command(arguments: argparse.Namespace) -> int:
    """Print what is selected; 3 when nothing is."""
    if arguments.profiles:
        for profile in PROFILES.values():
            print(f"{profile.name:18} {profile.sentence}")
        return 0
    try:
        chosen = chosen_requirements(options_of(arguments))
    except (RequirementError, ProfileError) as problem:
        raise RunError(str(problem)) from problem
    if not chosen:
        raise RunError("nothing is selected; leave out an option, or see `list --profiles`")
    print(_as_json(chosen) if arguments.json else "\n".join(map(_line, chosen)))
    return 0


def _as_json(chosen: Sequence[Requirement]) -> str:
    return json.dumps([one.as_record() for one in chosen], indent=2, ensure_ascii=False)


def _line(one: Requirement) -> str:
    needs = f"\n{'':20}needs: {', '.join(sorted(one.needs))}" if one.needs else ""
    return f"{one.id:14} {one.level:5}{one.sentence}\n{'':20}from: {one.source}{needs}"
