"""The encoder against bytes the kernel was seen to take, and the decoder against any bytes."""

from __future__ import annotations

import socket
import struct
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from implementation.dataplane.nftables import expressions as ex
from implementation.dataplane.nftables import kernel
from implementation.dataplane.nftables import netlink as nl
from implementation.dataplane.nftables.netlink import Message, Verdict
from implementation.dataplane.nftables.shapes import Family

KEY = bytes.fromhex("0a600001 06000000 00500000")


def element(key: bytes, value: bytes = b"") -> bytes:
    head, middle = nl.element_frame(len(key), len(value))
    return head + key + middle + value


GOLDEN = {
    "payload ip daddr -> R0": (
        Family(4).destination(0),
        "340001800c0001007061796c6f61640024000280080001000000000808000200"
        "0000000108000300000000100800040000000004",
    ),
    "meta l4proto -> R1": (
        ex.meta(1, nl.META_L4PROTO),
        "24000180090001006d657461000000001400028008000100000000090800020000000010",
    ),
    "payload th dport -> R2": (
        ex.payload(2, nl.TRANSPORT_HEADER, 2, 2),
        "340001800c0001007061796c6f61640024000280080001000000000a08000200"
        "0000000208000300000000020800040000000002",
    ),
    "ip6 daddr -> R0..R3": (
        Family(6).destination(0),
        "340001800c0001007061796c6f61640024000280080001000000000808000200"
        "0000000108000300000000180800040000000010",
    ),
    "immediate R4 <- 0 (u32)": (
        ex.immediate(4, bytes(4)),
        "2c0001800e000100696d6d65646961746500000018000280080001000000000c0c0002800800010000000000",
    ),
    "numgen random mod 2 -> R3": (
        ex.random(3, 2),
        "340001800b0001006e756d67656e000024000280080001000000000b08000200"
        "0000000208000300000000010800040000000000",
    ),
    "lookup 'svc' R0 -> R4": (
        ex.lookup("svc", 0, 4),
        "2c0001800b0001006c6f6f6b757000001c00028008000100737663000800020000000008080003000000000c",
    ),
    "lookup 'variant' R5 -> verdict (vmap)": (
        ex.verdict_of("variant", 5),
        "300001800b0001006c6f6f6b75700000200002800c00010076617269616e7400080002000000000d0800030000000000",
    ),
    "lookup 'endpoints' R0 -> R0": (
        ex.lookup("endpoints", 0, 0),
        "340001800b0001006c6f6f6b75700000240002800e000100656e64706f696e74"
        "7300000008000200000000080800030000000008",
    ),
    "dnat ip addr R0 proto R1": (
        ex.dnat(socket.AF_INET, 0, 1),
        "30000180080001006e617400240002800800010000000001080002000000000208000300000000080800050000000009",
    ),
    "dnat ip6 addr R0 proto R4": (
        ex.dnat(socket.AF_INET6, 0, 4),
        "30000180080001006e617400240002800800010000000001080002000000000a0800030000000008080005000000000c",
    ),
    "masquerade fully-random": (
        ex.masquerade(),
        "1c000180090001006d617371000000000c0002800800010000000010",
    ),
    "fib daddr type -> R0": (
        ex.address_type(0, source=False),
        "2800018008000100666962001c000280080001000000000808000200000000030800030000000002",
    ),
    "cmp R0 == local(2)": (
        ex.compare(0, nl.EQUAL, nl.word(nl.LOCAL)),
        "2c00018008000100636d700020000280080001000000000808000200000000000c0003800800010002000000",
    ),
    "ct status -> R0": (
        ex.ct_status(0),
        "2000018007000100637400001400028008000100000000080800020000000002",
    ),
    "ct state -> R0": (
        ex.ct_state(0),
        "2000018007000100637400001400028008000100000000080800020000000000",
    ),
    "bitwise R0 = R0 & 0x20": (
        ex.bitwise(0, nl.word(0x20), nl.word(0)),
        "440001800c000100626974776973650034000280080001000000000808000200"
        "0000000808000300000000040c00048008000100200000000c00058008000100"
        "00000000",
    ),
    "cmp R0 != 0": (
        ex.compare(0, nl.UNEQUAL, nl.word(0)),
        "2c00018008000100636d700020000280080001000000000808000200000000010c0003800800010000000000",
    ),
    "meta mark -> R0": (
        ex.meta(0, nl.META_MARK),
        "24000180090001006d657461000000001400028008000100000000080800020000000003",
    ),
    "mark |= 0x4000 (bitwise)": (
        ex.bitwise(0, nl.word(0xFFFFBFFF), nl.word(0x4000)),
        "440001800c000100626974776973650034000280080001000000000808000200"
        "0000000808000300000000040c00048008000100ffbfffff0c00058008000100"
        "00400000",
    ),
    "meta mark set R0": (
        ex.set_mark(0),
        "24000180090001006d657461000000001400028008000200000000030800030000000008",
    ),
    "dynset update 'affinity' key R0 data R4 2 s": (
        ex.remember("affinity", 0, 4, 2000),
        "480001800b00010064796e7365740000380002800d000100616666696e697479"
        "0000000008000300000000010800040000000008080005000000000c0c000600"
        "00000000000007d0",
    ),
    "dynset delete 'affinity' key R0 data R4": (
        ex.forget("affinity", 0, 4),
        "3c0001800b00010064796e73657400002c0002800d000100616666696e697479"
        "0000000008000300000000020800040000000008080005000000000c",
    ),
    "reject icmp port-unreach": (
        ex.reject(4, reset=False),
        "240001800b00010072656a65637400001400028008000100000000000500020003000000",
    ),
    "reject icmpv6 port-unreach": (
        ex.reject(6, reset=False),
        "240001800b00010072656a65637400001400028008000100000000000500020004000000",
    ),
    "goto 'reject'": (
        ex.verdict(Verdict.GOTO, "reject"),
        "3c0001800e000100696d6d656469617465000000280002800800010000000000"
        "1c0002801800028008000100fffffffc0b00020072656a6563740000",
    ),
    "drop": (
        ex.verdict(Verdict.DROP),
        "300001800e000100696d6d6564696174650000001c0002800800010000000000100002800c0002800800010000000000",
    ),
    "ELEM svc 10.96.0.1.tcp.80 -> id 7 . variant 2": (
        element(KEY, nl.word(7) + nl.word(2)),
        "2800018014000180100001000a6000010600000000500000100002800c0001000700000002000000",
    ),
    "ELEM endpoints ...index 1 -> 10.1.0.2:8080": (
        element(KEY + nl.word(1), bytes.fromhex("0a0100021f900000")),
        "2c00018018000180140001000a600001060000000050000001000000100002800c0001000a0100021f900000",
    ),
    "ELEM delete endpoints key": (
        element(KEY + nl.word(1)),
        "1c00018018000180140001000a600001060000000050000001000000",
    ),
    "ELEM variant 2 -> goto pick_2": (
        nl.verdict_element(nl.word(2), Verdict.GOTO, "pick_2"),
        "2c0001800c00018008000100020000001c0002801800028008000100fffffffc0b0002007069636b5f320000",
    ),
    "MSG type 0": (
        nl.message(Message.NEWTABLE, socket.AF_INET, table="kp", flags=nl.CREATE),
        "1c000000000a0104000000000000000002000000070001006b700000",
    ),
    "BATCH_BEGIN": (
        nl.batch(nl.BATCH_BEGIN),
        "140000001000010000000000000000000000000a",
    ),
    "BATCH_END": (
        nl.batch(nl.BATCH_END),
        "140000001100010000000000000000000000000a",
    ),
}


@pytest.mark.skipif(sys.byteorder != "little", reason="the bytes were recorded on a little-endian machine")
@pytest.mark.parametrize("name", GOLDEN)
def test_the_bytes_are_those_the_kernel_took(name: str) -> None:
    made, recorded = GOLDEN[name]

    assert made.hex() == recorded


@given(st.lists(st.tuples(st.binary(min_size=4, max_size=40), st.integers(1, 2**32 - 1)), min_size=1))
def test_what_was_encoded_is_decoded(rows: list[tuple[bytes, int]]) -> None:
    encoded = [nl.nest(1, nl.value(1, key), nl.value(2, nl.word(number))) for key, number in rows]
    (message,) = nl.lists(Message.NEWSETELEM, socket.AF_INET, "kp", "svc", encoded)
    ((_, _, _, _, body),) = nl.messages(message)

    assert [(one.key, nl.unword(one.value)) for one in nl.elements(body[4:])] == rows


@given(st.binary())
def test_any_bytes_are_a_value_or_an_error_of_ours(data: bytes) -> None:
    for decode in (nl.fields, nl.messages, nl.elements, nl.said):
        try:
            list(decode(data))
        except nl.WireError:
            continue


def test_long_lists_are_cut_into_messages_a_netlink_attribute_can_hold() -> None:
    made = nl.lists(Message.NEWSETELEM, socket.AF_INET, "kp", "svc", [bytes(40)] * 10_000)

    assert len(made) > 1
    assert all(struct.unpack_from("=I", one)[0] == len(one) < 65_536 for one in made)
    assert sum(len(nl.fields(one[20:])[3]) for one in made) == 400_000


@given(st.lists(st.lists(st.binary(max_size=50), min_size=1, max_size=4)), st.integers(60, 300))
def test_transactions_keep_units_whole_and_in_order(units: list[list[bytes]], most: int) -> None:
    packed = list(kernel.chunks(units, most))

    assert [one for part in packed for one in part] == [one for unit in units for one in unit]
    ends = {sum(len(u) for u in units[:n]) for n in range(len(units) + 1)}
    at = 0
    for part in packed:
        at += len(part)
        assert at in ends
