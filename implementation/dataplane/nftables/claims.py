"""Which Service an address and port belongs to, where several ask for it; pure.

A cluster address wins over external addresses, so that nobody takes over another's by an external address
(CVE-2020-8554); else the first in order of names wins. So the order in which
Services are seen does not matter.
"""

from __future__ import annotations

from implementation.state.desired import ServiceKey

Claim = tuple[int, ServiceKey]  # 0 for a cluster address, 1 for others; the smallest wins


class Claims:
    """Keeps who asks for what."""

    def __init__(self) -> None:
        self._owner: dict[bytes, Claim] = {}
        self._others: dict[bytes, set[Claim]] = {}
        self._of: dict[ServiceKey, dict[bytes, int]] = {}

    def put(self, service: ServiceKey, wanted: dict[bytes, int]) -> set[ServiceKey]:
        """``service`` now asks for these keys, with their ranks; gives other Services that gain or lose
        one."""
        before = self._of.pop(service, {})
        if wanted:
            self._of[service] = wanted
        if before == wanted:
            return set()
        concerned: set[ServiceKey] = set()
        for key, rank in before.items():
            if wanted.get(key) != rank:
                concerned |= self._drop(key, (rank, service))
        for key, rank in wanted.items():
            if before.get(key) != rank:
                concerned |= self._add(key, (rank, service))
        return concerned - {service}

    def denied(self, service: ServiceKey, key: bytes) -> bool:
        """True when another Service has the better right to ``key``."""
        owner = self._owner.get(key)
        return owner is not None and owner[1] != service

    def alone(self, service: ServiceKey) -> bool:
        """True when ``service`` has all that it asks for."""
        return not any(self.denied(service, key) for key in self._of.get(service, ()))

    def known(self) -> set[ServiceKey]:
        """Everybody who asks for something."""
        return set(self._of)

    def clear(self) -> None:
        """Forget everybody."""
        self._owner, self._others, self._of = {}, {}, {}

    def _add(self, key: bytes, claim: Claim) -> set[ServiceKey]:
        owner = self._owner.setdefault(key, claim)
        if owner == claim:
            return set()
        self._owner[key] = min(owner, claim)
        self._others.setdefault(key, set()).add(max(owner, claim))
        return {owner[1]} if claim < owner else set()

    def _drop(self, key: bytes, claim: Claim) -> set[ServiceKey]:
        others = self._others.get(key, set())
        others.discard(claim)
        if self._owner.get(key) != claim:
            return set()
        if not others:
            del self._owner[key]
            self._others.pop(key, None)
            return set()
        heir = self._owner[key] = min(others)
        others.discard(heir)
        return {heir[1]}
