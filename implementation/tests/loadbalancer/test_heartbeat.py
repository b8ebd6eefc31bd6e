"""Heartbeats: only signed, fresh and new ones are believed; any bytes are survived."""

import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from implementation.loadbalancer.heartbeat import (
    NEVER,
    PART_CLAIMS,
    HeartbeatError,
    Kind,
    Message,
    Trust,
    decode,
    encode,
    part_of,
)

KEY, OTHER = b"k" * 32, b"o" * 32
u64 = st.integers(0, 2**64 - 1)
names = st.text("abcdefghijklmnopqrstuvwxyz0123456789.-", min_size=1, max_size=253)
claims = st.lists(st.tuples(st.ip_addresses().map(str), st.integers(0, 2**32 - 1)), max_size=PART_CLAIMS)


def canonical(claim: Any) -> Any:
    """A mapped IPv4 address is written as IPv4."""
    from ipaddress import ip_address

    found = ip_address(claim[0])
    return str(getattr(found, "ipv4_mapped", None) or found), claim[1]


beats = st.builds(
    Message,
    st.just(Kind.BEAT),
    names,
    u64,
    u64,
    u64,
    st.booleans(),
    st.booleans(),
    st.just(3),
    st.just(7),
    claims.map(lambda some: tuple(map(canonical, some))),
)
questions = st.builds(Message, st.just(Kind.ASK), names, u64, u64, u64, subject=names)
answers = st.builds(
    Message, st.just(Kind.TELL), names, u64, u64, u64, subject=names, age=st.integers(0, NEVER)
)
messages = beats | questions | answers


@given(messages)
def test_a_message_arrives_as_it_was_sent(message: Any) -> None:
    assert decode(encode(message, KEY), [OTHER, KEY]) == message


@given(beats)
def test_a_beat_fits_a_datagram_of_ethernet(message: Any) -> None:
    assert len(encode(message, KEY)) <= 1472


@given(messages, st.data())
def test_a_changed_byte_is_noticed(message: Any, data: Any) -> None:
    raw = bytearray(encode(message, KEY))
    at = data.draw(st.integers(0, len(raw) - 1))
    raw[at] ^= data.draw(st.integers(1, 255))
    with pytest.raises(HeartbeatError, match="key we do not have"):
        decode(bytes(raw), [KEY])


@given(messages)
def test_a_message_of_another_key_is_refused(message: Any) -> None:
    with pytest.raises(HeartbeatError, match="key we do not have"):
        decode(encode(message, OTHER), [KEY])


@given(st.binary(max_size=300))
def test_any_bytes_give_a_message_or_an_error(data: Any) -> None:
    with pytest.raises(HeartbeatError):
        decode(data, [KEY])


@given(st.binary(max_size=200))
def test_any_signed_bytes_give_a_message_or_an_error(body: Any) -> None:
    """Even a holder of the key cannot bring the parser down."""
    import hmac

    with contextlib.suppress(HeartbeatError):
        decode(body + hmac.digest(KEY, body, "sha256"), [KEY])


@given(messages, st.data())
def test_signed_but_damaged_bytes_give_a_message_or_an_error(message: Any, data: Any) -> None:
    import hmac

    raw = bytearray(encode(message, KEY)[:-32])
    for _ in range(data.draw(st.integers(0, 3))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    body = bytes(raw[: data.draw(st.integers(0, len(raw)))])
    with contextlib.suppress(HeartbeatError):
        decode(body + hmac.digest(KEY, body, "sha256"), [KEY])


def beat(incarnation: Any = 7, echo: Any = 1, sequence: Any = 5) -> Any:
    return Message(Kind.BEAT, "b", incarnation, echo, sequence)


def test_only_a_message_that_names_our_incarnation_is_a_sign_of_life() -> None:
    trust = Trust()
    assert not trust.fresh(beat(echo=0), 1)
    assert not trust.fresh(beat(echo=2), 1)
    assert trust.fresh(beat(), 1)


def test_a_replay_is_refused() -> None:
    trust = Trust()
    assert trust.fresh(beat(sequence=5), 1)
    assert not trust.fresh(beat(sequence=5), 1)
    assert trust.fresh(beat(sequence=6), 1)
    assert not trust.fresh(beat(sequence=6), 1)


def test_datagrams_may_overtake_each_other_a_little_but_none_counts_twice() -> None:
    trust = Trust()
    believed = [trust.fresh(beat(sequence=n), 1) for n in (100, 103, 101, 101, 102, 200, 137, 136, 103)]
    assert believed == [True, True, True, False, True, True, True, False, False]


def test_a_restarted_peer_is_believed_and_its_former_self_never_again() -> None:
    trust = Trust()
    assert trust.fresh(beat(incarnation=7, sequence=900), 1)
    assert trust.fresh(beat(incarnation=3, sequence=1), 1)
    assert not trust.fresh(beat(incarnation=7, sequence=901), 1)
    assert trust.fresh(beat(incarnation=3, sequence=2), 1)


@given(st.lists(st.builds(beat, st.integers(1, 3), st.integers(0, 2), st.integers(0, 6)), max_size=40))
def test_no_message_is_believed_twice(received: Any) -> None:
    trust, believed = Trust(), []
    for message in received:
        if trust.fresh(message, 1):
            believed.append(message)
    assert len(set(believed)) == len(believed)


@given(st.ip_addresses().map(str), st.integers(1, 255))
def test_a_claim_stands_in_one_part(address: Any, parts: Any) -> None:
    assert 0 <= part_of(address, parts) < parts
