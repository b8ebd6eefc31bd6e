"""Thousands of Services through the buffer that a process without rights gets where nobody raised the limit.
What belongs together then takes several transactions, and any of them may fail, or meet others at work."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from implementation.dataplane.nftables import Nftables, readback
from implementation.dataplane.nftables import netlink as nl
from implementation.dataplane.nftables.kernel import Kernel, Refused
from implementation.dataplane.nftables.shapes import Family
from implementation.objects import SliceEndpoint
from implementation.state.desired import Desired
from implementation.tests.build import ROWS, desired, endpoints_of, service
from implementation.tests.lab import inside, sh

pytestmark = pytest.mark.kernel
SNDBUF, MANY, ROWS_EACH = 212_992, 4000, 4  # svc, cluster address, endpoint, hairpin
GUILTY = 2345


def address(number: int) -> str:
    """The cluster address of a Service."""
    return f"10.43.{number // 250}.{number % 250 + 1}"


def many(*, without: int = -1) -> Desired:
    """Services with one endpoint each."""
    services = [service(f"s{n}", address(n)) for n in range(MANY) if n != without]
    return desired(
        *((one, [endpoints_of(one, SliceEndpoint(f"10.44.{at // 250}.{at % 250 + 1}", node="here"))])
          for at, one in enumerate(services))
    )  # fmt: skip


class Wayward(Kernel):
    """A kernel that fails the transactions it is told to, and lets others in between two of ours."""

    def __init__(self) -> None:
        super().__init__(SNDBUF)
        self.fail: list[int] = []  # which of the next ones are refused, counted from 0
        self.poison = b"\xff" * 9  # rows with these bytes are refused
        self.meanwhile = ""  # a command line of somebody else's, run once behind the next
        self.sizes: list[int] = []

    def commit(self, every: Sequence[bytes]) -> None:
        self.sizes.append(sum(map(len, every)))
        if self.fail and len(self.sizes) - 1 in self.fail:
            raise Refused(105, 0, " at a test's wish")
        for index, one in enumerate(every):
            if one[4] == nl.Message.NEWSETELEM and self.poison in one:
                raise Refused(28, index, " at a test's wish")
        super().commit(every)
        if self.meanwhile:
            command, self.meanwhile = self.meanwhile, ""
            sh(command)


def rows() -> int:
    """How many rows of Services the kernel has."""
    found = readback.read(Kernel(), Family(4))
    return len(found.rows) if found else 0


def failing() -> Any:
    sh("ip link set lo up")
    kernel = Wayward()
    kernel.fail = [1]
    applied = Nftables(ROWS, kernel).apply(many())
    first = [len(kernel.sizes) > 2, max(kernel.sizes) <= kernel.most, applied.full, rows()]
    successor = Nftables(ROWS, Kernel(SNDBUF))
    written = successor.apply(many()).written
    sh("nft flush map ip kp svc")
    noticed = not successor.intact()
    successor.forget()
    successor.apply(many())
    return [*first, written, noticed, rows()]


def test_a_transaction_that_fails_in_the_middle_is_followed_by_all_of_them_again() -> None:
    whole = MANY * ROWS_EACH
    assert inside(failing) == [True, True, True, whole, 0, True, whole]


def guilty() -> Any:
    sh("ip link set lo up")
    kernel = Wayward()
    kernel.poison = bytes(map(int, address(GUILTY).split("."))) + b"\6"
    dataplane = Nftables(ROWS, kernel)
    dataplane.apply(many())
    refused = dataplane._families[4].refused
    served = rows()
    attempts = len(kernel.sizes)
    kernel.poison = b"\xff" * 9
    again = dataplane.apply(many())
    return [
        ["/".join(key) for key in refused],
        MANY * ROWS_EACH - served,
        attempts,
        len(again.services),
        rows(),
    ]


def test_the_one_service_the_kernel_refuses_is_found_among_thousands_in_few_attempts() -> None:
    refused, missing, attempts, again, whole = inside(guilty)

    assert refused == [f"default/s{GUILTY}"]
    assert 0 < missing <= ROWS_EACH
    assert attempts < 150  # a few for each halving, not one for each Service
    assert (again, whole) == (1, MANY * ROWS_EACH)


def met() -> Any:
    sh("ip link set lo up")
    kernel = Wayward()
    kernel.meanwhile = "nft delete table ip kp"
    dataplane = Nftables(ROWS, kernel)
    dataplane.apply(many())
    first = rows()
    kernel.meanwhile = "nft flush map ip kp endpoints"
    dataplane.forget()
    dataplane.apply(many(without=7))
    return [first, rows(), dataplane.intact()]


def test_who_writes_during_a_full_write_is_noticed_though_nobody_listened() -> None:
    assert inside(met) == [MANY * ROWS_EACH, (MANY - 1) * ROWS_EACH, True]
