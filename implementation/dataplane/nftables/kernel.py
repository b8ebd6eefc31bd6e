"""Talks to nf_tables over AF_NETLINK: transactions, dumps, and notices of what others change."""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Iterable, Iterator, Sequence

from implementation.dataplane import DataplaneError
from implementation.dataplane.nftables import netlink as nl
from implementation.dataplane.nftables.netlink import Message

NETFILTER, GROUP = 12, 7  # NETLINK_NETFILTER, NFNLGRP_NFTABLES
SOL_NETLINK, ADD_MEMBERSHIP, DROP_MEMBERSHIP, CAP_ACK, EXT_ACK = 270, 1, 2, 10, 11
SNDBUFFORCE, RCVBUFFORCE, ATTACH_FILTER = 32, 33, 26
WANTED_BUFFER, RECEIVED = 1 << 27, 1 << 20
OVERHEAD = 32  # the kernel refuses a message longer than the buffer less this
SECONDS = 60  # how long the kernel may take to answer


class Refused(DataplaneError):
    """The kernel refused a transaction: nothing of it is in force. ``number`` is the errno."""

    def __init__(self, number: int, message: int, words: str) -> None:
        super().__init__(f"{errno.errorcode.get(number, number)}: {os.strerror(number)}{words}")
        self.number, self.message = number, message


class Interrupted(DataplaneError):
    """Somebody changed the tables while they were read: read again."""


class Kernel:
    """One socket for transactions and dumps. Not for use by two threads at once."""

    def __init__(self, buffer: int = WANTED_BUFFER) -> None:
        try:
            self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, NETFILTER)
            _buffer(self._socket, SNDBUFFORCE, socket.SO_SNDBUF, buffer)
            _buffer(self._socket, RCVBUFFORCE, socket.SO_RCVBUF, 8 << 20)
            self._socket.setsockopt(SOL_NETLINK, EXT_ACK, 1)
            self._socket.setsockopt(SOL_NETLINK, CAP_ACK, 1)
            self._socket.bind((0, 0))
        except OSError as error:
            raise DataplaneError(
                f"nf_tables cannot be reached by netlink: {error}; is it in the kernel?"
            ) from error
        limit = struct.pack("@ll", SECONDS, 0)  # a timeout of Python's own would make MSG_DONTWAIT wait too
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)
        self._sequence = 0
        self.commits = 0  # transactions of ours that came into force
        self.port: int = self._socket.getsockname()[0]
        self.most = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) - OVERHEAD

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def commit(self, every: Sequence[bytes]) -> None:
        """Put these messages into force as one transaction. Raises Refused with the index of the message."""
        if not every:
            return
        sent = [nl.batch(nl.BATCH_BEGIN)]
        sent += [nl.numbered(one, index) for index, one in enumerate(every[:-1], 1)]
        sent += [nl.numbered(every[-1], len(every), nl.ACK), nl.batch(nl.BATCH_END, len(every) + 1)]
        try:
            self._drain()
            self._socket.send(b"".join(sent))
            problem = self._answer(every)
        except OSError as error:
            raise DataplaneError(f"nf_tables: a transaction could not be sent: {error}") from error
        if problem is not None:
            raise problem
        self.commits += 1

    def generation(self) -> int:
        """The number of the tables' state; every transaction, whosever, makes it one more."""
        found = next(nl.fields(body) for body in self.dump(Message.GETGEN, socket.AF_UNSPEC))
        return int.from_bytes(found[1], "big")

    def _drain(self) -> None:
        """Throw away answers to what failed before."""
        while True:
            try:
                self._socket.recv(RECEIVED, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise

    def _answer(self, every: Sequence[bytes]) -> Refused | None:
        """The first error of a transaction, or None once its last message is acknowledged."""
        while True:
            for kind, flags, sequence, _port, body in nl.messages(self._socket.recv(RECEIVED)):
                if kind != nl.ERROR:
                    continue
                number = -struct.unpack_from("=i", body)[0]
                if number:
                    index = sequence - 1
                    named = f" at {nl.told(every[index])}" if 0 <= index < len(every) else ""
                    return Refused(number, index, named + _words(body, flags))
                if sequence == len(every):
                    return None

    def dump(self, kind: Message, family: int, *attributes: bytes, table: str = "") -> Iterator[bytes]:
        """The body of each message that answers a dump. Raises Refused, and Interrupted when it is torn."""
        self._sequence += 1
        asked = nl.message(kind, family, *attributes, table=table, flags=nl.DUMP, sequence=self._sequence)
        try:
            self._drain()
            self._socket.send(asked)
            while True:
                for found, flags, sequence, _port, body in nl.messages(self._socket.recv(RECEIVED)):
                    if sequence != self._sequence:
                        continue
                    if flags & nl.INTERRUPTED:
                        raise Interrupted("nf_tables was changed while it was read")
                    if found == nl.DONE:
                        return
                    if found == nl.ERROR:
                        raise Refused(-struct.unpack_from("=i", body)[0], 0, _words(body, flags))
                    yield body[4:]
        except OSError as error:
            raise DataplaneError(f"nf_tables could not be read: {error}") from error


class Notices:
    """Hears of every change by others. ``fileno`` becomes readable when there is something to look at."""

    def __init__(self, ours: int) -> None:
        """``ours`` is the port of the socket whose changes are no news."""
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, NETFILTER)
        _buffer(self._socket, RCVBUFFORCE, socket.SO_RCVBUF, 4 << 20)
        self._without(ours)
        self._socket.bind((0, 0))
        self._socket.setblocking(False)
        self.resume()

    def _without(self, port: int) -> None:
        """Have the kernel leave out what ``port`` did: our own changes would only fill the buffer."""
        program = b"".join(
            struct.pack("=HBBI", *step)
            for step in (
                (0x20, 0, 0, 12),  # load nlmsg_pid (the filter reads it in network order)
                (0x15, 0, 1, int.from_bytes(struct.pack("=I", port), "big")),  # ours?
                (0x06, 0, 0, 0),  # then nothing
                (0x06, 0, 0, 0xFFFFFFFF),  # else all of it
            )
        )
        held = bytearray(program)
        address = _address(held)
        self._socket.setsockopt(socket.SOL_SOCKET, ATTACH_FILTER, struct.pack("@HP", 4, address))

    def fileno(self) -> int:
        """The descriptor to wait on."""
        return self._socket.fileno()

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def resume(self) -> None:
        """Hear of changes from now on."""
        self._socket.setsockopt(SOL_NETLINK, ADD_MEMBERSHIP, GROUP)

    def pause(self) -> None:
        """Hear of nothing until :meth:`resume`, and forget what was heard. The kernel writes a notice of
        every row for whoever listens, even if that one passes it over, and it takes longer than the rows."""
        self._socket.setsockopt(SOL_NETLINK, DROP_MEMBERSHIP, GROUP)
        self.touched("")

    def touched(self, table: str) -> bool:
        """True when somebody changed ``table`` since the last call, or when notices were lost."""
        wanted, found = table.encode() + b"\0", False
        while True:
            try:
                data = self._socket.recv(RECEIVED)
            except BlockingIOError:
                return found
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise DataplaneError(f"notices of nf_tables cannot be read: {error}") from error
                found = True
                continue
            found = found or any(
                _names(body, wanted) for kind, _, _, _, body in nl.messages(data) if kind != _GEN
            )


_GEN = nl.SUBSYSTEM << 8 | Message.NEWGEN


def _names(body: bytes, wanted: bytes) -> bool:
    """True when the first attribute, in all messages but NEWGEN the table's name, is ``wanted``."""
    return next(nl.attributes(body[4:]), (0, b""))[1] == wanted


def _address(held: bytearray) -> int:
    import ctypes

    return ctypes.addressof((ctypes.c_char * len(held)).from_buffer(held))


def _buffer(made: socket.socket, force: int, ask: int, size: int) -> None:
    """Make a buffer as large as allowed: beyond the system's limit only with root's rights."""
    try:
        made.setsockopt(socket.SOL_SOCKET, force, size)
    except PermissionError:
        made.setsockopt(socket.SOL_SOCKET, ask, size)


def _words(body: bytes, flags: int) -> str:
    """What the kernel said beside the number, where it said something."""
    if not flags & 0x200:
        return ""
    found = nl.fields(body[20:])
    return f" ({nl.string(found[1])})" if 1 in found else ""


def chunks(units: Iterable[list[bytes]], most: int) -> Iterator[list[bytes]]:
    """Units, each of which must stay whole, packed into as few transactions of at most ``most`` bytes as
    their order allows."""
    packed: list[bytes] = []
    size = 60  # of the messages that begin and end a transaction
    for unit in units:
        length = sum(map(len, unit))
        if packed and size + length > most:
            yield packed
            packed, size = [], 60
        packed += unit
        size += length
    if packed:
        yield packed
