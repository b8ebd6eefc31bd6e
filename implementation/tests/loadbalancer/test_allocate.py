"""Allocation: lowest first, sharing, pinned pools, two families; and what can never happen."""

from typing import Any

import msgspec
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from implementation.loadbalancer.allocate import AllocationError, Allocator, Request
from implementation.loadbalancer.pools import configuration
from implementation.tests.loadbalancer.test_pools import pool

TCP80 = (("TCP", 80),)


def allocator(*pools: Any) -> Any:
    made = Allocator()
    made.set_configuration(configuration(pools, ()))
    return made


def ask(key: Any, **more: Any) -> Any:
    return Request(**{"key": key, "families": (4,), "namespace": "default", "ports": TCP80, **more})


def test_the_lowest_address_comes_first_and_the_lowest_free_one_next() -> None:
    a = allocator(pool(addresses=["192.168.2.200-192.168.2.202"]))
    assert [a.allocate(ask(k)) for k in "xyz"] == [
        ("192.168.2.200",),
        ("192.168.2.201",),
        ("192.168.2.202",),
    ]
    with pytest.raises(AllocationError, match=r"^no available IPs$"):
        a.allocate(ask("w"))
    a.release("y")
    assert a.allocate(ask("w")) == ("192.168.2.201",)


def test_asking_again_changes_nothing() -> None:
    a = allocator(pool())
    assert a.allocate(ask("x")) == a.allocate(ask("x")) == ("10.0.0.0",)


def test_ranges_are_used_in_the_order_they_are_written() -> None:
    a = allocator(pool(addresses=["10.9.0.0/32", "10.0.0.0/32"]))
    assert [a.allocate(ask(k))[0] for k in "xy"] == ["10.9.0.0", "10.0.0.0"]


def test_buggy_addresses_are_skipped_and_refused_when_asked_for() -> None:
    a = allocator(pool(addresses=["10.0.0.254-10.0.1.1"], avoidBuggyIPs=True))
    assert [a.allocate(ask(k))[0] for k in "xy"] == ["10.0.0.254", "10.0.1.1"]
    with pytest.raises(AllocationError, match=r'\["10.0.1.0"\] is not allowed in config'):
        a.assign(ask("z"), ["10.0.1.0"])


def test_a_pool_without_automatic_assignment_is_used_only_by_name_or_address() -> None:
    a = allocator(pool("quiet", autoAssign=False))
    with pytest.raises(AllocationError):
        a.allocate(ask("x"))
    assert a.allocate_from(ask("x"), "quiet") == ("10.0.0.0",)
    a.assign(ask("y"), ["10.0.0.3"])
    assert a.pool("y") == "quiet"


def test_an_unknown_or_full_pool_is_named_in_the_refusal() -> None:
    a = allocator(pool("one", ("10.0.0.0/32",)))
    with pytest.raises(AllocationError, match='unknown pool "two"'):
        a.allocate_from(ask("x"), "two")
    a.allocate(ask("x"))
    with pytest.raises(AllocationError, match='no available IPs in pool "one"'):
        a.allocate_from(ask("y"), "one")


def test_pools_kept_for_such_services_come_first_by_priority_then_the_open_ones() -> None:
    a = allocator(
        pool("a-open", ("10.0.0.0/32",)),
        pool("b-late", ("10.1.0.0/32",), serviceAllocation={"namespaces": ["default"]}),
        pool("c-second", ("10.2.0.0/32",), serviceAllocation={"priority": 20, "namespaces": ["default"]}),
        pool("d-first", ("10.3.0.0/32",), serviceAllocation={"priority": 10, "namespaces": ["default"]}),
        pool("e-others", ("10.4.0.0/32",), serviceAllocation={"priority": 1, "namespaces": ["other"]}),
    )
    assert [a.allocate(ask(k)) and a.pool(k) for k in "wxyz"] == ["d-first", "c-second", "b-late", "a-open"]
    with pytest.raises(AllocationError, match="pool e-others not compatible for ip assignment"):
        a.allocate_from(ask("v"), "e-others")


def test_two_families_come_from_one_pool_version_4_first() -> None:
    both = ask("x", families=(6, 4))
    a = allocator(pool("a", ("10.0.0.0/30",)), pool("b", ("fd00::/126", "10.1.0.0/30")))
    assert a.allocate(both) == ("10.1.0.0", "fd00::")
    with pytest.raises(AllocationError):
        allocator(pool("a", ("10.0.0.0/30",))).allocate(both)


def test_a_service_that_prefers_two_families_takes_one_and_gets_the_other_later() -> None:
    prefer = ask("x", families=(4, 6), dual_preferred=True)
    a = allocator(pool("a", ("10.0.0.0/30",)))
    assert a.allocate(prefer) == ("10.0.0.0",)
    assert a.add_family(prefer) is None
    a.set_configuration(configuration([pool("a", ("10.0.0.0/30", "fd00::/126"))], ()))
    assert a.add_family(prefer) == ("10.0.0.0", "fd00::")


@pytest.mark.parametrize(
    ("first", "second", "together"),
    [
        ({"sharing": "k"}, {"sharing": "k", "ports": (("TCP", 81),)}, True),
        ({"sharing": "k"}, {"sharing": "k", "ports": (("UDP", 80),)}, True),
        ({"sharing": "k"}, {"sharing": "k"}, False),
        ({"sharing": "k"}, {"sharing": "l", "ports": (("TCP", 81),)}, False),
        ({"sharing": "k"}, {"ports": (("TCP", 81),)}, False),
        ({}, {"sharing": "k", "ports": (("TCP", 81),)}, False),
        (
            {"sharing": "k", "backend": "app=a"},
            {"sharing": "k", "backend": "app=a", "ports": (("TCP", 81),)},
            True,
        ),
        ({"sharing": "k", "backend": "app=a"}, {"sharing": "k", "ports": (("TCP", 81),)}, False),
    ],
)
def test_services_share_only_with_the_same_keys_and_other_ports(
    first: Any, second: Any, together: Any
) -> None:
    a = allocator(pool())
    a.allocate(ask("x", **first))
    assert (a.allocate(ask("y", **second)) == ("10.0.0.0",)) is together
    b = allocator(pool())
    b.allocate(ask("x", **first))
    if together:
        b.assign(ask("y", **second), ["10.0.0.0"])
    else:
        with pytest.raises(AllocationError, match="in use"):
            b.assign(ask("y", **second), ["10.0.0.0"])


def test_sharers_are_not_drawn_to_a_shared_address_when_a_lower_one_is_free() -> None:
    a = allocator(pool())
    a.assign(ask("x", sharing="k"), ["10.0.0.2"])
    assert a.allocate(ask("y", sharing="k", ports=(("TCP", 81),))) == ("10.0.0.0",)


def test_the_only_user_of_an_address_may_change_its_key() -> None:
    a = allocator(pool())
    a.allocate(ask("x", sharing="k"))
    a.assign(ask("x", sharing="l"), ["10.0.0.0"])
    a.assign(ask("y", sharing="l", ports=(("TCP", 81),)), ["10.0.0.0"])
    with pytest.raises(AllocationError, match='sharing key for "x", address also in use by y'):
        a.assign(ask("x", sharing="m"), ["10.0.0.0"])


def test_a_large_pool_is_filled_in_time_that_grows_with_the_number_of_services_only() -> None:
    a = allocator(pool(addresses=["10.0.0.0/8", "fd00::/64"]))
    for number in range(3000):
        a.allocate(ask(str(number)))
    assert a.allocate(ask("last")) == ("10.0.11.184",)
    assert a.in_use() == {"p": 3001}


keys = st.sampled_from(["a", "b", "c", "d", "e", "f"])
requests = st.builds(
    ask,
    keys,
    ports=st.sets(st.sampled_from([("TCP", 80), ("TCP", 81), ("UDP", 80)]), min_size=1).map(tuple),
    sharing=st.sampled_from(["", "", "k", "l"]),
    backend=st.sampled_from(["", "app=a"]),
    families=st.sampled_from([(4,), (6,), (4, 6)]),
    dual_preferred=st.booleans(),
)
ADDRESSES = [f"10.0.0.{n}" for n in range(4)] + [f"fd00::{n}" for n in range(1, 3)]
POOLS = {
    "small": [pool("a", ("10.0.0.0-10.0.0.3", "fd00::1-fd00::2"))],
    "smaller": [pool("a", ("10.0.0.1-10.0.0.2",))],
    "two": [pool("a", ("10.0.0.0/31",), autoAssign=False), pool("b", ("10.0.0.2/31", "fd00::1-fd00::1"))],
}


class Allocation(RuleBasedStateMachine):
    """Whatever is asked in whatever order: no address has two users that may not share it."""

    def __init__(self) -> None:
        super().__init__()
        self.allocator = allocator(*POOLS["small"])
        self.asked = {}

    @rule(request=requests)
    def allocate(self, request: Any) -> None:
        before = self.allocator.held(request.key)
        try:
            found = self.allocator.allocate(request)
        except AllocationError:
            assert self.allocator.held(request.key) == before
        else:
            assert self.allocator.held(request.key) == found
            self.asked[request.key] = request

    @rule(request=requests, addresses=st.lists(st.sampled_from(ADDRESSES), min_size=1, max_size=2))
    def assign(self, request: Any, addresses: Any) -> None:
        before = self.allocator.held(request.key)
        try:
            self.allocator.assign(request, addresses)
        except AllocationError:
            assert self.allocator.held(request.key) == before
        else:
            self.asked[request.key] = request

    @rule(key=keys)
    def release(self, key: Any) -> None:
        self.allocator.release(key)
        self.asked.pop(key, None)
        assert self.allocator.held(key) == ()

    @rule(name=st.sampled_from(sorted(POOLS)))
    def reconfigure(self, name: Any) -> None:
        """The controller looks at every service anew; those that no longer fit lose their address."""
        self.allocator.set_configuration(configuration(POOLS[name], ()))
        for key, request in list(self.asked.items()):
            try:
                self.allocator.assign(request, self.allocator.held(key))
            except AllocationError:
                self.release(key)

    @precondition(lambda self: self.asked)
    @rule()
    def restart(self) -> None:
        """A new controller, told the status only, gives everybody what they had."""
        new = Allocator()
        new.set_configuration(self.allocator._config)
        for key, request in self.asked.items():
            new.assign(request, self.allocator.held(key))
            assert new.held(key) == self.allocator.held(key)
        self.allocator = new

    @invariant()
    def no_address_has_two_users_that_may_not_share(self) -> None:
        users = {}
        for key, request in self.asked.items():
            for address in self.allocator.held(key):
                users.setdefault(address, []).append(request)
        for sharing in users.values():
            for i, one in enumerate(sharing):
                for other in sharing[i + 1 :]:
                    assert one.sharing == other.sharing != ""
                    assert one.backend == other.backend
                    assert not set(one.ports) & set(other.ports)

    @invariant()
    def whoever_waits_does_so_because_nothing_fits(self) -> None:
        probe = msgspec.structs.replace(ask("probe"), ports=(("SCTP", 1),))
        free = [a for a in ADDRESSES[:4] if not any(a in self.allocator.held(k) for k in self.asked)]
        auto = [a for a in free if (p := self.allocator._config.pool_of(a)) is not None and p.auto_assign]
        try:
            found = self.allocator.allocate(probe)
        except AllocationError:
            assert not auto
        else:
            assert found == (min(auto),)
        self.allocator.release("probe")


Allocation.TestCase.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)
TestAllocation = Allocation.TestCase
