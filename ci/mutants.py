"""Every miniature against the judge: is it caught by the requirement that must catch it, and by few others?

A miniature is an implementation (an API server, a DNS server) that is wrong in exactly one decision. Usage:
``ci/mutants.py [--full] [--list] [--jobs N] [NAME ...]``. The last line is ``recall N/N``.

Each is judged by the rows that must catch it and by a canary, a row that must pass beside them. With
``--full`` every row judges every miniature, the kill matrix is printed, and one that turns more than three
other rows red is too broad. Exit status 1 when one escapes, when a canary is not green, or when a registered
requirement is named by no miniature: then nothing shows that it can fail.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tomllib
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

from conformance.areas import load_areas
from conformance.requirements import registry

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = (ROOT / "implementation/miniatures", ROOT / "clusters/miniatures")
OTHERS_ALLOWED = 3
MARKS = {"fail": "x", "pass": ".", "unsupported": "-", "not-run": "-"}
SECONDS = 240  # patience for one certificate; a healthy one takes under 40, a wrong one waits out its bounds
STRICTER = "0.2"  # what never settles is known after 6 s as well as after 30; a canary settles in 1
CANARIES = ("CLUSTERIP-01", "ENDPOINTS-01")  # the first that must not catch it; a descriptor may name another
AT_ONCE, TIMED_AT_ONCE = 8, 2  # a wrong one mostly waits for what never comes; timing rows want a processor


@dataclass(frozen=True)
class Miniature:
    """One wrong implementation: what it decides wrongly, and the requirements that must notice."""

    name: str
    decision: str
    caught_by: tuple[str, ...]
    arguments: tuple[str, ...]  # of service-conformance certify
    canary: str  # the row that must be green beside them


def load() -> list[Miniature]:
    """Every miniature of the tree, in name order."""
    found = []
    for path in sorted(path for folder in FOLDERS for path in folder.glob("*.toml")):
        described = tomllib.loads(path.read_text())
        about = described["miniature"]
        cluster = about.get("cluster")
        arguments = ("--cluster", cluster) if cluster else ("--implementation", described["name"])
        caught_by = tuple(about["caught-by"])
        canary = about.get("canary") or next(name for name in CANARIES if name not in caught_by)
        found.append(Miniature(described["name"], about["decision"], caught_by, arguments, canary))
    return found


def unproven(known: list[Miniature]) -> list[str]:
    """The registered requirements that no miniature is caught by, sorted."""
    load_areas()
    return sorted(set(registry()) - {name for one in known for name in one.caught_by})


def timed(miniature: Miniature) -> bool:
    """True when a row that must catch it measures time, and so wants the machine for itself."""
    load_areas()
    return any(registry()[name].disruptive for name in miniature.caught_by)


def verdicts(miniature: Miniature, out: Path, full: bool) -> dict[str, str]:
    """Certify ``miniature`` and give each verdict; none, and the reason printed, when there is no report."""
    command = [sys.executable, "-m", "conformance.cli.main", "certify", *miniature.arguments]
    command += ["--out", str(out)]
    if not full:
        command += ["--stricter", STRICTER, *miniature.caught_by, miniature.canary]
    shutil.rmtree(out, ignore_errors=True)
    try:
        done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=SECONDS, check=False)
    except subprocess.TimeoutExpired:
        print(f"{miniature.name}: no report within {SECONDS} s", flush=True)
        return {}
    reports = list(out.glob("**/report.json"))
    if done.returncode not in {0, 1, 2, 4} or not reports:
        last = "\n".join((done.stdout + done.stderr).splitlines()[-20:])
        print(f"{miniature.name}: no report, exit status {done.returncode}\n{last}", flush=True)
        return {}
    report = json.loads(reports[0].read_text())
    return {row["id"]: row["verdict"] for row in report["requirements"]}


def judge(miniature: Miniature, seen: dict[str, str]) -> str:
    """Why this miniature counts as escaped or too broad; empty when it is caught as it must be."""
    red = {name for name, verdict in seen.items() if verdict == "fail"}
    missed = [f"{name} ({seen.get(name, 'not run')})" for name in miniature.caught_by if name not in red]
    if missed:
        return f"not caught by {', '.join(missed)}"
    if seen.get(miniature.canary) != "pass":
        return f"its canary {miniature.canary} is {seen.get(miniature.canary)}, so something else is wrong"
    others = sorted(red - set(miniature.caught_by))
    return f"turns {len(others)} others red: {', '.join(others)}" if len(others) > OTHERS_ALLOWED else ""


def matrix(rows: list[tuple[Miniature, dict[str, str]]]) -> str:
    """The kill matrix as text: X caught as it must be, x red besides, ? unknown, - not judged, . green.

    The columns stand under their IDs, which are written downwards.
    """
    columns = sorted({name for _, seen in rows for name in seen})
    width = max(len(miniature.name) for miniature, _ in rows)
    tall = max(map(len, columns))
    lines = [
        " " * (width + 2) + " ".join(letters)
        for letters in zip(*(one.rjust(tall) for one in columns), strict=True)
    ]
    for miniature, seen in rows:
        marks = []
        for column in columns:
            mark = MARKS.get(seen.get(column, "not-run"), "?")
            marks.append("X" if mark == "x" and column in miniature.caught_by else mark)
        lines.append(f"{miniature.name:{width}}  " + " ".join(marks))
    return "\n".join(lines)


def run_all(chosen: list[Miniature], jobs: int, full: bool) -> list[tuple[Miniature, dict[str, str]]]:
    """Certify each of ``chosen``, ``jobs`` at a time."""
    rows = []
    with ThreadPoolExecutor(jobs) as pool:
        running = {pool.submit(verdicts, one, ROOT / "out/mutants" / one.name, full): one for one in chosen}
        for number, done in enumerate(as_completed(running), 1):
            one = running[done]
            rows.append((one, done.result()))
            print(f"{number}/{len(chosen)} {one.name}: {judge(*rows[-1]) or 'caught'}", flush=True)
    return rows


def run_both(chosen: list[Miniature], jobs: int, full: bool) -> list[tuple[Miniature, dict[str, str]]]:
    """First those that wait, many at a time, then those whose rows measure time; in name order."""
    quiet = [one for one in chosen if full or timed(one)]
    rows = run_all([one for one in chosen if one not in quiet], jobs or AT_ONCE, full)
    rows += run_all(quiet, min(jobs or TIMED_AT_ONCE, TIMED_AT_ONCE), full)
    return sorted(rows, key=lambda row: row[0].name)


def options_of() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help="miniatures to run (default: all)")
    parser.add_argument("--full", action="store_true", help="judge each by every row; prints the kill matrix")
    parser.add_argument("--list", action="store_true", help="print them and what each decides wrongly")
    parser.add_argument("--jobs", type=int, default=0, help=(
        f"how many at a time (default {AT_ONCE}, and {TIMED_AT_ONCE} where time is measured)"))
    return parser.parse_args()


def main() -> int:
    """Run the named miniatures, or all."""
    options, known = options_of(), load()
    unknown = ", ".join(sorted(set(options.names) - {miniature.name for miniature in known}))
    if unknown:
        print(f"unknown miniature {unknown}; ci/mutants.py --list names them", file=sys.stderr)
        return 3
    if not options.names and (nothing := unproven(known)):
        print(f"named in no miniature's caught-by: {', '.join(nothing)}; add one it fails", file=sys.stderr)
        return 1
    chosen = [miniature for miniature in known if not options.names or miniature.name in options.names]
    if options.list:
        for miniature in chosen:
            print(f"{miniature.name}: {miniature.decision} (caught by {', '.join(miniature.caught_by)})")
        return 0
    rows = run_both(chosen, options.jobs, options.full)
    wrong = [f"{one.name}: {complaint}" for one, seen in rows if (complaint := judge(one, seen))]
    if options.full:
        print("\n" + matrix(rows))
    for complaint in wrong:
        print(complaint)
    print(f"recall {len(chosen) - len(wrong)}/{len(chosen)}")
    return 1 if wrong or not chosen else 0


if __name__ == "__main__":
    sys.exit(main())
