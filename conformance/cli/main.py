"""``service-conformance list | run | certify | judge | report | trace | cluster | deploy | cleanup | doctor``

Exit status: 0 conformant, 1 failed, 2 unknown, 3 bad usage or nothing to judge, 4 this suite itself broke.
"""

from __future__ import annotations

import argparse
import os
import sys
import traceback
from collections.abc import Sequence
from typing import NoReturn

from conformance.cli import certify, cleanup, cluster, deploy, doctor, judge, report, run, trace
from conformance.cli import list as listing
from conformance.evidence import EvidenceError
from conformance.options import OptionError
from conformance.session import RunError

BAD_USAGE, BROKEN = 3, 4
_COMMANDS = (listing, run, certify, judge, report, trace, cluster, deploy, cleanup, doctor)


class Parser(argparse.ArgumentParser):
    """Bad usage ends with status 3: 2 means unknown here."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong and where help is."""
        self.exit(BAD_USAGE, f"{self.prog}: {message}; {self.prog} --help shows what there is\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one subcommand; gives the exit status."""
    parser = Parser(prog="service-conformance", description=str(__doc__).splitlines()[0])
    commands = parser.add_subparsers(metavar="COMMAND", required=True, parser_class=Parser)
    for command in _COMMANDS:
        command.add(commands)
    options = parser.parse_args(argv)
    try:
        status = int(options.command(options))
        sys.stdout.flush()
        return status
    except RunError as problem:
        return _say(problem, *problem.log)
    except (EvidenceError, OptionError) as problem:
        return _say(problem)
    except BrokenPipeError:  # whoever reads us has seen enough, as `list | head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        print("interrupted before anything was judged", file=sys.stderr)
        return BAD_USAGE
    except Exception:
        traceback.print_exc()
        print("this suite itself broke; nothing above says anything about who is judged", file=sys.stderr)
        return BROKEN


def _say(problem: Exception, *log: str) -> int:
    print(f"service-conformance: {problem}", file=sys.stderr)
    for line in log:
        print(f"  | {line}", file=sys.stderr)
    return BAD_USAGE


if __name__ == "__main__":
    sys.exit(main())
