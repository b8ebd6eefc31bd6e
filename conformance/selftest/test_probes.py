"""A probe command, and an agent's answer as outcomes."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from conformance.probes import Probe, read

ROW = {"at": 0.5, "ms": 1.2345, "outcome": "answered", "by": "x", "peer": "a:1", "source": "a:1",
       "detail": ""}


def test_times_are_mapped_onto_the_runs_clock() -> None:
    seen = read({"began": 100.0, "attempts": [ROW]}, offset=-98.0)
    assert seen.outcomes[0].at == pytest.approx(2.5)
    assert seen.outcomes[0].by == "x"


def test_data_is_brought_home_one_for_each_outcome() -> None:
    row = {**ROW, "data": base64.b64encode(b"hi").decode()}
    assert read({"began": 0, "attempts": [row, ROW]}, 0).data == (b"hi", b"")


@pytest.mark.parametrize("answer", [{}, {"began": 0}, {"began": 0, "attempts": [{}]},
                                    {"began": 0, "attempts": 3},
                                    {"began": None, "attempts": []}, {"began": "x", "attempts": []}])
def test_anything_else_is_refused(answer: Any) -> None:
    with pytest.raises(ValueError, match=r"answer|float"):
        read(answer, 0)


@pytest.mark.parametrize(("probe", "word"), [
    (Probe("udp", ("::1", 1)), "udp"), (Probe("tcp", ("::1", 1)), "tcp"), (Probe("http", ("::1", 1)), "tcp"),
    (Probe("exchange", ("::1", 1), protocol="udp"), "udp"), (Probe("exchange", ("::1", 1)), "tcp"),
])
def test_the_transport_follows_from_the_kind(probe: Any, word: Any) -> None:
    assert probe.transport == word
    assert probe.command()["protocol"] == word


def test_patience_covers_the_slowest_possible_end() -> None:
    assert Probe("tcp", ("::1", 1), count=64, concurrency=32, timeout=2).patience >= 4
    assert Probe("tcp", ("::1", 1), count=100, interval=0.1, timeout=2).patience >= 12
