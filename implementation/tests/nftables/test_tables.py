"""From what must be served to rows, and from rows to steps: pure decisions."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from implementation.dataplane.nftables import difference, tables
from implementation.dataplane.nftables.claims import Claims
from implementation.dataplane.nftables.difference import Do
from implementation.dataplane.nftables.netlink import unword
from implementation.dataplane.nftables.shapes import Family
from implementation.dataplane.nftables.tables import LEAD, Numbers, Packer, Rows, service_rows
from implementation.objects import SliceEndpoint
from implementation.state.desired import ServedService
from implementation.tests.build import desired, endpoints_of, service

HERE, THERE = SliceEndpoint("10.42.0.2", node="here"), SliceEndpoint("10.42.1.3", node="there")


def served(*endpoints: SliceEndpoint | str, **more: object) -> ServedService:
    one = service(**more)
    return desired((one, [endpoints_of(one, *endpoints)])).services[one.key]


def rows_of(what: ServedService, before: Rows | None = None, numbers: Numbers | None = None) -> Rows:
    return service_rows(what, Packer(Family(4)), numbers or Numbers(), before or {}, own=True)


def leads(rows: Rows, name: str, numbers: Numbers) -> list[str]:
    chains = {number: chain for chain, number in numbers.variants.items()}
    return [chains[unword(value[4:LEAD])] for (kind, _), value in rows.items() if kind == name]


def addresses(count: int) -> list[str]:
    return [f"10.42.1.{n}" for n in range(1, count + 1)]


def test_each_way_has_its_chain() -> None:
    numbers = Numbers()
    kept = served(THERE, HERE, node_port=30080, external_local=True, external_ips=("1.2.3.4",))
    inner = served(THERE, internal_local=True)
    empty = served(node_port=30080)
    found = [
        leads(rows_of(what, numbers=numbers), name, numbers)
        for what in (kept, inner, empty)
        for name in ("svc", "nodeports", "noep", "noep_nodeports")
    ]

    assert found[:4] == [["inside_pick_2", "keep_pick_2_1"], ["keep_pick_2_np_1"], [], []]
    assert found[4:8] == [[], [], ["drop-here"], []]
    assert found[8:] == [[], [], ["reject"], ["reject"]]


def test_source_ranges_are_rows_by_prefix_length_and_hold_the_address_itself_for_the_node() -> None:
    numbers = Numbers()
    what = served(
        HERE, virtual_ips=("192.168.2.200",), source_ranges=("192.168.0.0/16", "10.0.0.0/8", "10.1.0.0/16")
    )
    rows = rows_of(what, numbers=numbers)

    assert leads(rows, "ranged", numbers) == ["from_32_16_8"]
    assert sum(name == "allowed" for name, _ in rows) == 4


@given(st.lists(st.lists(st.sampled_from(addresses(6)), unique=True, max_size=6), min_size=1, max_size=8))
def test_an_endpoint_that_stays_keeps_its_row_unless_there_are_fewer_rows(lives: list[list[str]]) -> None:
    numbers, rows = Numbers(), Rows()
    for before, after in pairwise([[], *lives]):
        old, rows = rows, rows_of(served(*after), rows, numbers)
        places = {key: value for (name, key), value in rows.items() if name == "endpoints"}
        was = {key: value for (name, key), value in old.items() if name == "endpoints"}

        assert sorted(unword(key[-4:]) for key in places) == list(range(len(after)))
        assert len(set(places.values())) == len(after)
        staying = [key for key, value in was.items() if key in places and value in places.values()]
        assert all(places[key] == was[key] for key in staying), (before, after)


def test_affinity_shares_one_number_over_all_addresses_and_apart_for_endpoints_here() -> None:
    what = served(
        HERE, THERE, node_port=30080, external_ips=("1.2.3.4",), external_local=True, affinity_seconds=9
    )
    rows = rows_of(what)
    numbers = {
        name: {value for (kind, _), value in rows.items() if kind == name}
        for name in ("aff_ids", "aff_local_ids")
    }

    assert [len(found) for found in numbers.values()] == [1, 1]
    assert numbers["aff_ids"] != numbers["aff_local_ids"]
    assert sum(name == "members" for name, _ in rows) == 3


def test_a_number_of_another_port_is_not_taken_over() -> None:
    numbers = Numbers()
    numbers.learn({}, [5])
    first = numbers.affinity(b"\5\0\0\0" if unword(b"\5\0\0\0") == 5 else b"\0\0\0\5", own=False)

    assert unword(first) == 5
    assert unword(numbers.affinity(first, own=False)) == 6
    assert unword(numbers.affinity(first, own=True)) == 5


@given(
    st.lists(
        st.tuples(st.sampled_from("abc"), st.dictionaries(st.sampled_from([b"x", b"y"]), st.integers(0, 1)))
    )
)
def test_the_order_of_events_does_not_decide_who_owns_an_address(
    events: Sequence[tuple[str, dict[bytes, int]]],
) -> None:
    claims, now, owned = Claims(), {}, {}
    for name, wanted in events:
        concerned = claims.put(("ns", name), wanted)
        now[name] = wanted
        for key in (b"x", b"y"):
            asking = [(rank[key], who) for who, rank in now.items() if key in rank]
            winner = min(asking)[1] if asking else None
            for other in now:
                denied = claims.denied(("ns", other), key)
                assert denied == (winner is not None and winner != other)
            if owned.get(key) != winner:
                touched = {owned.get(key), winner} - {None, name}
                assert {("ns", who) for who in touched if key in now[who]} <= concerned
            owned[key] = winner


NAMES = st.sampled_from([*difference.LEAVES, *difference.REFUSALS, *difference.LEADS])
ROWS = st.dictionaries(st.tuples(NAMES, st.binary(min_size=1, max_size=1)), st.sampled_from([b"1", b"2"]))


@settings(max_examples=200)
@given(ROWS, ROWS)
def test_the_steps_lead_from_one_state_to_the_other_in_the_kernels_way(before: Rows, after: Rows) -> None:
    kernel = dict(before)
    for step in difference.steps(*difference.between(before, after)):
        for key, value in step.rows:
            row = (step.name, key)
            if step.do is Do.ADD:
                assert row not in kernel  # the kernel refuses to change a value
            else:
                del kernel[row]  # and to delete what is not there
            if step.do is not Do.DELETE:
                kernel[row] = value

    assert kernel == after


@given(st.lists(st.integers(0, 4), min_size=2, max_size=6))
def test_at_every_step_each_row_that_leads_to_endpoints_finds_its_first(counts: list[int]) -> None:
    numbers, rows = Numbers(), Rows()
    kernel = Rows()
    for count in counts:
        old, rows = rows, rows_of(served(*addresses(count)), rows, numbers)
        for step in difference.steps(*difference.between(old, rows)):
            for key, value in step.rows:
                kernel.pop((step.name, key), None)
                if step.do is not Do.DELETE:
                    kernel[step.name, key] = value
            for name, key in kernel:
                assert name != "svc" or ("endpoints", key + bytes(4)) in kernel
    assert kernel == rows


def test_node_ports_answer_on_no_loopback_address() -> None:
    rows = tables.address_rows(("192.168.2.114", "127.0.0.1", "::1", "fd00::1"), Packer(Family(4)))

    assert [key for _, key in rows] == [bytes((192, 168, 2, 114))]
