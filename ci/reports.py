#!/usr/bin/env python3
"""Files certificates under reports/:  ci/reports.py file FOLDER ...   then  ci/reports.py table [--write]

``file`` takes folders of certificates (as ``certify`` and ``ci/peers/judge`` write them) and keeps of each
what is worth publishing: reports/<suite version>/<implementation>[@<options>]/summary.json, with the command,
what it ran on, the verdict of every row and the SHA-256 of its evidence. ``table`` prints them in Markdown,
and with --write puts that into the README.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
KEPT = ("command", "commit", "dirty", "kernel", "machine", "cluster", "kubernetes", "implementation",
        "started", "ended", "overall", "counts")
BEGIN, END = "<!-- ci/reports.py table --write -->", "<!-- end of the table -->"
LOST = ("power_loss", "cable_pulled", "pause")  # as LB-L2-03 names them
COUNTED = {"pass": "pass", "fail": "fail", "unknown": "unknown", "unsupported": "not declared"}  # as headed
Summary = dict[str, Any]


def summary(folder: Path) -> Summary:
    """What is kept of a certificate; ValueError when its run was interrupted."""
    report = json.loads((folder / "report.json").read_text())
    if report["interrupted"]:
        raise ValueError(f"{folder}: that run was interrupted; a whole one is wanted")
    evidence = hashlib.sha256((folder / "evidence.jsonl").read_bytes()).hexdigest()
    rows = {row["id"]: row["verdict"] for row in report["requirements"]}
    kept = {name: report[name] for name in KEPT}
    kept["command"] = re.sub(r" --out \S+", "", kept["command"])  # where it was written matters nowhere else
    numbers = {row["id"]: row.get("numbers", {}) for row in report["requirements"]}
    timed = {row: seen for row, seen in numbers.items() if "outage_s" in seen}
    return {"suite": report["suite"], "evidence-sha256": evidence, "rows": rows, "outages": timed} | kept


def place(found: Summary) -> Path:
    """Where a summary is filed."""
    scheme, _, rest = found["cluster"].partition("://")
    asked = rest.partition("?")[2].split("&")
    usual = {"", "seed", "dual"}  # of the embedded cluster: as certify raises it
    options = ["kind", *(["dual"] if "family=dual" in asked else [])] if scheme == "kind" else [
        option.replace("=", "-") for option in asked if option not in usual]
    name = found["implementation"]["name"] + (f"@{'-'.join(options)}" if options else "")
    return Path(ROOT, "reports", found["suite"], name, "summary.json")


def file(folders: list[Path]) -> None:
    """File each certificate below ``folders``."""
    filed: dict[Path, Path] = {}
    for folder in folders:
        for report in sorted(folder.rglob("report.json")):
            found = summary(report.parent)
            target = place(found)
            if target in filed:
                raise SystemExit(f"{report.parent}: {target} is of {filed[target]} already; file one of them")
            filed[target] = report.parent
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n")
            print(target.relative_to(ROOT))


def table() -> str:
    """All filed summaries: a line each, and for every row that is red somewhere where it is."""
    found = {path.parent.name: json.loads(path.read_text())
             for path in sorted((ROOT / "reports").glob("*/*/summary.json"))}
    lines = [f"| implementation | version | Kubernetes | {' | '.join(COUNTED.values())} |",
             "|---|---|---|" + "---|" * len(COUNTED)]
    for name, one in found.items():
        counts = " | ".join(str(one["counts"].get(verdict, 0)) for verdict in COUNTED)
        lines.append(f"| {name} | {one['implementation']['version']} | {one['kubernetes']} | {counts} |")
    red: dict[str, list[str]] = {}
    for name, one in found.items():
        for row, verdict in one["rows"].items():
            if verdict == "fail":
                red.setdefault(row, []).append(name)
    if red:
        lines += ["", "| row | red on |", "|---|---|"]
        lines += [f"| {row} | {', '.join(red[row])} |" for row in sorted(red)]
    return "\n".join(lines + failovers(found))


def failovers(found: dict[str, Summary]) -> list[str]:
    """Lines of a table: how long nobody answered for a load balancer's address, by what befell its node."""
    heads = " | ".join(one.replace("_", " ") for one in LOST)
    lines = ["", f"| one loss of the announcing node, by | {heads} |", "|---|---|---|---|"]
    for name, one in found.items():
        seen = one.get("outages", {}).get("LB-L2-03", {})
        told = [seen.get(f"cold_client_after_{way}_s") for way in LOST]
        if any(told):
            lines.append(f"| {name} | {' | '.join('–' if one is None else f'{one:.2f} s' for one in told)} |")
    return lines if len(lines) > 3 else []


def with_table(readme: str) -> str:
    """The README with the table as it is now between its two marks; ValueError where it has none."""
    before, found, rest = readme.partition(BEGIN)
    _, ended, after = rest.partition(END)
    if not found or not ended:
        raise ValueError(f"README.md has no place for the table: {BEGIN} and {END} are wanted")
    return f"{before}{BEGIN}\n{table()}\n{END}{after}"


def main() -> int:
    """Do what is asked; exit status 1 when a certificate cannot be filed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("file", "table"))
    parser.add_argument("folders", nargs="*", type=Path, help="folders that hold certificates")
    parser.add_argument("--write", action="store_true", help="put the table into the README")
    options = parser.parse_args()
    readme = ROOT / "README.md"
    try:
        if options.what == "file":
            file(options.folders)
        else:
            print(table())
        if options.write:
            readme.write_text(with_table(readme.read_text()))
    except (OSError, ValueError, KeyError) as error:
        print(f"not filed: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
