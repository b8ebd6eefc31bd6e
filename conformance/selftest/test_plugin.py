"""The pytest plugin in an inner pytest, with the engine's cluster replaced by one that needs no kernel."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest_plugins = ["pytester"]

CONFTEST = """
    import pytest
    from conformance import background, session
    from conformance.requirements import Level
    from conformance.selftest.fakes import FakeCluster, made
    from conformance.verdict import Ruling, Verdict
    from contextlib import asynccontextmanager
    import asyncio

    async def checks(lab):
        pass

    FAKES = [made(checks, f"FAKE-9{number}") for number in range(1, 6)]
    WORDS = dict(zip((one.id for one in FAKES), ("pass", "fail", "unsupported", "unknown", "pass")))
    started = []

    def choose(options):
        return [one for one in FAKES if not options.requirement or one.id in options.requirement]

    @asynccontextmanager
    async def standing(plan):
        started.append([one.id for one in plan.selected])
        print("STARTED", started)
        if plan.options.cluster == "fake://down":
            raise session.RunError("fake://down: nobody is there", log=["last words"])
        yield FakeCluster()
        print("CLOSED")

    async def judged(cluster, plan, *, ended):
        for one in plan.selected:
            if one.id == "FAKE-95" and plan.options.profile == "smoke":
                await asyncio.Event().wait()
            ended(Ruling(one.id, Verdict(WORDS[one.id]), "" if WORDS[one.id] == "pass" else "because"))
        return plan.folder

    session.chosen_requirements = choose
    background.standing, background.judged = standing, judged
    background.load = lambda path: type("R", (), {"overall": "fake"})
    background.write = lambda report, folder: None
"""


@pytest.fixture
def inner(pytester: Any, monkeypatch: Any) -> Any:
    """An inner pytest with the plugin, in a project of somebody else's."""
    pytester.makeini("[pytest]\nasyncio_default_fixture_loop_scope = function\n")
    pytester.makepyfile(early=CONFTEST)

    def run(*arguments: Any) -> Any:
        return pytester.runpytest_subprocess(
            "-p", "early", "-p", "conformance.plugin", "-p", "no:service_conformance", "-p",
            "no:cacheprovider", *arguments, timeout=30)

    for folder in (pytester.path, Path(__file__).parents[2]):
        monkeypatch.setenv("PYTHONPATH", str(folder), prepend=":")
    return run


def test_without_a_cluster_nothing_is_added(inner: Any, pytester: Any) -> None:
    pytester.makepyfile(test_own="def test_own(): pass")
    inner().assert_outcomes(passed=1)


def test_each_requirement_is_an_item_beside_the_users_own(inner: Any, pytester: Any) -> None:
    pytester.makepyfile(test_own="def test_own(cluster): assert cluster.url == 'fake://'")
    ran = inner("--cluster", "fake://x", "-v", "-s")
    ran.assert_outcomes(passed=3, failed=2, skipped=1)
    ran.stdout.fnmatch_lines(["*service-conformance::FAKE-91*PASSED*", "*unknown: FAKE-94 It MUST be seen.*"])
    ran.stdout.fnmatch_lines(["*service-conformance: fake; evidence and reports are in *"])
    assert ran.stdout.str().count("STARTED") == 1
    assert "CLOSED" in ran.stdout.str()


def test_only_what_is_selected_reaches_the_engine(inner: Any) -> None:
    ran = inner("--cluster", "fake://x", "-k", "FAKE-91 or FAKE-95", "-s")
    ran.assert_outcomes(passed=2, deselected=3)
    assert "STARTED [['FAKE-91', 'FAKE-95']]" in ran.stdout.str()


def test_marks_select_by_area_and_level(inner: Any) -> None:
    assert inner("--cluster", "fake://x", "-m", "impl").ret == 5
    inner("--cluster", "fake://x", "-m", "fake and core", "--strict-markers").assert_outcomes(
        passed=2, failed=2, skipped=1)


def test_requirement_names_one(inner: Any) -> None:
    inner("--cluster", "fake://x", "--requirement", "FAKE-91").assert_outcomes(passed=1)


def test_the_first_failure_cancels_the_rest(inner: Any) -> None:
    ran = inner("--cluster", "fake://x", "-x", "--profile", "smoke")
    ran.assert_outcomes(passed=1, failed=1)


def test_a_cluster_that_is_down_ends_the_session_with_status_3(inner: Any) -> None:
    ran = inner("--cluster", "fake://down")
    assert ran.ret == 3
    ran.stdout.fnmatch_lines(["*fake://down: nobody is there*", "*last words*"])


def test_a_wrong_option_is_one_sentence(inner: Any) -> None:
    ran = inner("--cluster", "fake://x", "--slower", "x")
    assert ran.ret == 4
    ran.stderr.fnmatch_lines(["*slower is a number, not 'x'*"])


def test_collecting_only_starts_nothing(inner: Any) -> None:
    ran = inner("--cluster", "fake://x", "--collect-only", "-q", "-s")
    ran.stdout.fnmatch_lines(["*service-conformance::FAKE-91*"])
    assert "STARTED" not in ran.stdout.str()


def test_xdist_is_refused_with_a_sentence(inner: Any, pytester: Any) -> None:
    pytester.makepyfile(fakexdist="""
        def pytest_addoption(parser):
            parser.addoption("-N", dest="numprocesses", type=int)
    """)
    ran = inner("-p", "fakexdist", "--cluster", "fake://x", "-N", "2")
    assert ran.ret == 4
    ran.stderr.fnmatch_lines(["*leave out -n (xdist)*"])


def test_a_package_of_the_users_that_hides_ours_is_refused_with_a_sentence(
    inner: Any, pytester: Any,
) -> None:
    hidden = pytester.mkpydir("clusters")
    (hidden / "base.py").write_text("")
    ran = pytester.runpytest_subprocess("-p", "conformance.plugin", "-p", "no:service_conformance",
                                        "--cluster", "fake://x", timeout=30)
    assert ran.ret == 4
    ran.stderr.fnmatch_lines(["*needs its own package clusters*comes first*"])
