"""The announcer in real network namespaces: what a client loses by each fault, probed every 5 ms.

Each test raises three nodes, a bridge and a client of its own in namespaces that vanish with it;
``scenarios`` is the program that runs there. A probe without a fault comes first: it must lose nothing, or
the machine is too busy to judge.
"""

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Any

import pytest

pytestmark = [pytest.mark.kernel, pytest.mark.slow]  # the faults take their time

INSIDE = ("unshare", "--user", "--map-root-user", "--net", "--mount", "--fork", "--kill-child", "--")


ALONE = "lossy"  # keeps both processors busy, so nothing else may be measured beside it


def run(scenario: str) -> dict[str, Any]:
    """Carry out one scenario in namespaces of its own."""
    done = subprocess.run(
        (*INSIDE, sys.executable, "-m", "implementation.tests.loadbalancer.scenarios", scenario),
        capture_output=True, text=True, timeout=60, check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    assert found.pop("control", []) == [], "lost without any fault"
    return found


class Results:
    """What the scenarios gave; those that were selected run two at a time, from the first question on."""

    def __init__(self, scenarios: list[str]) -> None:
        self._pool = ThreadPoolExecutor(max_workers=2)
        self._runs = {name: self._pool.submit(run, name) for name in scenarios if name != ALONE}

    def __getitem__(self, scenario: str) -> dict[str, Any]:
        if scenario == ALONE:
            wait(self._runs.values())
            return run(scenario)
        return self._runs[scenario].result()


@pytest.fixture(scope="module")
def results(request: pytest.FixtureRequest) -> Results:
    """The results of the scenarios whose tests were selected."""
    mine = [item for item in request.session.items if item.path == request.path]
    return Results([item.callspec.params["found"] for item in mine if isinstance(item, pytest.Function)])


@pytest.fixture
def found(request: pytest.FixtureRequest, results: Results) -> dict[str, Any]:
    """What the test's scenario gave."""
    return results[request.param]


def after(scenario: str) -> pytest.MarkDecorator:
    """Marks a test as looking at the result of this scenario."""
    return pytest.mark.parametrize("found", [scenario], indirect=True)


@after("silent_cut")
def test_a_node_cut_off_silently_is_followed_each_time(found: dict[str, Any]) -> None:
    assert len(found["outages"]) == 5
    assert all(was != now for was, now in found["moves"])
    assert max(found["outages"]) <= 0.6
    assert min(found["outages"]) >= 0.1  # less would mean that the cut did not cut


@after("cable_pull")
def test_a_pulled_cable_is_followed_and_nobody_fights_when_it_is_back(found: dict[str, Any]) -> None:
    assert max(found["outages"]) <= 0.6
    assert found["owners"] == 1


@after("killed")
def test_a_killed_speaker_costs_a_warm_client_nothing_and_is_followed(found: dict[str, Any]) -> None:
    assert found["outages"] == []
    assert 0.8 <= found["taken"] <= 1.6


@after("restarted")
def test_a_killed_speaker_that_comes_back_costs_nothing(found: dict[str, Any]) -> None:
    assert found["outages"] == []


@after("stopped")
def test_a_stopped_speaker_costs_nothing_and_gives_way_when_it_goes_on(found: dict[str, Any]) -> None:
    assert found["outages"] == []
    assert found["moved"]
    assert found["dual"] <= 0.3


@after("clean_stop")
def test_a_clean_stop_loses_nothing(found: dict[str, Any]) -> None:
    assert found["outages"] == []
    assert found["owners"] not in ([], [found["was"]])


@after("fail_back")
def test_a_node_that_comes_back_takes_over_without_a_loss(found: dict[str, Any]) -> None:
    assert found["outages"] == []
    assert found["served_by"] == 2


@after("lossy")
def test_a_tenth_of_all_frames_lost_and_busy_processors_move_nothing(found: dict[str, Any]) -> None:
    assert found == {"changes": 0, "owners": 1}


@after("answers")
def test_one_node_answers_at_a_time_and_the_next_tells_by_request_and_reply(found: dict[str, Any]) -> None:
    assert len(found["before"]) == len(found["after"]) == 1
    assert found["before"] != found["after"]
    assert found["kinds"] == [1, 2]
    assert found["told"] >= 8
    assert found["first_told"] <= 0.5


@after("speakers")
def test_whole_speakers_survive_a_kill_an_end_and_an_api_that_is_away(found: dict[str, Any]) -> None:
    assert found["elected"]
    assert found["killed"] == {"outages": [], "moved": True}
    assert found["ended"] == {"outages": [], "moved": True}
    assert max(found["without_api"]["outages"]) <= 0.6
