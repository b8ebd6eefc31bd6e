"""Docker's command line, as far as a kind cluster needs it: containers by name, commands in them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Any

from clusters import commands
from clusters.base import ClusterError

_PATIENCE = 60.0  # seconds for a command of Docker that waits for nothing


async def docker(*words: str, timeout: float = _PATIENCE, stdin: str | None = None) -> str:
    """The output of ``docker WORDS``; ClusterError in Docker's own words when it fails."""
    running = asyncio.ensure_future(
        asyncio.to_thread(commands.run, ["docker", *words], timeout=timeout, stdin=stdin)
    )
    try:
        done = await asyncio.shield(running)
    except asyncio.CancelledError:
        await running  # the command goes on in its thread: what undoes it must come after it
        raise
    if done.status == 127:
        raise ClusterError("docker is not on PATH; kind runs its nodes by it: install it, or use netns://")
    if done.status != 0:
        raise ClusterError(f"docker {' '.join(words[:3])}: {done.error.strip() or f'status {done.status}'}")
    return done.output


async def inside(container: str, argv: Sequence[str], *, timeout: float) -> tuple[int, str, str]:
    """Run ``argv`` in a container; gives status, output, error output."""
    done = await asyncio.to_thread(commands.run, ["docker", "exec", container, *argv], timeout=timeout)
    return done.status, done.output, done.error


async def checked(container: str, *argv: str, timeout: float = 20.0) -> str:
    """The output of ``argv`` in a container; ClusterError with what it said when it fails."""
    status, output, error = await inside(container, argv, timeout=timeout)
    if status != 0:
        raise ClusterError(
            f"{container}: {' '.join(argv)}: status {status}: {(error or output).strip()[-500:]}"
        )
    return output


async def inspect(container: str) -> dict[str, Any]:
    """What Docker knows of a container; ClusterError when there is none."""
    found: list[dict[str, Any]] = json.loads(await docker("inspect", container))
    return found[0]


async def addresses(container: str, network: str) -> tuple[str, ...]:
    """Its addresses on a network, IPv4 first."""
    held = (await inspect(container))["NetworkSettings"]["Networks"].get(network) or {}
    return tuple(one for one in (held.get("IPAddress"), held.get("GlobalIPv6Address")) if one)
