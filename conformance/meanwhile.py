"""Attempts that go on while something else is changed, none of which may be lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace

from conformance.expectations import Expectation
from conformance.lab import Lab
from conformance.timing import Aim

COUNT, INTERVAL = 20, 0.01  # attempts of one command, and the seconds between them


@asynccontextmanager
async def meanwhile(
    lab: Lab, series: str, aims: Sequence[Aim], acceptable: Expectation, says: str,
) -> AsyncIterator[None]:
    """Probe from every aim, 100 times a second, until the block ends; all must be ``acceptable``.

    At least one command of 20 attempts is sent from each. Raises VantageError.
    """
    over = asyncio.Event()

    async def one(aim: Aim) -> None:
        paced = replace(aim.probe, count=COUNT, interval=INTERVAL)
        while True:
            last = over.is_set()
            lab.probed(series, aim, (await aim.vantage.probe(paced)).outcomes)
            if last:
                return

    async with asyncio.TaskGroup() as group:
        for aim in aims:
            group.create_task(one(aim))
        try:
            yield
        finally:
            over.set()
    lab.expect("every", series, {"acceptable": acceptable.to_json()}, says)
