"""Every option of a run in one frozen object: from flags, then a file, then the defaults; printed at the
start.

The file is TOML with the same names as the flags: ``cluster = "netns://?seed"``, ``requirement =
["DNS-01"]``.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from difflib import get_close_matches
from pathlib import Path
from typing import Any


class OptionError(Exception):
    """An option is wrong: which, what was expected, and what to do next."""


@dataclass(frozen=True)
class Options:
    """What a run was asked to do."""

    cluster: str = ""  # URL; empty: none was named
    implementation: str = ""  # name or file of a descriptor; empty: whatever is there
    profile: str = ""
    requirement: tuple[str, ...] = ()  # IDs, a trailing * for many
    area: tuple[str, ...] = ()
    level: tuple[str, ...] = ()
    out: str = "out"
    agent_image: str = "python:3"
    nextcloud_image: str = "nextcloud:latest"
    slower: float = 1.0  # patience times this
    stricter: float = 1.0  # how soon something must settle, times this
    jobs: int = 12  # requirements under way at once
    bin_dir: str = ""  # folder of programs that a cluster raised for the run looks in first

    def told(self) -> dict[str, Any]:
        """The options as the evidence's header holds them."""
        return {one.name: _plain(getattr(self, one.name)) for one in fields(self)}

    def line(self) -> str:
        """The options that differ from the defaults, in one line."""
        default = Options()
        changed = [
            f"{one.name}={_shown(getattr(self, one.name))}" for one in fields(self)
            if getattr(self, one.name) != getattr(default, one.name)
        ]
        return " ".join(changed) or "all defaults"


def gather(*sources: Mapping[str, Any], file: str = "") -> Options:
    """One object from ``sources``, the first that names an option wins, the file last; None and empty name
    nothing.

    Raises OptionError naming the option and the source's word for it.
    """
    told = _read(Path(file)) if file else {}
    found: dict[str, Any] = {}
    for one in fields(Options):
        for source in (*sources, told):
            value = source.get(one.name)
            if value is not None and value not in ("", [], ()):
                found[one.name] = _value(one.name, value, getattr(Options(), one.name))
                break
    options = Options(**found)
    if not 1 <= options.slower <= 100:
        raise OptionError(f"slower is {options.slower:g}; patience can be stretched 1 to 100 times")
    if not 0 < options.stricter <= 1:
        raise OptionError(f"stricter is {options.stricter:g}; more than 0 and at most 1, so that a rule only "
                          "becomes harder to keep")
    if not 1 <= options.jobs <= 100:
        raise OptionError(f"jobs is {options.jobs}; between 1 and 100 requirements can run at once")
    return options


def _read(path: Path) -> dict[str, Any]:
    """The options of a TOML file; every name must be known."""
    try:
        told = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as problem:
        raise OptionError(f"options file {path}: {problem.strerror}; name a TOML file") from problem
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as problem:
        raise OptionError(f"options file {path} is no TOML: {problem}") from problem
    known = [one.name for one in fields(Options)]
    found = {}
    for name, value in told.items():
        word = name.replace("-", "_")
        if word not in known:
            near = get_close_matches(word, known, n=1)
            meant = f"did you mean {near[0]}?" if near else f"known are {', '.join(known)}"
            raise OptionError(f"options file {path}: there is no option {name!r}; {meant}")
        found[word] = value
    return found


def _value(name: str, value: Any, default: Any) -> Any:
    """``value`` as the type of ``default``."""
    if isinstance(default, tuple):
        values = [value] if isinstance(value, str) else value
        if isinstance(values, list | tuple) and all(isinstance(one, str) for one in values):
            return tuple(part for one in values for part in one.replace(",", " ").split())
        raise OptionError(f"{name} is a list of words, not {value!r}")
    try:
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise ValueError(value)
        return type(default)(value)
    except ValueError as problem:
        wanted = {"int": "a whole number", "float": "a number", "str": "a word"}[type(default).__name__]
        raise OptionError(f"{name} is {wanted}, not {value!r}") from problem


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _shown(value: Any) -> str:
    return ",".join(value) if isinstance(value, tuple) else str(value)
