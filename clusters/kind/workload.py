"""A program in a container on kind's network, by its control port."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import aiohttp

from clusters.base import ClusterError


class ContainerWorkload:
    """A control port of a container on kind's network, reached by its address there."""

    def __init__(self, name: str, place: str, address: str, port: int) -> None:
        self.name, self.place = name, place
        self._address, self._port = address, port
        self._base = f"http://{f'[{address}]' if ':' in address else address}:{port}"

    async def request(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str] | None = None,
        timeout: float,
    ) -> tuple[int, bytes]:
        """Send one HTTP request without a body; gives status and body. ClusterError: no answer."""
        try:
            async with (
                aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=timeout)) as session,
                session.request(method, self._base + path, headers=dict(headers or {})) as answer,
            ):
                return answer.status, await answer.read()
        except (aiohttp.ClientError, TimeoutError, OSError) as problem:
            raise ClusterError(f"{self.name} at {self._base}: {problem or 'no answer'}") from problem

    async def listens(self) -> bool:
        """True once somebody accepts connections there."""
        try:
            _, writer = await asyncio.open_connection(self._address, self._port)
        except OSError:
            return False
        writer.close()
        return True
