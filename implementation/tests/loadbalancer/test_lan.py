"""The announcer in real network namespaces: what a client loses by each fault, probed every 5 ms.

Each test raises three nodes, a bridge and a client of its own in namespaces that vanish with it;
``scenarios`` is the program that runs there. A probe without a fault comes first: it must lose nothing, or
the machine is too busy to judge.
"""

import json
import subprocess
import sys
from typing import Any

import pytest

pytestmark = [pytest.mark.kernel, pytest.mark.slow]  # the faults take their time

INSIDE = ("unshare", "--user", "--map-root-user", "--net", "--mount", "--fork", "--kill-child", "--")


def run(scenario: str) -> dict[str, Any]:
    done = subprocess.run(
        (*INSIDE, sys.executable, "-m", "implementation.tests.loadbalancer.scenarios", scenario),
        capture_output=True,
        text=True,
        timeout=40,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    assert found.pop("control", []) == [], "lost without any fault"
    return found


def test_a_node_cut_off_silently_is_followed_each_time() -> None:
    found = run("silent_cut")
    assert len(found["outages"]) == 5
    assert all(was != now for was, now in found["moves"])
    assert max(found["outages"]) <= 0.6
    assert min(found["outages"]) >= 0.1  # less would mean that the cut did not cut


def test_a_pulled_cable_is_followed_and_nobody_fights_when_it_is_back() -> None:
    found = run("cable_pull")
    assert max(found["outages"]) <= 0.6
    assert found["owners"] == 1


def test_a_killed_speaker_costs_a_warm_client_nothing_and_is_followed() -> None:
    found = run("killed")
    assert found["outages"] == []
    assert 0.8 <= found["taken"] <= 1.6


def test_a_killed_speaker_that_comes_back_costs_nothing() -> None:
    assert run("restarted")["outages"] == []


def test_a_stopped_speaker_costs_nothing_and_gives_way_when_it_goes_on() -> None:
    found = run("stopped")
    assert found["outages"] == []
    assert found["moved"]
    assert found["dual"] <= 0.3


def test_a_clean_stop_loses_nothing() -> None:
    found = run("clean_stop")
    assert found["outages"] == []
    assert found["owners"] not in ([], [found["was"]])


def test_a_node_that_comes_back_takes_over_without_a_loss() -> None:
    found = run("fail_back")
    assert found["outages"] == []
    assert found["served_by"] == 2


def test_a_tenth_of_all_frames_lost_and_busy_processors_move_nothing() -> None:
    assert run("lossy") == {"changes": 0, "owners": 1}


def test_one_node_answers_at_a_time_and_the_next_tells_by_request_and_reply() -> None:
    found = run("answers")
    assert len(found["before"]) == len(found["after"]) == 1
    assert found["before"] != found["after"]
    assert found["kinds"] == [1, 2]
    assert found["told"] >= 8
    assert found["first_told"] <= 0.5


def test_whole_speakers_announce_as_elected_and_survive_kill_end_and_an_api_that_is_away() -> None:
    found = run("speakers")
    assert found["elected"]
    assert found["killed"] == {"outages": [], "moved": True}
    assert found["ended"] == {"outages": [], "moved": True}
    assert max(found["without_api"]["outages"]) <= 0.6
