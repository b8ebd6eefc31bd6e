"""Which endpoint a new client gets: in turn, or where it was before; pure but for the order of the turns."""

from __future__ import annotations

import random
from collections import OrderedDict
from collections.abc import Collection

from implementation.state.desired import Endpoint

MOST_CLIENTS = 100_000  # of one Service port; above, those that were idle longest are forgotten


class Clients:
    """Where each client of a Service port was sent, while sessionAffinity is ClientIP. Times in seconds."""

    def __init__(self) -> None:
        self.seconds = 0
        self._kept = OrderedDict[str, tuple[Endpoint, float]]()  # the one that was idle longest comes first

    def __len__(self) -> int:
        return len(self._kept)

    def keep(self, client: str, endpoint: Endpoint, now: float) -> None:
        """``client`` was sent to ``endpoint``; its time begins anew."""
        if not self.seconds:
            return
        self._kept[client] = (endpoint, now)
        self._kept.move_to_end(client)
        self._tidy(now)

    def where(self, client: str, now: float) -> Endpoint | None:
        """Where ``client`` was sent less than ``seconds`` ago."""
        found = self._kept.get(client) if self.seconds else None
        return found[0] if found and now - found[1] < self.seconds else None

    def _tidy(self, now: float) -> None:
        while len(self._kept) > MOST_CLIENTS or now - next(iter(self._kept.values()))[1] >= self.seconds:
            self._kept.popitem(last=False)


class Turns:
    """The endpoints of one pool, one after another from a random start."""

    def __init__(self, clients: Clients, dice: random.Random | None = None) -> None:
        self._clients, self._dice = clients, dice or random.Random()
        self.endpoints: tuple[Endpoint, ...] = ()
        self._order: list[Endpoint] = []
        self._next = 0

    def replace(self, endpoints: tuple[Endpoint, ...]) -> None:
        """Use these from now on; the order is shuffled whenever they change, so that nodes differ."""
        if endpoints != self.endpoints:
            self.endpoints, self._order, self._next = endpoints, list(endpoints), 0
            self._dice.shuffle(self._order)

    def take(self, client: str, now: float, failed: Collection[Endpoint] = ()) -> Endpoint | None:
        """The endpoint for a new connection of ``client``; none of ``failed``, where it was tried in vain,
        unless there is no other. None where there is none at all."""
        known = self._clients.where(client, now)
        chosen = known if known in self.endpoints and known not in failed else self._turn(failed)
        if chosen is not None:
            self._clients.keep(client, chosen, now)
        return chosen

    def _turn(self, failed: Collection[Endpoint]) -> Endpoint | None:
        chosen = None
        for _ in self._order:
            chosen = self._order[self._next % len(self._order)]
            self._next += 1
            if chosen not in failed:
                break
        return chosen
