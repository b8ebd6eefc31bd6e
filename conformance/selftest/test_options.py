"""Options: flags before file before defaults; every mistake in one sentence."""

from __future__ import annotations

from typing import Any

import pytest

from conformance.options import OptionError, Options, gather


def test_flags_win_over_ini_and_ini_over_the_file(tmp_path: Any) -> None:
    file = tmp_path / "o.toml"
    file.write_text('cluster = "netns://"\nslower = 2\nagent-image = "a"\nrequirement = ["DNS-01"]\n')
    options = gather({"cluster": "", "slower": "3"}, {"agent_image": "b"}, file=str(file))
    assert options == Options(cluster="netns://", slower=3.0, agent_image="b", requirement=("DNS-01",))


def test_lists_may_be_written_with_commas() -> None:
    assert gather({"requirement": ["A-01,A-02", "B-01"]}).requirement == ("A-01", "A-02", "B-01")


@pytest.mark.parametrize(("told", "sentence"), [
    ({"slower": "x"}, "slower is a number, not 'x'"), ({"slower": 0.5}, "stretched"),
    ({"stricter": 2}, "harder to keep"),
    ({"jobs": 0}, "jobs is 0"),
    ({"jobs": "many"}, "whole number"), ({"requirement": 3}, "list of words"),
    ({"jobs": True}, "whole number"),
])
def test_a_wrong_value_is_named(told: Any, sentence: Any) -> None:
    with pytest.raises(OptionError, match=sentence):
        gather(told)


@pytest.mark.parametrize(("text", "sentence"), [
    ('clustr = "x"', "no option 'clustr'; did you mean cluster"), ("a b", "is no TOML"),
    ("zzz = 1", "known are"),
])
def test_a_wrong_file_is_named(tmp_path: Any, text: Any, sentence: Any) -> None:
    file = tmp_path / "o.toml"
    file.write_text(text)
    with pytest.raises(OptionError, match=sentence):
        gather(file=str(file))


def test_a_missing_file_is_named(tmp_path: Any) -> None:
    with pytest.raises(OptionError, match="name a TOML file"):
        gather(file=str(tmp_path / "none.toml"))


def test_only_what_was_changed_is_printed() -> None:
    assert Options().line() == "all defaults"
    assert Options(cluster="netns://", area=("DNS", "API")).line() == "cluster=netns:// area=DNS,API"
    assert Options().told()["requirement"] == []
