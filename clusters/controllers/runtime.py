"""What all controllers run on: a queue of keys, each worked on alone, and again after errors."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Awaitable, Callable, Hashable

from clusters.client import ApiError

_FIRST_WAIT, _LONGEST_WAIT = 0.01, 2.0  # seconds before a failed key is worked on again


def say(sentence: str) -> None:
    """Write one sentence to standard error, where this process keeps its log."""
    sys.stderr.write(sentence + "\n")
    sys.stderr.flush()


class Worker:
    """Runs ``reconcile(key)`` for every key added: never twice at once for one key, again when it failed.

    Adding a key that waits changes nothing; adding one being worked on runs it once more afterwards. So
    ``reconcile`` must decide from the present state, never from the event that brought it.
    """

    def __init__(self, name: str, reconcile: Callable[..., Awaitable[float | None]]) -> None:
        self.name = name
        self._reconcile = reconcile  # gives seconds until the key must be looked at again, or None
        self._running: dict[Hashable, asyncio.Task[None]] = {}
        self._again: set[Hashable] = set()
        self._timers: dict[Hashable, asyncio.TimerHandle] = {}
        self._failures: dict[Hashable, int] = {}
        self._said: dict[Hashable, str] = {}

    def add(self, key: Hashable) -> None:
        """Work on ``key`` as soon as possible."""
        if timer := self._timers.pop(key, None):
            timer.cancel()
        if key in self._running:
            self._again.add(key)
            return
        self._running[key] = asyncio.get_running_loop().create_task(self._work(key))

    async def close(self) -> None:
        """Stop: nothing is worked on afterwards."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        tasks = list(self._running.values())
        for task in tasks:
            task.cancel()
        for task in tasks:
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def _work(self, key: Hashable) -> None:
        later: float | None = None
        try:
            later = await self._reconcile(key)
            self._failures.pop(key, None)
            self._said.pop(key, None)
        except ApiError as error:
            later = self._failed(key, error)
        except Exception as error:  # one object that cannot be understood must not stop the others
            later = self._failed(key, error)
        finally:
            self._running.pop(key, None)
        if key in self._again:
            self._again.discard(key)
            self.add(key)
        elif later is not None and key not in self._timers:
            loop = asyncio.get_running_loop()
            self._timers[key] = loop.call_later(later, self._ring, key)

    def _ring(self, key: Hashable) -> None:
        self._timers.pop(key, None)
        self.add(key)

    def _failed(self, key: Hashable, error: Exception) -> float:
        count = self._failures[key] = self._failures.get(key, 0) + 1
        sentence = f"{self.name} {_words(key)}: {error or type(error).__name__}"
        if not isinstance(error, ApiError):
            sentence = f"{self.name} {_words(key)}: {type(error).__name__}: {error}"
        # Conflicts, and writes into what is just going, are ordinary and right themselves at the next look.
        quiet = isinstance(error, ApiError) and count < 3
        if not quiet and self._said.get(key) != sentence:
            self._said[key] = sentence
            say(sentence)
        return float(min(_FIRST_WAIT * 2 ** min(count - 1, 20), _LONGEST_WAIT))


def _words(key: Hashable) -> str:
    return "/".join(str(part) for part in key if part) if isinstance(key, tuple) else str(key)
