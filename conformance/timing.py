"""Every duration, each marked as a rule or as patience; and the two ways to wait: settles, then holds.

A *rule* is part of what is judged and is never scaled; *patience* only says when the suite gives up on
something of its own and may be scaled with ``--slower``. Nothing here sleeps: waiting is probing, on an
open-loop schedule.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Protocol

from conformance.evidence import Outcome
from conformance.expectations import Expectation
from conformance.probes import Probe
from conformance.vantage import Vantage


@dataclass(frozen=True)
class Duration:
    """Seconds, and whether a verdict depends on them."""

    seconds: float
    rule: bool
    says: str  # where a rule comes from, or what patience is spent on


@dataclass(frozen=True)
class Timing:
    """All durations of a run."""

    serves: Duration = Duration(
        30.0, True, "upstream's endpoint lag: a Service answers within 30 s of its endpoints being ready")
    refuses: Duration = Duration(
        30.0, True, "upstream: connections to a Service without endpoints are refused within 30 s")
    balanced: Duration = Duration(
        30.0, True, "a bare-metal load balancer gives an address in seconds; upstream waits 20 min")
    freed: Duration = Duration(
        60.0, True, "MetalLB's own tests: a waiting Service has a freed address within a minute")
    joins: Duration = Duration(
        30.0, True, "upstream's endpoint lag: a new endpoint gets traffic within 30 s of being ready")
    listed: Duration = Duration(
        10.0, True, "upstream's dual-stack tests: slices of both families within 10 s")
    attempt: Duration = Duration(2.0, True, "an attempt without an answer for 2 s has failed")
    pods: Duration = Duration(60.0, False, "for pods of the suite to become ready")
    objects: Duration = Duration(30.0, False, "for the API server to show what a controller makes")
    body: Duration = Duration(180.0, False, "for one requirement in all")
    request: Duration = Duration(20.0, False, "for one answer of the API server")
    cleanup: Duration = Duration(30.0, False, "for removing what the run made")

    def slower(self, factor: float) -> Timing:
        """The same rules, and patience times ``factor``; raises ValueError when it is below 1."""
        if factor < 1:
            raise ValueError(f"--slower {factor:g}: patience can only be stretched; give 1 or more")
        changed = {
            field.name: replace(value, seconds=value.seconds * factor)
            for field in fields(self)
            if not (value := getattr(self, field.name)).rule
        }
        return replace(self, **changed)


    def stricter(self, factor: float) -> Timing:
        """The same, with ``factor`` times as long for what must settle; a pass is a pass of the rule itself.

        Raises ValueError when it is above 1: a rule is never loosened.
        """
        if not 0 < factor <= 1:
            said = "a rule can only be made harder; give 0.2, or 1 at most"
            raise ValueError(f"--stricter {factor:g}: {said}")
        if factor == 1:
            return self
        return replace(self, **{
            name: replace(rule, seconds=rule.seconds * factor, says=f"{rule.says}, times {factor:g}")
            for name in SETTLING if (rule := getattr(self, name))
        })


SETTLING = ("serves", "refuses", "balanced", "freed", "joins", "listed")


@dataclass(frozen=True)
class Aim:
    """One vantage and where it aims: a series has one or more, and all of them must be right."""

    vantage: Vantage
    probe: Probe

    @property
    def datagrams(self) -> bool:
        """Whether it sends UDP."""
        return self.probe.transport == "udp"

    def sending(self, count: int) -> Aim:
        """The same with ``count`` attempts."""
        return replace(self, probe=replace(self.probe, count=count))


RATION = 15  # refusals asked for where ICMP errors are rationed


def rationed(aims: Sequence[Aim], pause: float) -> list[Aim]:
    """The same with at most ``RATION`` attempts, ``pause`` seconds between any two of a vantage.

    One source port's are at least a deadline apart, as a late one would have the others catch up at once.
    """
    asking = Counter(aim.vantage.name for aim in aims)

    def slowly(aim: Aim) -> Aim:
        least = aim.probe.timeout if aim.probe.source_port else 0.0
        interval = max(pause * asking[aim.vantage.name], least)
        return replace(aim, probe=replace(aim.probe, interval=interval, count=min(aim.probe.count, RATION)))

    return [slowly(aim) for aim in aims]


class Log(Protocol):
    """Where attempts and expectations are written: the engine's Lab."""

    def now(self) -> float:
        """Seconds since the run began."""
        ...

    def probed(self, series: str, aim: Aim, outcomes: Sequence[Outcome]) -> None:
        """Record attempts."""
        ...

    def expect(self, kind: str, series: str, params: dict[str, object], says: str) -> None:
        """Record what must be seen in the series."""
        ...


BURST, PAUSE = 5, 0.02  # attempts of one command while waiting, and the seconds between them at first
SLOWER = 50  # later a fiftieth of the time waited so far, so that what comes late is still seen within 2 %
STREAK = 10  # right outcomes in a row to count as settled


async def settles(
    log: Log, series: str, aims: Sequence[Aim], acceptable: Expectation, within: Duration, says: str,
    *, since: float | None = None,
) -> bool:
    """Probe from every vantage until each has seen ten acceptable outcomes in a row, or ``within`` is over.

    The bound counts from ``since``, else from now; at least one burst is sent from each vantage. The verdict
    is the evidence's (kind ``settles``), one series a vantage; True when all have settled, so a body need
    not go on in vain. Raises VantageError.
    """
    began = log.now() if since is None else since

    async def one(aim: Aim) -> bool:
        name, streak, asked = f"{series}, {origin(aim)}", 0, False
        # A streak under way when the bound is over goes on until it is whole or broken: two right attempts
        # at the very end would else look settled.
        while streak < STREAK and (streak or not asked or log.now() - began <= within.seconds):
            asked, slow = True, max(PAUSE, aim.probe.interval or 0.0, (log.now() - began) / SLOWER)
            pause = aim.probe.interval if aim.probe.source_port else slow  # one port: one at a time
            seen = await aim.vantage.probe(replace(aim.probe, count=BURST, interval=pause))
            log.probed(name, aim, seen.outcomes)
            for outcome in seen.outcomes:
                streak = streak + 1 if acceptable.accepts(outcome) else 0
        told = began - aim.vantage.uncertainty  # by that place's own clock
        params = {"acceptable": acceptable.to_json(), "within": within.seconds, "since": told,
                  "streak": STREAK}
        log.expect("settles", name, params, says)
        return streak >= STREAK

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one(aim)) for aim in aims]
    return all(task.result() for task in tasks)


async def holds(
    log: Log, series: str, aims: Sequence[Aim], acceptable: Expectation, says: str,
) -> list[Outcome]:
    """Probe from every vantage, as often as its probe says, with no violation allowed (kind ``every``).

    Gives every outcome. Raises VantageError.
    """

    async def one(aim: Aim) -> Sequence[Outcome]:
        seen = await aim.vantage.probe(aim.probe)
        log.probed(series, aim, seen.outcomes)
        return seen.outcomes

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one(aim)) for aim in aims]
    log.expect("every", series, {"acceptable": acceptable.to_json()}, says)
    return [outcome for task in tasks for outcome in task.result()]


def origin(aim: Aim) -> str:
    """From where to where, for the name of a series: ``pod on node1 to 10.43.0.7:80/udp``."""
    host, port = aim.probe.target
    shown = f"[{host}]" if ":" in host else host
    return f"{aim.vantage.name} to {shown}:{port}/{aim.probe.transport}"
