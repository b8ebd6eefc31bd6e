"""The pytest side: ``pytest --cluster URL`` adds one item for each requirement to whatever is collected.

The first item starts the engine on everything selected (``-m``, ``-k`` and ``--lf`` select first); each item
then waits for its own verdict. Everything heavy is imported only when a cluster is named.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import pytest

if TYPE_CHECKING:
    from conformance.background import Running
    from conformance.requirements import Requirement
    from conformance.verdict import Ruling

T = TypeVar("T")
NODE = "service-conformance"
_FLAGS = {
    "cluster": "URL of the cluster to judge, such as netns://?seed; without it this plugin does nothing",
    "implementation": "descriptor (name or TOML file) of what provides Services there",
    "profile": "a named set of requirements",
    "stricter": "cut the time in which something must settle to this part of it",
    "slower": "stretch patience, never a rule, this many times",
    "agent_image": "any image with Python 3.8 or newer",
    "nextcloud_image": "the NextCloud of the post's requirements, or a stand-in (nextcloud:latest)",
}
_RUNNING: pytest.StashKey[Running] = pytest.StashKey()
_OPTIONS = pytest.StashKey[Any]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the flags, and for each but --requirement an ini option ``conformance_<flag>``."""
    group = parser.getgroup(NODE, "judge what provides Kubernetes Services")
    for name, text in _FLAGS.items():
        group.addoption(f"--{name.replace('_', '-')}", dest=f"conformance_{name}", help=text)
        parser.addini(f"conformance_{name}", text)
    group.addoption("--requirement", action="append", dest="conformance_requirement", metavar="ID",
                    help="only these requirements, such as DNS-01 or SEED-*")


def pytest_configure(config: pytest.Config) -> None:
    """Read the options; refuse what cannot work with one sentence. Nothing happens without a cluster."""
    told = {name: config.getoption(f"conformance_{name}") for name in (*_FLAGS, "requirement")}
    ini = {name: config.getini(f"conformance_{name}") for name in _FLAGS}
    if not (told["cluster"] or ini["cluster"]):
        return
    _refuse_shadows()
    if getattr(config.option, "numprocesses", None) or hasattr(config, "workerinput"):
        raise pytest.UsageError(f"{NODE} runs its requirements at once in one engine; leave out -n (xdist)")
    from conformance.options import OptionError, gather
    from conformance.profiles import PROFILES, ProfileError
    from conformance.requirements import RequirementError
    from conformance.session import chosen_requirements

    try:
        options = gather(told, ini)
        chosen = chosen_requirements(options)
    except (OptionError, RequirementError, ProfileError) as problem:
        raise pytest.UsageError(f"{NODE}: {problem}") from problem
    for name in sorted({mark for one in chosen for mark in _marks(one)} | set(PROFILES)):
        config.addinivalue_line("markers", f"{name}: requirements of this area, level or profile ({NODE})")
    config.stash[_OPTIONS] = (options, chosen)


def pytest_report_header(config: pytest.Config) -> list[str]:
    """The options, so that a run can be repeated."""
    found = config.stash.get(_OPTIONS, None)
    return [f"{NODE}: {found[0].line()}"] if found else []


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(
    session: pytest.Session, config: pytest.Config, items: list[pytest.Item],
) -> None:
    """Add an item for each requirement; what selects items comes after this."""
    found = config.stash.get(_OPTIONS, None)
    if found:
        parent = Requirements.from_parent(session, name=NODE, nodeid=NODE)
        added = parent.collect_from(found[1])
        items.extend(added)
        # Without it pytest counts the deselected of these among the others, and tells fewer than none.
        config.hook.pytest_collectreport(report=pytest.CollectReport(NODE, "passed", None, [*added]))


@pytest.hookimpl(wrapper=True)
def pytest_runtestloop(session: pytest.Session) -> Generator[None, object, object]:
    """Have the engine ready; afterwards end it, early when the session was stopped (-x, Ctrl-C)."""
    found = session.config.stash.get(_OPTIONS, None)
    if found is None or session.config.option.collectonly:
        return (yield)
    chosen = [item.requirement for item in session.items if isinstance(item, RequirementItem)]
    from conformance.background import Running
    from conformance.session import RunError

    try:
        running = session.config.stash[_RUNNING] = Running(found[0], chosen)
    except RunError as problem:
        raise pytest.UsageError(f"{NODE}: {problem}") from problem
    try:
        return (yield)
    finally:
        running.finish()


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Say where evidence and reports are."""
    running = config.stash.get(_RUNNING, None)
    if running is not None and running.told:
        terminalreporter.write_line(f"{NODE}: {running.told}")


@pytest.fixture(scope="session")
def cluster(request: pytest.FixtureRequest) -> Any:
    """The cluster under test: ``url``, ``kubeconfig``, ``namespace``, and ``call(coroutine)`` for its powers.
    """
    running = request.config.stash.get(_RUNNING, None)
    if running is None:
        pytest.skip("no cluster: give --cluster URL")
    return _had(running.cluster)


@pytest.fixture(scope="session")
def kube(cluster: Any) -> Any:
    """An ``ApiClient`` of the ``kubernetes`` package for the cluster under test."""
    from kubernetes import config

    return config.new_client_from_config(str(cluster.kubeconfig))  # type: ignore[no-untyped-call]


class Requirements(pytest.Collector):
    """Where the requirements hang in the tree of nodes; no file is collected for them."""

    def collect(self) -> list[pytest.Item]:
        """Nothing by itself: the items are added once options are known."""
        return []

    def collect_from(self, chosen: Sequence[Requirement]) -> list[RequirementItem]:
        """One item for each requirement."""
        return [RequirementItem.from_parent(self, name=one.id, requirement=one) for one in chosen]


class Unmet(Exception):
    """The verdict is neither pass nor not applicable; holds its text."""


class RequirementItem(pytest.Item):
    """One requirement: waits for its verdict."""

    def __init__(self, *, requirement: Requirement, **rest: Any) -> None:
        super().__init__(**rest)
        self.requirement = requirement
        for mark in _marks(requirement):
            self.add_marker(mark)

    def runtest(self) -> None:
        """Wait for the verdict; fail, skip or pass as it says."""
        running = self.config.stash[_RUNNING]
        ruling = _had(lambda: running.wait(self.requirement.id))
        self.user_properties += [(name, value) for name, value in ruling.numbers.items()]
        if ruling.verdict in {"unsupported", "not-run"}:
            pytest.skip(ruling.reason)
        if ruling.verdict != "pass":
            raise Unmet(text_of(self.requirement, ruling))

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """The finding in its seven lines, without a traceback of this plugin."""
        unmet = isinstance(excinfo.value, Unmet)
        return str(excinfo.value) if unmet else super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Path, None, str]:
        """The sentence stands where a test's name would."""
        return self.path, None, f"{self.requirement.id}: {self.requirement.sentence}"


def _had(what: Callable[[], T]) -> T:
    """What the engine gives; the session ends with status 3 when nothing can be judged."""
    from conformance.session import RunError

    try:
        return what()
    except RunError as problem:
        log = "".join(f"\n  | {line}" for line in problem.log)
        pytest.exit(f"{NODE}: {problem}{log}", returncode=3)


def text_of(requirement: Requirement, ruling: Ruling) -> str:
    """Why a requirement is not met: the seven lines of each finding, or the reason."""
    if not ruling.findings:
        return f"{ruling.verdict}: {requirement.id} {requirement.sentence}\n{ruling.reason}"
    blocks = []
    for finding in ruling.findings:
        lines = [f"{name:12} {value}" for name, value in finding.lines()]
        blocks.append("\n".join([*lines, *(f"{'':12} {outcome}" for outcome in finding.last)]))
    return "\n\n".join(blocks)


def _marks(requirement: Requirement) -> list[str]:
    """Area, level and profiles of a requirement, as words for ``-m``."""
    from conformance.profiles import PROFILES

    profiles = [name for name, one in PROFILES.items() if one.holds(requirement)]
    return sorted({requirement.area.lower(), requirement.level.value, *profiles})


def _refuse_shadows() -> None:
    """A project's own package called ``clusters`` would be imported instead of ours: say so."""
    import clusters

    ours, found = Path(__file__).resolve().parent.parent, Path(str(clusters.__file__)).resolve().parent.parent
    if ours != found:
        raise pytest.UsageError(
            f"{NODE} needs its own package clusters, but {found / 'clusters'} comes first; run pytest from "
            "another folder, or with -p no:service_conformance to do without this plugin"
        )
