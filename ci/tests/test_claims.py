"""ci/claims.py and pyproject.toml: Python is measured, linted and typed, with an ending or without."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import claims


def test_a_command_without_an_ending_is_measured_too(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(claims, "ROOT", tmp_path)
    body = "def long() -> None:\n" + "    pass\n" * claims.FUNCTION_LINES
    (tmp_path / "command").write_text(f"#!/usr/bin/env python3\n{body}")
    (tmp_path / "shell").write_text("#!/bin/sh\n" + ": python\n" * (claims.FILE_LINES + 1))
    found = [path for path in sorted(tmp_path.iterdir()) if claims.is_python(path)]
    assert claims.too_large(found) == ["command:2 long has 61 lines; at most 60"]


def test_every_command_without_an_ending_is_linted_and_typed() -> None:
    listing = subprocess.run(["git", "ls-files"], capture_output=True, text=True, cwd=claims.ROOT, check=True)
    names = [name for name in listing.stdout.split() if not Path(name).suffix]
    commands = {name for name in names if claims.is_python(claims.ROOT / name)}
    tools = tomllib.loads((claims.ROOT / "pyproject.toml").read_text())["tool"]
    assert commands == set(tools["ruff"]["extend-include"])
    assert commands == {name for name in tools["mypy"]["files"] if "/" in name}
