"""The journal: whatever was done, and wherever the power of SIGKILL struck, the next life knows it all."""

from __future__ import annotations

import contextlib
import ipaddress
import random
from pathlib import Path
from typing import Any

import pytest

from clusters.apiserver import journal as journals
from clusters.apiserver.builtin import find
from clusters.apiserver.deletion import DeleteOptions
from clusters.apiserver.journal import BadJournal, Journal
from clusters.apiserver.registry import Registry, standard_store
from clusters.apiserver.service_allocation import Allocator
from clusters.apiserver.status import Refused

SPACES, MAPS, SERVICES, SETS, PODS = (
    find(group, "v1", plural)
    for group, plural in (("", "namespaces"), ("", "configmaps"), ("", "services"), ("apps", "replicasets"),
                          ("", "pods"))
)
DEFINITIONS = find("apiextensions.k8s.io", "v1", "customresourcedefinitions")
MERGE = "application/merge-patch+json"
HISTORY = 12


class Life:
    """A registry that keeps a journal; its changes are committed as the server does, request by request."""

    def __init__(self, path: Path, rng: random.Random, least: int = 20_000) -> None:
        self.rng = rng
        pools = Allocator([ipaddress.ip_network("10.43.0.0/24")], (30000, 30100), {}, rng)
        self.registry = Registry(standard_store(HISTORY), pools, lambda: 0.0, rng)
        self.journal = Journal(path, self.registry.store, least)
        if path.exists():
            self.journal.resume()
            self.registry.adopt()
        else:
            for name in ("default", "a", "b"):
                self.registry.create(SPACES, "", {"metadata": {"name": name}})
            self.journal.begin()

    def state(self) -> Any:
        """Everything a client could ever see or cause to be seen."""
        store = self.registry.store
        tables = {}
        for resource in store.kinds.holders():
            log = store.log(resource)
            tables[resource] = (
                [(key, entry.version, entry.body) for key, entry in store.select(resource)],
                log.low_water,
                [(event.version, event.key, event.old and event.old.body, event.new and event.new.body,
                  event.last.body) for event in log.kept],
            )
        pools = self.registry.allocator
        return (store.version, tables, pools.ports.pool.taken, pools.addresses["IPv4"].taken,
                [(r.group, r.version, r.plural, r.stored_as) for r in store.kinds.all()],
                self.registry._deleter._waiting, self.registry._deleter._terminating,
                self.registry._followers._networks._held, pools.addresses["IPv4"].more)

    def step(self) -> None:
        """One request of any kind, refused or not."""
        acts = (self.make_map, self.make_map, self.change_map, self.change_map, self.remove_any,
                self.make_service, self.change_service, self.make_owned, self.define, self.make_custom,
                self.space)
        with contextlib.suppress(Refused):
            self.rng.choice(acts)()
        self.journal.commit()

    def name(self) -> str:
        return self.rng.choice("pqrst")

    def place(self) -> str:
        return self.rng.choice(["default", "a", "b"])

    def make_map(self) -> None:
        finalizers = ["x.example/wait"] if self.rng.random() < 0.2 else []
        metadata = {"name": self.name(), "finalizers": finalizers}
        self.registry.create(MAPS, self.place(), {"metadata": metadata, "data": {"ü": "\n\"\\"}})

    def change_map(self) -> None:
        patch: Any = {"data": {"n": str(self.rng.random())}}
        if self.rng.random() < 0.2:
            patch = {"metadata": {"finalizers": None}}
        self.registry.patch(MAPS, (self.place(), self.name()), MERGE, patch)

    def remove_any(self) -> None:
        kind = self.rng.choice([MAPS, SERVICES, SETS, PODS, DEFINITIONS])
        found = [key for key, _ in self.registry.store.select(kind)]
        if found:
            options = DeleteOptions(policy=self.rng.choice(["", "Foreground", "Orphan"]))
            self.registry.delete(kind, self.rng.choice(found), options)

    def make_service(self) -> None:
        kind = self.rng.choice(["ClusterIP", "NodePort", "LoadBalancer"])
        spec: Any = {"type": kind, "ports": [{"port": 80}]}
        if kind == "LoadBalancer":
            spec["externalTrafficPolicy"] = "Local"
        self.registry.create(SERVICES, self.place(), {"metadata": {"name": self.name()}, "spec": spec})

    def change_service(self) -> None:
        spec = {"type": self.rng.choice(["ClusterIP", "NodePort", "ExternalName"]), "externalName": "a.b"}
        self.registry.patch(SERVICES, (self.place(), self.name()), MERGE, {"spec": spec})

    def make_owned(self) -> None:
        place, name = self.place(), self.name()
        spec = {"selector": {"matchLabels": {"a": "b"}}, "template": {
            "metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}}
        owner = self.registry.create(SETS, place, {"metadata": {"name": name}, "spec": spec})
        refers = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": name, "blockOwnerDeletion": True,
                  "uid": owner.object["metadata"]["uid"]}
        metadata = {"name": name, "ownerReferences": [refers], "finalizers": ["x.example/wait"]}
        self.registry.create(PODS, place, {"metadata": metadata, **spec["template"]})

    def define(self) -> None:
        names = {"plural": "widgets", "kind": "Widget"}
        schema = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
        versions = [{"name": name, "served": True, "storage": name == "v1", "schema": schema}
                    for name in ("v1", "v2")]
        spec = {"group": "x.example", "scope": "Namespaced", "names": names, "versions": versions}
        self.registry.create(DEFINITIONS, "", {"metadata": {"name": "widgets.x.example"}, "spec": spec})

    def make_custom(self) -> None:
        widgets = self.registry.store.kinds.find("x.example", "v1", "widgets")
        if widgets is not None:
            self.registry.create(widgets, self.place(), {"metadata": {"name": self.name()}, "spec": {"x": 1}})

    def space(self) -> None:
        place = self.rng.choice(["a", "b"])
        if self.registry.store.get(SPACES, ("", place)) is None:
            self.registry.create(SPACES, "", {"metadata": {"name": place}})
        elif self.rng.random() < 0.3:
            self.registry.delete(SPACES, ("", place), DeleteOptions())


@pytest.mark.parametrize("seed", range(12))
def test_the_next_life_is_the_one_before(tmp_path: Path, seed: int) -> None:
    rng, path = random.Random(seed), tmp_path / "journal"
    life = Life(path, rng)
    for number in range(300):
        life.step()
        if rng.random() < 0.05:
            before = life.state()
            if rng.random() < 0.5:  # killed in the middle of the next write
                with path.open("ab") as file:
                    file.write(b'[["/v1/configmaps","default","torn",999999,{"metadata"')
            life = Life(path, rng)
            assert life.state() == before, f"after {number + 1} requests"
    assert life.state() == Life(path, rng).state()


def test_a_file_that_has_grown_is_written_anew_and_stays_small(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    life = Life(path, random.Random(1), least=50_000)
    life.registry.create(MAPS, "default", {"metadata": {"name": "one"}})
    for number in range(2000):
        life.registry.patch(MAPS, ("default", "one"), MERGE, {"data": {"n": f"{number}{'x' * 100}"}})
        life.journal.commit()
    assert path.stat().st_size < 60_000
    again = Life(path, random.Random(1))
    assert again.state() == life.state()
    version = again.registry.store.version
    assert again.registry.store.log(MAPS).position_after(version - HISTORY // 2 + 1) is not None
    assert [entry.name for entry in tmp_path.iterdir()] == ["journal"]


def test_what_is_no_journal_is_told_with_the_line_and_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    life = Life(path, random.Random(1))
    for _ in range(30):
        life.step()
    good = path.read_bytes()
    head, rest = good.split(b"\n", 1)
    at = good.index(b"\n", len(good) // 2) + 1
    for bad, words in (
        (b"", "it is no journal of format 1, or ends before its objects do"),
        (b"[9,1,1]\n" + rest, "it is no journal of format 1"),
        (head + b"\n" + rest[: len(rest) // 9], "ends before its objects do"),
        (good[:at] + b"nonsense\n" + good[at:], r"line \d+ cannot be read"),
        (b"\xff\xfe\n", "line 1 cannot be read"),
    ):
        path.write_bytes(bad)
        with pytest.raises(BadJournal, match=rf"journal: .*{words}.*; remove it to begin with an empty"):
            Life(path, random.Random(1))


def test_a_full_disk_is_an_error_and_costs_nothing_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "journal"
    life = Life(path, random.Random(1))
    real = journals._write

    def half(fd: int, data: bytes) -> None:
        real(fd, data[: len(data) // 2])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(journals, "_write", half)
    life.registry.create(MAPS, "default", {"metadata": {"name": "one"}})
    with pytest.raises(OSError, match="No space left"):
        life.journal.commit()
    monkeypatch.setattr(journals, "_write", real)
    life.registry.create(MAPS, "default", {"metadata": {"name": "two"}})
    life.journal.commit()
    assert Life(path, random.Random(1)).state() == life.state()
