"""Checks that the tree keeps the sizes it promises, and that READMEs name only what exists."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FILE_LINES, FUNCTION_LINES, REQUIREMENT_LINES = 500, 60, 30


def is_python(path: Path) -> bool:
    """True for a Python file, which without an ending says so in its first line."""
    if path.suffix:
        return path.suffix == ".py"
    return re.match(rb"#!.*\bpython", path.read_bytes()) is not None


def functions(path: Path) -> list[tuple[str, int, int]]:
    """Name, first line and length in lines of each function in ``path``, docstring not counted."""
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            first = node.body[0]
            if ast.get_docstring(node) is not None:
                length -= (first.end_lineno or first.lineno) - first.lineno + 1
            found.append((node.name, node.lineno, length))
    return found


def too_large(paths: list[Path]) -> list[str]:
    """One sentence for each file or function above its bound."""
    wrong = []
    for path in paths:
        name, lines = path.relative_to(ROOT), len(path.read_text().splitlines())
        if lines > FILE_LINES:
            wrong.append(f"{name} has {lines} lines; at most {FILE_LINES}: split it by what it decides")
        bound = REQUIREMENT_LINES if "areas" in path.parts else FUNCTION_LINES
        wrong += [
            f"{name}:{line} {function} has {length} lines; at most {bound}"
            for function, line, length in functions(path) if length > bound
        ]
    return wrong


def subcommands() -> set[str]:
    """The subcommands that ``service-conformance --help`` lists."""
    done = subprocess.run(
        [sys.executable, "-m", "conformance.cli.main", "--help"],
        capture_output=True, text=True, cwd=ROOT, check=True,
    )
    return set(re.findall(r"[a-z]+", done.stdout))


def broken_mentions(readmes: list[Path]) -> list[str]:
    """One sentence for each file, folder or subcommand that a README names and that is not there."""
    wrong, known = [], subcommands()
    for readme in readmes:
        text, name = readme.read_text(), readme.relative_to(ROOT)
        for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", text):
            if not (readme.parent / target).exists():
                wrong.append(f"{name} links {target}, which does not exist")
        for mention in re.findall(r"\bci/[a-z][\w./-]*", text):
            if not (ROOT / mention.rstrip(".")).exists():
                wrong.append(f"{name} names {mention}, which does not exist")
        for word in re.findall(r"^\s*(?:\$ )?service-conformance ([a-z]+)", text, re.MULTILINE):
            if word not in known:
                wrong.append(f"{name} shows 'service-conformance {word}', which is no subcommand")
    return wrong


def main() -> int:
    """Print every broken promise; exit status 1 when there is one."""
    listing = subprocess.run(["git", "ls-files"], capture_output=True, text=True, cwd=ROOT, check=True)
    paths = [ROOT / name for name in listing.stdout.split() if (ROOT / name).exists()]
    wrong = too_large([path for path in paths if is_python(path)])
    wrong += broken_mentions([path for path in paths if path.name == "README.md"])
    for sentence in wrong:
        print(sentence)
    print(f"{len(paths)} files looked at, {len(wrong)} promises broken")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
