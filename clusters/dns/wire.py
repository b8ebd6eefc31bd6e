"""Bytes of a DNS message → bytes of its answer. Total: any bytes give an answer or nothing, no exception.

Rules: RFC 1035 (messages, truncation), RFC 6891 (EDNS: payload size, version).
"""

from __future__ import annotations

from collections.abc import Callable

import dnslib

from clusters.dns.records import TTL, Answer, Record, Zone

_HEADER = 12
_FORMERR, _NOTIMP, _REFUSED, _BADVERS = 1, 4, 5, 16
_SMALLEST, _LARGEST = 512, 4096  # bytes of a UDP answer: without EDNS, and the most that EDNS may ask for
LONGEST_TCP = 65535

_DATA: dict[str, Callable[[str], dnslib.RD]] = {
    "A": dnslib.A,
    "AAAA": dnslib.AAAA,
    "CNAME": dnslib.CNAME,
    "NS": dnslib.NS,
    "PTR": dnslib.PTR,
    "TXT": dnslib.TXT,
    "SRV": lambda text: _srv(*text.split(" ")),
    "SOA": lambda text: _soa(*text.split(" ")),
}


def _srv(priority: str, weight: str, port: str, target: str) -> dnslib.RD:
    return dnslib.SRV(int(priority), int(weight), int(port), target)


def _soa(first: str, mail: str, *times: str) -> dnslib.RD:
    return dnslib.SOA(first, mail, tuple(int(text) for text in times))


def respond(data: bytes, zone: Zone, *, tcp: bool = False) -> bytes | None:
    """The answer to one message; None for what must not be answered (too short, or itself an answer)."""
    if len(data) < _HEADER or data[2] & 0x80:
        return None
    if (data[2] >> 3) & 0xF:
        return _bare(data, _NOTIMP)
    try:
        query = dnslib.DNSRecord.parse(data)
    except Exception:  # dnslib raises errors of many kinds on bytes from outside; all mean the same here
        return _bare(data, _FORMERR)
    if len(query.questions) != 1:
        return _bare(data, _FORMERR)
    try:
        return _answer(query, zone, tcp=tcp)
    except (ValueError, dnslib.DNSError, UnicodeError):  # a name that cannot be written again
        return _bare(data, _FORMERR)


def _bare(data: bytes, code: int) -> bytes:
    """A header alone: the query's number, opcode and RD, the QR bit and ``code``."""
    return data[:2] + bytes([0x80 | data[2] & 0x79, code]) + bytes(8)


def _answer(query: dnslib.DNSRecord, zone: Zone, *, tcp: bool) -> bytes:
    question = query.questions[0]
    options = [record for record in query.ar if record.rtype == dnslib.QTYPE.OPT]
    size = LONGEST_TCP if tcp else min(max(options[0].rclass if options else 0, _SMALLEST), _LARGEST)
    if options and (options[0].ttl >> 16) & 0xFF:  # an EDNS version above 0
        found, extended = Answer(), _BADVERS >> 4
    elif question.qclass not in (dnslib.CLASS.IN, 255):
        found, extended = Answer(_REFUSED), 0
    else:
        found, extended = zone.answer(str(question.qname), _kind(question.qtype)), 0
    edns = [dnslib.EDNS0(udp_len=_LARGEST, ext_rcode=extended)] if options else []
    rows = [_row(record) for record in found.records]
    authority = [_row(record) for record in found.authority]
    additional = [_row(record) for record in found.additional]
    header = dnslib.DNSHeader(
        id=query.header.id, qr=1, aa=int(found.code != _REFUSED), rd=query.header.rd, rcode=found.code)

    def packed(count: int, extra: list[dnslib.RR], *, cut: bool) -> bytes:
        header.tc = int(cut)
        message = dnslib.DNSRecord(header, q=question, rr=rows[:count], auth=authority, ar=extra + edns)
        return bytes(message.pack())

    whole = packed(len(rows), additional, cut=False)
    if len(whole) <= size:
        return whole
    whole = packed(len(rows), [], cut=False)  # additional records may be left out silently (RFC 2181 §9)
    if len(whole) <= size:
        return whole
    least, most = 0, len(rows) - 1
    while least < most:
        middle = (least + most + 1) // 2
        least, most = (middle, most) if len(packed(middle, [], cut=True)) <= size else (least, middle - 1)
    return packed(least, [], cut=True)


def _kind(number: int) -> str:
    return str(dnslib.QTYPE.forward.get(number, f"TYPE{number}"))


def _row(record: Record) -> dnslib.RR:
    number = getattr(dnslib.QTYPE, record.kind)
    return dnslib.RR(record.name, number, dnslib.CLASS.IN, TTL, _DATA[record.kind](record.data))
