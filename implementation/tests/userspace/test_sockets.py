"""Real sockets of mode userspace, in namespaces of their own."""

from __future__ import annotations

import fcntl
import hashlib
import os
import socket
import termios
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from implementation.dataplane.userspace import datagrams, pump
from implementation.dataplane.userspace.datagrams import Datagrams
from implementation.dataplane.userspace.listener import Listener
from implementation.dataplane.userspace.pump import Pump
from implementation.dataplane.userspace.turns import Clients, Turns
from implementation.state.desired import Endpoint
from implementation.tests.lab import eventually, inside, sh

pytestmark = pytest.mark.kernel
MARK, BIG = 0x4000, 6 << 20
Door = Listener | Datagrams


def opened(sort: type[Listener] | type[Datagrams], *ports: int) -> tuple[Pump, Door, Turns]:
    """A door with endpoints on these ports of loopback."""
    sh("ip link set lo up")
    pump, turns = Pump(), Turns(Clients())
    turns.replace(tuple(Endpoint("127.0.0.1", port) for port in ports))
    return pump, pump.call(lambda: sort(pump, 4, turns, MARK)), turns


def server(job: Callable[[socket.socket], None]) -> int:
    """The port of a server that does ``job`` with each connection."""
    listening = socket.create_server(("127.0.0.1", 0), backlog=100)

    def serve() -> None:
        while True:
            threading.Thread(target=job, args=(listening.accept()[0],), daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    return int(listening.getsockname()[1])


def client(door: Door) -> socket.socket:
    made = socket.create_connection(("127.0.0.1", door.port), 10)
    made.settimeout(60)
    return made


def whole(made: socket.socket) -> bytes:
    """Everything up to the end of the stream."""
    return b"".join(iter(lambda: made.recv(1 << 16), b""))


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def free_port() -> int:
    """A port on which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as made:
        return int(made.getsockname()[1])


def filled(made: socket.socket) -> int:
    """Sends until nobody takes anything for a while; the number of bytes taken."""
    made.setblocking(False)
    sent, silent = 0, 0
    while silent < 20:
        try:
            sent += made.send(bytes(1 << 16))
            silent = 0
        except BlockingIOError:
            silent += 1
            threading.Event().wait(0.01)
    made.setblocking(True)
    return sent


def half_close() -> Any:
    def digest(made: socket.socket) -> None:
        said = hashlib.sha256(whole(made)).hexdigest()  # answers only after the end was seen
        made.sendall(said.encode() * 10_000)
        made.close()

    _, door, _ = opened(Listener, server(digest))
    data = os.urandom(BIG)
    made = client(door)
    made.sendall(data)
    made.shutdown(socket.SHUT_WR)
    return whole(made).decode() == hashlib.sha256(data).hexdigest() * 10_000


def test_bytes_arrive_unchanged_and_each_direction_ends_by_itself() -> None:
    assert inside(half_close, timeout=90)


def one_round() -> Any:
    pump.ROUNDS = 1  # the end of the stream is met when a turn is used up
    return half_close()


def test_an_end_met_in_the_last_round_of_a_turn_is_passed_on() -> None:
    assert inside(one_round, timeout=90)


def hung_up() -> Any:
    backend = []
    _, door, _ = opened(Listener, server(backend.append))
    made = client(door)
    made.shutdown(socket.SHUT_WR)
    eventually(lambda: bool(backend))
    sent, read = filled(backend[0]), 0
    unsent = bytearray(4)
    while fcntl.ioctl(backend[0], termios.TIOCOUTQ, unsent) or any(unsent):  # what is left waits in the pump
        read += len(made.recv(1 << 14))
    backend[0].close()
    threading.Event().wait(0.1)
    began = time.process_time()
    threading.Event().wait(0.5)
    spent = time.process_time() - began
    return [spent, sent, read, len(whole(made))]


def test_a_backend_that_has_hung_up_costs_nothing_while_the_client_reads_late() -> None:
    seconds, sent, early, late = inside(hung_up)

    assert seconds < 0.2 and late > 0 and early + late == sent


def pressure() -> Any:
    go, got = threading.Event(), []

    def slow(made: socket.socket) -> None:
        go.wait()
        got.append(len(whole(made)))
        made.close()

    _, door, _ = opened(Listener, server(slow))
    made = client(door)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 16)
    sent = filled(made)
    go.set()
    made.shutdown(socket.SHUT_WR)
    return [sent, whole(made).decode(), eventually(lambda: got == [sent])]


def test_a_slow_reader_holds_the_sender_up_and_nothing_is_lost() -> None:
    sent, rest, same = inside(pressure, timeout=90)

    assert 0 < sent < 64 << 20  # bounded by buffers, not by memory
    assert (rest, same) == ("", True)


def resets() -> Any:
    seen = []

    def hear(made: socket.socket) -> None:
        made.sendall(b"hello")
        try:
            seen.append(whole(made).decode())
        except ConnectionResetError:
            seen.append("reset")

    _, door, _ = opened(Listener, server(hear))
    made = client(door)
    made.recv(5)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    made.close()
    eventually(lambda: bool(seen))
    return seen


def test_a_reset_is_passed_on() -> None:
    assert inside(resets) == ["reset"]


def dialling() -> Any:
    good = server(lambda made: (made.sendall(b"good"), made.close())[1])
    pump, door, turns = opened(Listener, free_port(), good)
    served = {whole(client(door)) for _ in range(20)}
    dead = Endpoint("127.0.0.1", free_port())
    pump.call(lambda: turns.replace((dead,)))
    try:
        none = whole(client(door)).decode()
    except ConnectionResetError:
        none = "reset"
    return [sorted(one.decode() for one in served), none]


def test_an_endpoint_that_refuses_is_passed_over_and_without_any_the_client_is_reset() -> None:
    assert inside(dialling) == [["good"], "reset"]


def reused() -> Any:
    turning, heard = Pump(), []

    def first(_events: int) -> None:
        for made in pair:
            turning.forget(made.fileno())
            made.close()
        fresh.extend(socket.socketpair())  # with the numbers of the two: the second event is not for them
        for made in fresh:
            turning.watch(made.fileno(), pump.READ, heard.append)

    pair, fresh = socket.socketpair(), list[socket.socket]()
    numbers = [made.fileno() for made in pair]
    for made in pair:
        made.send(b"x")

    def start() -> None:
        for made in pair:
            turning.watch(made.fileno(), pump.READ, first)

    turning.call(start)
    eventually(lambda: bool(fresh))
    turning.call(lambda: None)
    turning.call(lambda: None)  # the round of both events is over
    return [sorted(made.fileno() for made in fresh) == sorted(numbers), list(heard)]


def test_an_event_of_a_closed_socket_is_not_told_to_the_next_with_its_number() -> None:
    assert inside(reused) == [True, []]


def idle() -> Any:
    pump, door, _ = opened(Listener, server(lambda made: (made.sendall(b"x"), made.recv(1), made.close())[2]))
    whole_first = client(door)
    whole_first.recv(1)
    base = descriptors()
    held = [client(door) for _ in range(50)]
    for made in held:
        made.recv(1)
    each = (descriptors() - base) / 50
    pump.call(door.close)  # no more are accepted, those that are there go on
    for made in held:
        made.sendall(b"y")
    ended = [whole(made) for made in held]
    for made in held:
        made.close()
    return [each, set(map(len, ended)) == {0}, eventually(lambda: descriptors() <= base)]


def test_an_idle_connection_costs_few_descriptors_and_outlives_its_door() -> None:
    each, ended, freed = inside(idle)

    assert each <= 4 + 0.5  # two of ours; the client's and the server's ends are in this process as well
    assert ended and freed


def udp_echo(name: bytes) -> socket.socket:
    made = socket.socket(type=socket.SOCK_DGRAM)
    made.bind(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            data, peer = made.recvfrom(65535)
            made.sendto(name + data, peer)

    threading.Thread(target=serve, daemon=True).start()
    return made


def sessions() -> Any:
    servers = {name: udp_echo(name) for name in (b"a", b"b")}
    ports = {name: made.getsockname()[1] for name, made in servers.items()}
    pump, door, turns = opened(Datagrams, *ports.values())
    assert isinstance(door, Datagrams)
    clients = [socket.socket(type=socket.SOCK_DGRAM) for _ in range(4)]

    def said(made: socket.socket, data: bytes = b"?", to: Door = door) -> bytes:
        made.settimeout(5)
        made.connect(("127.0.0.1", to.port))  # so that only answers from there arrive
        made.send(data)
        return made.recv(65535)

    first = [[said(made) for _ in range(3)] for made in clients]
    big = len(said(clients[0], bytes(60_000)))
    pump.call(lambda: turns.replace((Endpoint("127.0.0.1", ports[b"b"]),)))
    pump.call(lambda: door.leave([f"127.0.0.1:{ports[b'b']}"]))
    after = {said(made) for made in clients}
    held = len(door)
    datagrams.UNANSWERED_SECONDS = datagrams.IDLE_SECONDS = 0.2
    brief = pump.call(lambda: Datagrams(pump, 4, turns, MARK))
    answered = said(clients[0], to=brief).decode()
    return {
        "one each": all(len(set(answers)) == 1 for answers in first),
        "shared": sorted(answers[0].decode() for answers in first),
        "big": big,
        "after": [one.decode() for one in after],
        "held": held,
        "answered": answered,
        "idle": eventually(lambda: len(brief) == 0),
        "kept": len(door),
    }


def test_a_udp_client_keeps_its_endpoint_until_that_is_gone_or_it_was_idle() -> None:
    seen = inside(sessions)

    assert seen == {
        "one each": True,
        "shared": ["a?", "a?", "b?", "b?"],
        "big": 60_001,
        "after": ["b?"],
        "held": 4,
        "answered": "b?",
        "idle": True,
        "kept": 4,
    }
