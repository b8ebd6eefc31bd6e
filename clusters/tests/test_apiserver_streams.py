"""Logs, exec, attach, port-forward: from HTTP and WebSocket to a kubelet's socket; the test plays that."""

from __future__ import annotations

import json
import socket
import ssl
import struct
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import websocket
from hypothesis import given
from hypothesis import strategies as st

from clusters.apiserver.portforward import ports_of
from clusters.apiserver.status import Refused
from clusters.apiserver.streams import container_of, end_status, log_request
from clusters.tests.test_apiserver_fixture import Server, started

HEAD = struct.Struct(">BI")


class PlayedKubelet:
    """Answers each connection by its pod's name: refuses, logs, or echoes what is typed."""

    def __init__(self, path: str) -> None:
        self.asked: list[dict[str, Any]] = []
        self.gone = threading.Event()  # a follower's connection has been closed
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(path)
        self._listener.listen()
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        with connection, connection.makefile("rb") as reader:
            asked = json.loads(reader.readline())
            self.asked.append(asked)
            if asked["pod"] == "refused":
                told = {
                    "ok": False,
                    "code": 404,
                    "reason": "NotFound",
                    "error": "no previous container",
                }
                connection.sendall(json.dumps(told).encode() + b"\n")
                return
            connection.sendall(b'{"ok":true}\n')
            if asked["op"] == "logs":
                connection.sendall(b"first\nsecond\n")
                if asked["follow"]:
                    reader.read(1)
                    self.gone.set()
                return
            if asked["op"] == "portforward":
                while line := reader.readline():
                    connection.sendall(f"{asked['port']} got ".encode() + line)
                return
            self._command(connection, reader, asked)

    def _command(self, connection: socket.socket, reader: Any, asked: dict[str, Any]) -> None:
        def send(channel: int, data: bytes) -> None:
            connection.sendall(HEAD.pack(channel, len(data)) + data)

        send(1, " ".join(asked.get("command", ["attached"])).encode() + b"\n")
        while asked["stdin"]:
            channel, size = HEAD.unpack(reader.read(HEAD.size))
            data = reader.read(size)
            if channel == 255:
                break
            send(2 if channel == 4 else 1, data)
        send(3, json.dumps({"status": 3 if "fail" in asked.get("command", ()) else 0}).encode())


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, PlayedKubelet]]:
    folder = tmp_path_factory.mktemp("streams")
    kubelet = PlayedKubelet(str(folder / "kubelet"))
    with started(folder, "--kubelet-socket", str(folder / "kubelet")) as server:
        for name, containers in (("one", "a"), ("two", "ab"), ("refused", "a"), ("nowhere", "a")):
            spec: dict[str, Any] = {"containers": [{"name": c, "image": "debian"} for c in containers]}
            if name != "nowhere":
                spec["nodeName"] = "here"
            server.ok("POST", "/api/v1/namespaces/default/pods", {"metadata": {"name": name}, "spec": spec})
        yield server, kubelet
    kubelet.close()


def pod(name: str, sub: str) -> str:
    return f"/api/v1/namespaces/default/pods/{name}/{sub}"


def test_a_log_is_plain_text_with_what_was_asked(played: tuple[Server, PlayedKubelet]) -> None:
    server, kubelet = played
    query = {"tailLines": "5", "timestamps": "true", "sinceSeconds": "60", "limitBytes": "100"}
    answer = server.session.get(
        server.url + pod("two", "log"), params={"container": "b", **query}, timeout=10
    )
    assert (answer.text, answer.headers["Content-Type"]) == ("first\nsecond\n", "text/plain")
    assert kubelet.asked[-1] == {
        "op": "logs", "namespace": "default", "pod": "two", "container": "b", "follow": False,
        "previous": False, "timestamps": True, "tail": 5, "since": 60, "limit": 100,
    }  # fmt: skip


def test_following_a_log_ends_with_the_reader(played: tuple[Server, PlayedKubelet]) -> None:
    server, kubelet = played
    url = server.url + pod("one", "log")
    with server.session.get(url, params={"follow": "1"}, stream=True, timeout=10) as answer:
        lines = answer.iter_lines(chunk_size=1)
        assert [next(lines), next(lines)] == [b"first", b"second"]
    assert kubelet.gone.wait(5)


@pytest.mark.parametrize(
    ("name", "query", "code", "words"),
    [
        ("two", {}, 400, "a container name must be specified for pod two, choose one of: [a b]"),
        ("two", {"container": "c"}, 400, "container c is not valid for pod two"),
        ("refused", {"previous": "1"}, 404, "no previous container"),
        ("nobody", {}, 404, 'pods "nobody" not found'),
        ("one", {"tailLines": "x"}, 400, "tailLines must be a whole number"),
        ("one", {"sinceTime": "x"}, 400, "sinceTime: Invalid value"),
    ],
)
def test_logs_that_cannot_be_had(
    played: tuple[Server, PlayedKubelet], name: str, query: dict[str, str], code: int, words: str
) -> None:
    found, _, message = played[0].refused("GET", pod(name, "log"), **query)
    assert found == code and words in message


def test_without_a_kubelet_it_is_said(tmp_path: Path) -> None:
    with started(tmp_path, "--kubelet-socket", str(tmp_path / "none")) as server:
        spec = {"nodeName": "here", "containers": [{"name": "a", "image": "debian"}]}
        server.ok("POST", "/api/v1/namespaces/default/pods", {"metadata": {"name": "p"}, "spec": spec})
        code, reason, message = server.refused("GET", pod("p", "log"))
        assert (code, reason) == (503, "ServiceUnavailable") and "does not answer" in message


def opened(server: Server, path: str, protocol: str = "v5.channel.k8s.io") -> websocket.WebSocket:
    return websocket.create_connection(
        server.url.replace("https", "wss") + path,
        header=[f"Authorization: Bearer {server.token}"],
        subprotocols=[protocol],
        sslopt={"ca_certs": server.ca, "cert_reqs": ssl.CERT_REQUIRED},
        timeout=10,
    )


def heard(connection: websocket.WebSocket) -> tuple[dict[int, bytes], dict[str, Any]]:
    """What came on each channel, and the status at the end."""
    found: dict[int, bytes] = {}
    while True:
        data = connection.recv()
        if data[:1] == b"\3" and len(data) > 1:
            return found, json.loads(data[1:])
        found[data[0]] = found.get(data[0], b"") + data[1:]


@pytest.mark.parametrize("protocol", ["v5.channel.k8s.io", "v4.channel.k8s.io"])
def test_a_command_runs_and_its_status_comes_back(
    played: tuple[Server, PlayedKubelet], protocol: str
) -> None:
    server, kubelet = played
    path = pod("one", "exec") + "?command=fail&command=a%20b&stdout=true&stderr=true"
    connection = opened(server, path, protocol)
    assert connection.getsubprotocol() == protocol
    found, status = heard(connection)
    assert found[1] == b"fail a b\n" and kubelet.asked[-1]["command"] == ["fail", "a b"]
    assert status["reason"] == "NonZeroExitCode"
    assert status["details"]["causes"] == [{"reason": "ExitCode", "message": "3"}]


def test_what_is_typed_arrives_and_its_end_too(played: tuple[Server, PlayedKubelet]) -> None:
    server, kubelet = played
    connection = opened(server, pod("one", "attach") + "?stdin=true&stdout=true&tty=true")
    connection.send_binary(b'\4{"Width":80,"Height":24}')
    connection.send_binary(b"\0hello")
    connection.send_binary(b"\xff\0")
    found, status = heard(connection)
    assert found[1] == b"attached\nhello" and found[2] == b'{"Width":80,"Height":24}'
    assert status["status"] == "Success" and kubelet.asked[-1]["tty"] is True


def test_what_the_kubelet_refuses_is_told_on_the_last_channel(played: tuple[Server, PlayedKubelet]) -> None:
    _, status = heard(opened(played[0], pod("refused", "exec") + "?command=x&stdout=true"))
    assert status["message"] == "Internal error occurred: no previous container" and status["code"] == 500


def test_a_pod_on_no_node_has_an_empty_log_and_runs_nothing(played: tuple[Server, PlayedKubelet]) -> None:
    server, _ = played
    assert server.session.get(server.url + pod("nowhere", "log"), timeout=10).text == ""
    message = server.refused("GET", pod("nowhere", "exec"), command="x")[2]
    assert message == "pod nowhere does not have a host assigned"


def test_two_ports_go_over_channels_of_their_own(played: tuple[Server, PlayedKubelet]) -> None:
    connection = opened(played[0], pod("one", "portforward") + "?ports=80,8080", "v4.channel.k8s.io")
    heads = {connection.recv()[:3] for _ in range(4)}
    assert heads == {bytes([n]) + struct.pack("<H", port) for n, port in enumerate((80, 80, 8080, 8080))}
    connection.send_binary(b"\2hello\n")
    assert connection.recv() == b"\x028080 got hello\n"
    connection.send_binary(b"\0you\n")
    assert connection.recv() == b"\x0080 got you\n"
    connection.close()


def test_a_forward_that_the_kubelet_refuses_says_why_on_its_error_channel(
    played: tuple[Server, PlayedKubelet],
) -> None:
    connection = opened(played[0], pod("refused", "portforward") + "?ports=81", "v4.channel.k8s.io")
    assert connection.recv() and connection.recv()
    assert connection.recv() == b"\1no previous container"


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ([], 'query parameter "ports" is required'),
        (["x"], 'unable to parse "x" as a port'),
        (["80,0"], 'unable to parse "0" as a port'),
        (["65536"], "it must be 1 to 65535"),
    ],
)
def test_a_forward_needs_ports(values: list[str], words: str) -> None:
    assert ports_of(["80,81", "82"]) == [80, 81, 82]
    with pytest.raises(Refused, match=words):
        ports_of(values)


def test_exec_wants_a_command_and_an_upgrade(played: tuple[Server, PlayedKubelet]) -> None:
    server, _ = played
    assert "at least 1 command" in server.refused("GET", pod("one", "exec"), stdout="1")[2]
    assert "Upgrade request required" in server.refused("POST", pod("one", "exec"), command="x")[2]


@given(st.binary(max_size=40))
def test_any_end_is_a_status(data: bytes) -> None:
    assert end_status(data)["status"] in {"Success", "Failure"}


@given(st.dictionaries(st.sampled_from(["sinceTime", "sinceSeconds", "tailLines", "limitBytes"]), st.text()))
def test_any_query_is_a_request_or_a_refusal(query: dict[str, str]) -> None:
    try:
        assert log_request(query, 0.0)["op"] == "logs"
    except Refused as refused:
        assert refused.code == 400


def test_the_default_container_is_the_one_named_by_the_annotation() -> None:
    found = {
        "metadata": {"name": "p", "annotations": {"kubectl.kubernetes.io/default-container": "b"}},
        "spec": {"containers": [{"name": "a"}, {"name": "b"}]},
    }
    assert container_of(found, "") == "b" and container_of(found, "a") == "a"
