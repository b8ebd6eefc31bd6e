"""A data plane without a kernel: keeps what it was told and shows it as sorted text.

For tests of everything above the data plane.
"""

from __future__ import annotations

from collections.abc import Iterator

from implementation.dataplane import Applied, DataplaneError, Part
from implementation.state.desired import Desired, Endpoint, ServedPort, ServedService, ServiceKey, Way


class Fake:
    """Serves in memory. ``failures`` is how many of the next applies fail; ``applied`` lists those that did
    not."""

    def __init__(self, failures: int = 0) -> None:
        self.failures = failures
        self.applied: list[Applied] = []
        self.flushed = False
        self._desired = Desired({})
        self._written: dict[ServiceKey, ServedService] | None = None

    def apply(self, desired: Desired) -> Applied:
        """See :meth:`implementation.dataplane.Dataplane.apply`."""
        old, self._written = self._written, None
        if self.failures:
            self.failures -= 1
            raise DataplaneError("the fake was told to fail")
        before = {} if old is None else old
        changed = [key for key, served in desired.services.items() if before.get(key) != served]
        changed += [key for key in before if key not in desired.services]
        self._written, self.flushed = dict(desired.services), False
        self._desired = Desired(self._written)
        lines = len(self.dump())
        part = Part(4, old is None, 0.0, {"fake": (lines, lines if old is None else len(changed))})
        self.applied.append(Applied((part,), tuple(changed)))
        return self.applied[-1]

    def forget(self) -> None:
        """See :meth:`implementation.dataplane.Dataplane.forget`."""
        self._written = None

    def intact(self) -> bool:
        """False after :meth:`flush` until the next apply."""
        return not self.flushed

    def flush(self) -> None:
        """Lose everything, as when somebody else empties the tables."""
        self.flushed, self._desired = True, Desired({})

    def cleanup(self) -> None:
        """Serve nothing."""
        self._desired, self._written = Desired({}), None

    def dump(self) -> list[str]:
        """One line for each address and port that is served, sorted."""
        return sorted(
            line
            for service in self._desired.services.values()
            for port in service.ports
            for line in _lines(port)
        )


def _lines(port: ServedPort) -> Iterator[str]:
    yield f"{port.protocol} {_at(port.cluster_ip, port.port)} {_fate(port, port.internal)}"
    for address in (*port.external_ips, *port.virtual_ips):
        yield f"{port.protocol} {_at(address, port.port)} {_fate(port, port.external)}"
    if port.node_port:
        yield f"{port.protocol} node:{port.node_port} {_fate(port, port.external)}"


def _at(address: str, port: int) -> str:
    return Endpoint(address, port).target


def _fate(port: ServedPort, way: Way) -> str:
    """Where traffic goes: endpoints, or what becomes of it."""
    pools = {Way.CLUSTER: port.cluster, Way.LOCAL: port.local}
    return "-> " + ",".join(e.target for e in pools[way]) if way in pools else str(way)
