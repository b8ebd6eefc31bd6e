"""ARP: frames as others write them, any bytes survived, announcements when they are due."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from implementation.loadbalancer import arp
from implementation.loadbalancer.arp import Arp, ArpError, Bursts

ME, OTHER = bytes.fromhex("020000000001"), bytes.fromhex("020000000002")
WHO_HAS = bytes.fromhex(
    "ffffffffffff02000000000208060001080006040001020000000002c0a80232000000000000c0a802c8"
)

addresses = st.ip_addresses(v=4).map(str)
macs = st.binary(min_size=6, max_size=6)


def test_a_who_has_from_the_wire_is_understood() -> None:
    found = arp.parse(WHO_HAS)
    assert (found.operation, found.sender, found.target) == (arp.REQUEST, "192.168.2.50", "192.168.2.200")
    assert found.destination == arp.BROADCAST


def test_the_answer_goes_to_the_asker_alone() -> None:
    answer = arp.answer(arp.parse(WHO_HAS), ME)
    assert answer == Arp(OTHER, ME, arp.REPLY, ME, "192.168.2.200", OTHER, "192.168.2.50")
    assert len(arp.build(answer)) == 60


def test_an_announcement_is_a_request_and_a_reply_whose_target_mac_is_the_sender_s() -> None:
    request, reply = arp.announcements("192.168.2.200", ME)
    assert (request.operation, reply.operation) == (arp.REQUEST, arp.REPLY)
    for frame in (request, reply):
        assert frame.destination == arp.BROADCAST
        assert frame.sender == frame.target == "192.168.2.200"
        assert frame.sender_mac == frame.source == ME
    assert reply.target_mac == ME


@given(
    st.builds(Arp, macs, macs, st.sampled_from([1, 2]), macs, addresses, macs, addresses),
    st.binary(max_size=30),
)
def test_what_is_built_is_understood_with_any_padding(frame: Any, padding: Any) -> None:
    assert arp.parse(arp.build(frame) + padding) == frame


@given(
    st.binary(max_size=80)
    | st.tuples(st.integers(0, 41), st.integers(0, 255)).map(
        lambda change: WHO_HAS[: change[0]] + bytes([change[1]]) + WHO_HAS[change[0] + 1 :]
    )
)
def test_any_bytes_give_a_frame_or_an_arp_error(data: Any) -> None:
    try:
        found = arp.parse(data)
    except ArpError:
        return
    assert found.operation in (1, 2)


@pytest.mark.parametrize("cut", [0, 13, 14, 41])
def test_a_frame_cut_short_is_none(cut: Any) -> None:
    with pytest.raises(ArpError, match="at least 42"):
        arp.parse(WHO_HAS[:cut])


def times_of(bursts: Any, address: Any, until: Any, step: Any = 0.01) -> Any:
    found, now = [], 0.0
    while now <= until:
        found += [round(now, 2) for one in bursts.take_due(now) if one == address]
        now += step
    return found


def test_announcements_are_dense_at_first_and_refreshed_later() -> None:
    bursts = Bursts()
    bursts.start("a", 0.0)
    found = times_of(bursts, "a", 60.0)
    assert found[:7] == pytest.approx([0, 0.05, 0.15, 0.4, 1, 2, 5], abs=0.02)
    assert 30 <= found[7] - found[6] <= 60


def test_a_stopped_address_is_not_announced_and_a_new_start_is_dense_again() -> None:
    bursts = Bursts()
    bursts.start("a", 0.0)
    bursts.start("b", 0.0)
    bursts.stop("a")
    assert bursts.take_due(10.0) == ["b"]
    bursts.start("b", 10.0)
    assert bursts.wake() == 10.0
    assert bursts.take_due(10.0) == ["b"]
    assert bursts.wake() == pytest.approx(10.05)


def test_after_a_long_pause_nothing_is_announced_in_a_rush() -> None:
    bursts = Bursts()
    bursts.start("a", 0.0)
    assert [bursts.take_due(100.0) for _ in range(3)] == [["a"], ["a"], ["a"]]
    assert sum(len(bursts.take_due(100.0)) for _ in range(50)) <= len(arp.SCHEDULE)
