"""What has to be written so that the kernel's rows become the wanted ones; pure.

The order is right at every step, also where the steps cannot be one transaction: endpoints are there before a
row leads to them and go after it, a refusal is there before a Service goes and goes after it has come.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum

import msgspec

from implementation.dataplane.nftables.tables import Rows

LEAVES = (
    "nodeport_ips", "hairpin", "cluster_ips", "endpoints", "aff_endpoints", "members", "aff_ids",
    "aff_local_ids",
    "allowed",
)  # fmt: skip
REFUSALS, LEADS = ("ranged", "noep", "noep_nodeports"), ("svc", "nodeports")


class Do(StrEnum):
    """What a step does with its rows; a value cannot be changed, so ``replace`` takes a row out and puts
    it in."""

    ADD = "add"
    REPLACE = "replace"
    DELETE = "delete"


class Step(msgspec.Struct, frozen=True):
    """One kind of change of one set; a row to replace must leave and come in one transaction."""

    do: Do
    name: str
    rows: list[tuple[bytes, bytes]]


def between(
    before: Mapping[tuple[str, bytes], bytes], after: Mapping[tuple[str, bytes], bytes]
) -> tuple[Rows, Rows]:
    """The rows that have to go and those that have to come."""
    gone = {row: value for row, value in before.items() if after.get(row) != value}
    come = {row: value for row, value in after.items() if before.get(row) != value}
    return gone, come


def steps(gone: Rows, come: Rows) -> list[Step]:
    """The steps in their order; a row in both is replaced unless its value stays."""
    found: dict[tuple[Do, str], list[tuple[bytes, bytes]]] = {}
    for (name, key), value in come.items():
        old = gone.get((name, key))
        if old != value:
            found.setdefault((Do.ADD if old is None else Do.REPLACE, name), []).append((key, value))
    for (name, key), value in gone.items():
        if (name, key) not in come:
            found.setdefault((Do.DELETE, name), []).append((key, value))
    order = [
        *((do, name) for name in (*LEAVES, *REFUSALS, *LEADS) for do in (Do.ADD, Do.REPLACE)),
        *((Do.DELETE, name) for name in (*LEADS, *REFUSALS, *LEAVES)),
    ]
    return [Step(do, name, found[do, name]) for do, name in order if (do, name) in found]


def count(every: Iterable[Step]) -> int:
    """How many rows are written or removed."""
    return sum(len(step.rows) for step in every)
