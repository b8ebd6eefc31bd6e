"""Which endpoint is next, and which sockets there must be."""

from __future__ import annotations

import random
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from implementation.dataplane.userspace import doors
from implementation.dataplane.userspace.doors import Door, Where
from implementation.dataplane.userspace.turns import MOST_CLIENTS, Clients, Turns
from implementation.objects import SliceEndpoint
from implementation.state.desired import Endpoint, Way
from implementation.tests.build import desired, endpoints_of, service

ONE, TWO, THREE = (Endpoint(f"10.42.0.{n}", 80) for n in (1, 2, 3))


def turns(seconds: int, *endpoints: Endpoint) -> Turns:
    clients = Clients()
    clients.seconds = seconds
    made = Turns(clients, random.Random(1))
    made.replace(endpoints)
    return made


@given(st.integers(1, 7), st.integers(1, 50))
def test_turns_are_even_to_one(count: int, rounds: int) -> None:
    made = turns(0, *(Endpoint(f"10.42.0.{n}", 80) for n in range(count)))

    taken = Counter(made.take("c", 0.0) for _ in range(count * rounds + 1))

    assert max(taken.values()) - min(taken.values()) <= 1


def test_an_endpoint_that_failed_is_passed_over_while_there_is_another() -> None:
    made = turns(0, ONE, TWO)

    assert {made.take("c", 0.0, [ONE]) for _ in range(4)} == {TWO}
    assert made.take("c", 0.0, [ONE, TWO]) in (ONE, TWO)
    assert turns(0).take("c", 0.0) is None


def test_a_client_stays_while_it_comes_back_in_time() -> None:
    made = turns(10, ONE, TWO, THREE)
    first = made.take("c", 0.0)

    assert {made.take("c", at) for at in (9.0, 18.0, 27.0)} == {first}
    assert len({made.take("c", 100.0 * n) for n in range(1, 20)}) == 3


def test_a_client_leaves_an_endpoint_that_is_gone_or_fails_and_stays_with_the_next() -> None:
    made = turns(10, ONE, TWO)
    first = made.take("c", 0.0)
    made.replace(tuple(e for e in (ONE, TWO, THREE) if e != first))
    second = made.take("c", 1.0)

    assert second not in (first, None)
    assert second is not None and made.take("c", 2.0, [second]) not in (first, second)
    assert made.take("c", 3.0) not in (first, second)


def test_clients_that_were_idle_longest_are_forgotten_first() -> None:
    clients = Clients()
    clients.seconds = 10
    for number in range(MOST_CLIENTS + 5):
        clients.keep(str(number), ONE, 0.0)

    assert len(clients) == MOST_CLIENTS
    assert (clients.where("4", 0.0), clients.where("5", 0.0)) == (None, ONE)
    clients.keep("new", TWO, 60.0)
    assert len(clients) == 1


class TestPlan:
    here, there = SliceEndpoint("10.42.0.1", node="here"), SliceEndpoint("10.42.1.1", node="there")

    def test_a_local_policy_has_a_door_of_its_own_and_a_short_cut(self) -> None:
        web = service(node_port=30080, external_local=True)
        plan = doors.plan(desired((web, [endpoints_of(web, self.here, self.there)])))
        everybody, local = (Door("default", "web", "", "tcp", 4, which) for which in (False, True))

        assert plan.fates == {Where(4, "tcp", "10.43.0.5", 80): everybody, Where(4, "tcp", "", 30080): local}
        assert plan.short == {Where(4, "tcp", "", 30080): everybody}
        assert [len(plan.doors[door].endpoints) for door in (everybody, local)] == [2, 1]

    def test_without_a_local_endpoint_only_clients_of_the_cluster_are_served(self) -> None:
        web = service(node_port=30080, external_local=True)
        plan = doors.plan(desired((web, [endpoints_of(web, self.there)])))

        assert plan.fates[Where(4, "tcp", "", 30080)] is Way.DROP
        assert Where(4, "tcp", "", 30080) in plan.short

    def test_a_door_outlives_a_change_of_port_address_and_endpoints(self) -> None:
        before = service(node_port=30080)
        after = service(ip="10.43.0.6", port=81, node_port=30081)

        plans = [
            doors.plan(desired((one, [endpoints_of(one, e)])))
            for one, e in ((before, self.here), (after, self.there))
        ]

        assert list(plans[0].doors) == list(plans[1].doors)

    def test_a_cluster_address_cannot_be_taken_by_anothers_external_address(self) -> None:
        thief, owner = service("a", "10.43.0.9", external_ips=("10.43.0.5",)), service("web")
        plan = doors.plan(desired(*((one, [endpoints_of(one, self.here)]) for one in (thief, owner))))

        assert plan.fates[Where(4, "tcp", "10.43.0.5", 80)] == Door("default", "web", "", "tcp", 4, False)

    def test_sctp_is_refused_and_needs_no_socket(self) -> None:
        phone = service(protocol="SCTP")
        plan = doors.plan(desired((phone, [endpoints_of(phone, self.here)])))

        assert (plan.doors, list(plan.fates.values())) == ({}, [Way.REJECT])
