"""A real kube-apiserver, with etcd, that holds very many Services, for `ci/bench/proxy --apiserver`.

Its moment of acknowledgement is when its answer to a change has come. It is filled once; each proxy gets it
anew over the same data. What it takes from scale.py are the objects themselves, so both hold the same.
"""

from __future__ import annotations

import http.client
import itertools
import json
import ssl
import subprocess
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import scale

from clusters import controlplane
from clusters.netns import realplane

PORT, WRITERS, PATIENCE = 6443, 8, 120  # PATIENCE: seconds for each program
TOKEN = "bench"  # of a server in a namespace of its own, gone with it
SERVICES = "/api/v1/namespaces/scale/services"
SLICES = "/apis/discovery.k8s.io/v1/namespaces/scale/endpointslices"
NETWORK, PODS = "10.64.0.0/12", "10.128.0.0/9"  # the widest it takes; its own Service has the first address
AFRESH = 10_000  # addresses for each proxy, so that none finds a change made already
KUBECONFIG = """
apiVersion: v1
kind: Config
current-context: here
contexts: [{{name: here, context: {{cluster: c, user: u}}}}]
clusters: [{{name: c, cluster: {{server: "{url}", certificate-authority: {authority}}}}}]
users: [{{name: u, user: {{token: {token}}}}}]
"""


def plain(made: dict[str, Any], kind: str, version: str) -> dict[str, Any]:
    """An object of scale.py as a client writes it: what the server gives is left out."""
    meta = {name: made["metadata"][name] for name in ("name", "labels", "namespace")}
    return {"kind": kind, "apiVersion": version, **made, "metadata": meta}


class Server:
    """The same as feed.Feed to who measures; ``listed`` stays 0, as nobody tells when a list is out."""

    def __init__(self, size: int, programs: Path) -> None:
        self.size, self.spare, self.listed = size, 0, 0.0
        self._folder = Path(tempfile.mkdtemp())
        self._where = controlplane.Where(
            "127.0.0.1", PORT, NETWORK, PODS, 40.0, self._folder, str(self._folder / "etcd")
        )
        self._programs = programs
        self._processes: list[subprocess.Popen[bytes]] = []
        self._addresses: dict[int, list[str]] = {}
        self._calls: Calls | None = None
        realplane.keys(self._where.pki)
        (self._folder / "tokens.csv").write_text(controlplane.token_table({"kubernetes-admin": TOKEN}))

    def kubeconfig(self, url: str) -> str:
        """What a client needs to reach it."""
        return KUBECONFIG.format(url=url, authority=self._where.pki / "ca.crt", token=TOKEN)

    def start(self, host: str) -> str:
        """Start both programs, fill the server unless it is; gives the URL. RuntimeError with a log's end."""
        self._run("etcd", *controlplane.etcd(self._where))
        self._run("kube-apiserver", *controlplane.api_server(self._where))
        self._calls = Calls(host, self._where.pki / "ca.crt")
        self._until_ready()
        filled = self._folder / "filled"  # a letter for each start: every proxy runs in a process of its own
        if not filled.exists():
            self._fill(host)
        with filled.open("a+") as file:
            file.seek(0)
            self.spare = AFRESH * len(file.read())
            file.write("x")
        return f"https://{host}:{PORT}"

    def watched(self) -> bool:
        """True: a proxy has read all before it serves the last, and follows from then on."""
        return True

    def replace(self, number: int) -> tuple[str, float]:
        """Replace the older endpoint of Service ``number`` by an address never used; gives it, and when."""
        assert self._calls is not None
        self.spare += 1
        new = str(scale.SPARE + self.spare)
        self._addresses[number] = [(self._addresses.get(number) or scale.endpoints(number))[1], new]
        body = plain(scale.slice_of(number, self._addresses[number]), "EndpointSlice", "discovery.k8s.io/v1")
        self._calls.must("PUT", f"{SLICES}/{body['metadata']['name']}", body)
        return new, time.monotonic()

    def end(self) -> None:
        """Stop both, the API server first."""
        for process in reversed(self._processes):
            process.terminate()
            process.wait(60)

    def _run(self, name: str, *words: str) -> None:
        with (self._folder / f"{name}.log").open("wb") as log:
            argv = [str(self._programs / name), *words]
            self._processes.append(subprocess.Popen(argv, stdout=log, stderr=log))

    def _until_ready(self) -> None:
        assert self._calls is not None
        end = time.monotonic() + PATIENCE
        while True:
            try:
                if self._calls.request("GET", "/readyz", None)[0] == 200:
                    return
            except OSError:
                self._calls.close()
            if time.monotonic() > end or any(process.poll() is not None for process in self._processes):
                logs = {path.name: path.read_text()[-800:] for path in self._folder.glob("*.log")}
                raise RuntimeError(f"no API server within {PATIENCE} s; the logs end: {logs}")
            time.sleep(0.05)

    def _fill(self, host: str) -> None:
        assert self._calls is not None
        self._calls.must("POST", "/api/v1/namespaces", {"metadata": {"name": "scale"}})
        node = scale.node() | {"metadata": {"name": scale.NODE}}
        self._calls.must("POST", "/api/v1/nodes", node)
        self._calls.must("PUT", f"/api/v1/nodes/{scale.NODE}/status", node)
        numbers = itertools.count()
        failed: list[OSError | RuntimeError] = []

        def write() -> None:
            calls = Calls(host, self._where.pki / "ca.crt")
            try:
                while (number := next(numbers)) < self.size and not failed:
                    ends = scale.slice_of(number, scale.endpoints(number))
                    calls.must("POST", SERVICES, plain(scale.service(number), "Service", "v1"))
                    calls.must("POST", SLICES, plain(ends, "EndpointSlice", "discovery.k8s.io/v1"))
            except (OSError, RuntimeError) as error:
                failed.append(error)

        threads = [threading.Thread(target=write) for _ in range(WRITERS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if failed:
            raise failed[0]


class Calls:
    """One connection to the API server."""

    def __init__(self, host: str, authority: Path) -> None:
        trusted = ssl.create_default_context(cafile=str(authority))
        self._connection = http.client.HTTPSConnection(host, PORT, context=trusted, timeout=PATIENCE)

    def request(self, method: str, path: str, body: dict[str, Any] | None) -> tuple[int, bytes]:
        """Status and body of the answer."""
        headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
        self._connection.request(method, path, json.dumps(body) if body else None, headers)
        answer = self._connection.getresponse()
        return answer.status, answer.read()

    def must(self, method: str, path: str, body: dict[str, Any]) -> None:
        """The same; RuntimeError unless it was done."""
        status, said = self.request(method, path, body)
        if status >= 300:
            raise RuntimeError(f"{method} {path}: {status} {said.decode(errors='replace')[:500]}")

    def close(self) -> None:
        """Hang up; the next request connects anew."""
        self._connection.close()
