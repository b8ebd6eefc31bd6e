"""Every miniature against the judge: is it caught by the requirement that must catch it, and by few others?

A miniature is an implementation (or an API server) that is wrong in exactly one decision. Usage:
``ci/mutants.py [--list] [--jobs N] [NAME ...]``. Prints the kill matrix; its last line is ``recall N/N``.
Exit status 1 when one escapes, or turns more than three other rows red, or when a registered requirement is
named by no miniature: then nothing shows that it can fail.
"""

from __future__ import annotations

import argparse
import json
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
SECONDS = 240  # patience for one certificate; a healthy one takes under 20, a wrong one waits out its bounds


@dataclass(frozen=True)
class Miniature:
    """One wrong implementation: what it decides wrongly, and the requirements that must notice."""

    name: str
    decision: str
    caught_by: tuple[str, ...]
    arguments: tuple[str, ...]  # of service-conformance certify


def load() -> list[Miniature]:
    """Every miniature of the tree, in name order."""
    found = []
    for path in sorted(path for folder in FOLDERS for path in folder.glob("*.toml")):
        described = tomllib.loads(path.read_text())
        about = described["miniature"]
        cluster = about.get("cluster")
        arguments = ("--cluster", cluster) if cluster else ("--implementation", described["name"])
        caught_by = tuple(about["caught-by"])
        found.append(Miniature(described["name"], about["decision"], caught_by, arguments))
    return found


def unproven(known: list[Miniature]) -> list[str]:
    """The registered requirements that no miniature is caught by, sorted."""
    load_areas()
    return sorted(set(registry()) - {name for one in known for name in one.caught_by})


def verdicts(miniature: Miniature, out: Path) -> dict[str, str]:
    """Certify ``miniature`` and give the verdict of each requirement; SystemExit when there is no report."""
    command = [sys.executable, "-m", "conformance.cli.main", "certify", *miniature.arguments]
    command += ["--out", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=SECONDS, check=False)
    reports = list(out.glob("**/report.json"))
    if done.returncode not in {0, 1, 2} or not reports:
        last = "\n".join((done.stdout + done.stderr).splitlines()[-20:])
        raise SystemExit(f"{miniature.name}: no report, exit status {done.returncode}\n{last}")
    report = json.loads(reports[0].read_text())
    return {row["id"]: row["verdict"] for row in report["requirements"]}


def judge(miniature: Miniature, seen: dict[str, str]) -> str:
    """Why this miniature counts as escaped or too broad; empty when it is caught as it must be."""
    red = {name for name, verdict in seen.items() if verdict == "fail"}
    missed = [name for name in miniature.caught_by if name not in red]
    if missed:
        return f"not caught by {', '.join(missed)}"
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


def run_all(chosen: list[Miniature], jobs: int) -> list[tuple[Miniature, dict[str, str]]]:
    """Certify each of ``chosen``, ``jobs`` at a time: a wrong one mostly waits for what never comes."""
    rows = []
    with ThreadPoolExecutor(jobs) as pool:
        running = {pool.submit(verdicts, one, ROOT / "out/mutants" / one.name): one for one in chosen}
        for number, done in enumerate(as_completed(running), 1):
            one = running[done]
            rows.append((one, done.result()))
            print(f"{number}/{len(chosen)} {one.name}: {judge(*rows[-1]) or 'caught'}", flush=True)
    return rows


def main() -> int:
    """Run the named miniatures, or all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help="miniatures to run (default: all)")
    parser.add_argument("--list", action="store_true", help="print them and what each decides wrongly")
    parser.add_argument("--jobs", type=int, default=2, help="how many at a time (default 2)")
    options = parser.parse_args()
    known = load()
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
    rows = sorted(run_all(chosen, options.jobs), key=lambda row: row[0].name)
    wrong = [f"{one.name}: {complaint}" for one, seen in rows if (complaint := judge(one, seen))]
    print("\n" + matrix(rows))
    for complaint in wrong:
        print(complaint)
    print(f"recall {len(chosen) - len(wrong)}/{len(chosen)}")
    return 1 if wrong or not chosen else 0


if __name__ == "__main__":
    sys.exit(main())
