"""A bar that is missed is told with figures, and one that nobody could judge is told too."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "bench"))

import bars


def row(metric: str, size: int, ours: float, peer: float | None = None, unit: str = "s") -> dict[str, Any]:
    """A row as ci/bench/proxy writes it."""
    against, ratio = (bars.NFTABLES, peer / ours) if peer else (None, None)
    told = {"metric": metric, "size": size, "against": against, "unit": unit}
    return told | {"ours": ours, "peer": peer, "ratio": ratio}


def test_a_bar_is_of_the_figure_itself_and_of_its_ratio_to_the_peer() -> None:
    assert bars.missed([row("cold_start", 10_000, 1.0, 11.0)], 1) == []
    assert bars.missed([row("cold_start", 10_000, 1.0, 9.0)], 1) == [
        "cold_start at 10000: 9.0 times better than kube-proxy nftables, 10 expected"
    ]
    assert bars.missed([row("cold_start", 10_000, 1.5)], 1) == ["cold_start at 10000: 1.5 s, 1.2 expected"]
    assert bars.missed([row("cold_start", 10_000, 1.5)], bars.ROOTLESS) == []


def test_memory_is_not_widened_where_time_is() -> None:
    found = [row("rss", 10_000, 140, unit="MB")]
    assert bars.missed(found, bars.ROOTLESS) == ["rss at 10000: 140 MB, 130 expected"]


def test_a_first_packet_is_held_against_the_peer_and_against_few_services() -> None:
    few, many = row("first_packet_last", 100, 20, unit="us"), row("first_packet_last", 44_000, 25, unit="us")
    assert bars.missed([few, many], 1) == [
        "first_packet_last: 25 us at 44,000 Services, 20 at 100, at most 1.2 times expected"
    ]
    assert bars.missed([row("first_packet_random", 1000, 30, 26, "us")], 1) == [
        "first_packet_random at 1000: 30 us, 1.1 x 26 expected"
    ]


def test_what_could_not_be_judged_is_named() -> None:
    alone = bars.unjudged([row("cold_start", 10_000, 1.0)])
    assert "cold_start at 10000 beside kube-proxy nftables" in alone
    assert "listed at 44000" in alone
    assert "first packets at 44,000 beside 100" in alone
    whole = [row(metric, size, 1.0, 2.0) for metric, size in bars.BARS] + [row("listed", 100, 1.0)]
    assert bars.unjudged(whole) == []


def test_without_rights_each_time_is_at_most_twice_that_of_root() -> None:
    assert bars.slower([row("listed", 10_000, 0.5)], [row("listed", 10_000, 0.3)]) == []
    assert bars.slower([row("listed", 10_000, 0.7)], [row("listed", 10_000, 0.3)]) == [
        "listed at 10000: 0.7 s, 0.3 as root, at most 2 times expected"
    ]
