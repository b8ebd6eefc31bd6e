"""The DNS server over loopback: UDP, TCP, readiness, and arguments that cannot be used."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import dnslib
import pytest

from clusters.dns.server import Server, endpoint_of, main
from clusters.tests.test_dns_records import SVC, directory, many


@pytest.fixture
async def server() -> AsyncIterator[tuple[Server, int]]:
    made = Server()
    made.directory = made.zone.directory = directory()
    port = await made.listen("127.0.0.1", 0)
    yield made, port
    await made.close()


async def udp(port: int, data: bytes) -> bytes:
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setblocking(False)
        sock.connect(("127.0.0.1", port))
        await loop.sock_sendall(sock, data)
        return await asyncio.wait_for(loop.sock_recv(sock, 65535), 2)


async def test_udp_answers_also_after_nonsense(server: tuple[Server, int]) -> None:
    loop, port = asyncio.get_running_loop(), server[1]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setblocking(False)
        sock.connect(("127.0.0.1", port))
        for scrap in (b"", b"\x00", b"\xff" * 600):
            await loop.sock_sendall(sock, scrap)
    answer = dnslib.DNSRecord.parse(await udp(port, dnslib.DNSRecord.question(f"web.{SVC}").pack()))
    assert [str(r.rdata) for r in answer.rr] == ["10.43.7.203"]


async def test_tcp_serves_several_questions_and_whole_answers(server: tuple[Server, int]) -> None:
    server[0].zone.directory = many(500).directory
    reader, writer = await asyncio.open_connection("127.0.0.1", server[1])
    query = dnslib.DNSRecord.question(f"db.{SVC}").pack()
    for _ in range(2):
        writer.write(len(query).to_bytes(2, "big") + query)
        length = int.from_bytes(await asyncio.wait_for(reader.readexactly(2), 2), "big")
        assert len(dnslib.DNSRecord.parse(await reader.readexactly(length)).rr) == 500
    writer.write(b"\x00\x03abc")  # not a message: the connection ends
    assert await asyncio.wait_for(reader.read(), 2) == b""
    writer.close()
    cut = dnslib.DNSRecord.parse(await udp(server[1], query))
    assert cut.header.tc == 1


async def test_readiness_is_told_over_http(server: tuple[Server, int]) -> None:
    port = await server[0].serve_ready("127.0.0.1", 0)
    async with aiohttp.ClientSession() as session:
        async with session.get(f"http://127.0.0.1:{port}/ready") as response:
            assert response.status == 503
        server[0].ready.set()
        async with session.get(f"http://127.0.0.1:{port}/ready") as response:
            assert (response.status, await response.text()) == (200, "OK")


async def test_both_families_can_be_served_on_one_port(server: tuple[Server, int]) -> None:
    made = Server()
    port = await made.listen("0.0.0.0", 0)
    assert await made.listen("::", port) == port
    with pytest.raises(OSError, match="in use"):
        await made.listen("0.0.0.0", port)
    await made.close()


@pytest.mark.parametrize(
    ("text", "expected"),
    [("0.0.0.0:53", ("0.0.0.0", 53)), ("[::]:53", ("::", 53)), (":8181", ("0.0.0.0", 8181))],
)
def test_addresses_of_arguments(text: str, expected: tuple[str, int]) -> None:
    assert endpoint_of(text) == expected


@pytest.mark.parametrize("text", ["53", "a:b", "1.2.3.4:70000", ""])
def test_a_wrong_address_is_refused_with_what_was_expected(text: str) -> None:
    with pytest.raises(ValueError, match="expected ADDR:PORT"):
        endpoint_of(text)


def test_a_missing_kubeconfig_ends_with_status_2_and_one_sentence(
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    assert main(["--kubeconfig", str(tmp_path / "none")]) == 2
    said = capfd.readouterr().err.strip()
    assert said.startswith("cluster DNS cannot start:")
    assert "\n" not in said
