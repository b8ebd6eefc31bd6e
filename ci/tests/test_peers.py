"""ci/peers and ci/reports: names, keys, and what counts as expected."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import json
import subprocess
import sys
import tomllib
from pathlib import Path
from types import ModuleType

import pytest

CI = Path(__file__).resolve().parent.parent


def script(name: str, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A program of ci as a module."""
    monkeypatch.syspath_prepend(str((CI / name).parent))
    loader = importlib.machinery.SourceFileLoader(Path(name).stem, str(CI / name))
    spec = importlib.util.spec_from_loader(loader.name, loader)
    assert spec is not None
    made = importlib.util.module_from_spec(spec)
    loader.exec_module(made)
    return made


def test_what_sockets_may_hold_is_raised_and_put_back(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    judge = script("peers/judge", monkeypatch)
    monkeypatch.setattr(judge, "BUFFER", held := tmp_path / "wmem_default")
    held.write_text("100\n")
    with pytest.raises(KeyboardInterrupt), judge.buffers(300):
        assert held.read_text() == "300\n"
        raise KeyboardInterrupt
    assert held.read_text() == "100\n"
    with judge.buffers(50):
        assert held.read_text() == "100\n"


def test_an_unknown_peer_is_refused_and_those_there_are_named() -> None:
    command = [sys.executable, CI / "peers" / "build", "kube-prxy"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 3
    assert "there is no peer kube-prxy; there are kubectl, kube-apiserver" in done.stderr


def test_the_key_of_a_build_holds_what_decides_it_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    build = script("peers/build", monkeypatch)
    peer = {"name": "x", "about": "a", "debian": "etcd-server", "file": "usr/bin/etcd", "version": "debian"}
    assert build.home(peer) == build.home(peer | {"about": "b", "test": True})
    assert build.home(peer) != build.home(peer | {"version": "2"})
    assert build.home(peer) != build.home(peer | {"file": "usr/bin/etcdctl"})


def test_every_run_names_a_descriptor_that_can_be_read() -> None:
    from clusters import implementations

    runs = tomllib.loads((CI / "peers" / "runs.toml").read_text())["run"]
    assert all(implementations.find(run["implementation"]) for run in runs)
    described = {path.stem for path in (CI / "peers" / "descriptors").glob("*.toml")}
    assert described <= {run["implementation"] for run in runs}
    for path in (CI / "peers" / "descriptors").glob("*.toml"):
        assert len(path.read_text().splitlines()) <= 40, path


def test_only_the_expected_rows_may_be_red_and_none_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    judge = script("peers/judge", monkeypatch)
    run = {"red": ["ETP-02", "ITP-01"], "unknown": ["LB-13"], "racy": ["UDP-09"]}
    seen = {"subject": "a name", "verdict": "fail", "actual": "NXDOMAIN", "expected": "192.0.2.1"}

    def rows(**given: str) -> list[dict]:
        return [{"id": name.replace("_", "-"), "verdict": verdict, "reason": "", "checks": [seen]}
                for name, verdict in given.items()]

    assert judge.wrong(run, rows(LB_13="unknown", ETP_02="fail", ITP_01="fail", DNS_01="pass")) == []
    assert judge.wrong(run, rows(ETP_02="fail", ITP_01="fail", UDP_09="fail")) == [], "a race decides it"
    assert judge.wrong(run, rows(ETP_02="fail", ITP_01="pass", DNS_01="fail", LB_01="unknown")) == [
        "DNS-01 is red and should not be", "    a name: NXDOMAIN; expected 192.0.2.1",
        "LB-01 is unknown", "    a name: NXDOMAIN; expected 192.0.2.1", "ITP-01 is not red and should be"]


def test_a_certificate_is_filed_with_the_digest_of_its_evidence(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path,
) -> None:
    reports = script("reports.py", monkeypatch)
    monkeypatch.setattr(reports, "ROOT", tmp_path)
    report = dict.fromkeys(reports.KEPT, "") | {
        "command": "certify mine --out somewhere --jobs 3",
        "suite": "0.1.0", "interrupted": False, "cluster": "netns://?control-plane=real",
        "counts": {"fail": 1},
        "implementation": {"name": "mine", "version": "2"}, "kubernetes": "v1.36.3",
        "requirements": [{"id": "DNS-01", "verdict": "fail", "numbers": {"n": 3}},
                         {"id": "DNS-02", "verdict": "pass", "numbers": {"outage_s": 0.3}}]}
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "report.json").write_text(json.dumps(report))
    (tmp_path / "run" / "evidence.jsonl").write_text("")
    reports.file([tmp_path / "run"])
    filed = json.loads((tmp_path / "reports/0.1.0/mine@control-plane-real/summary.json").read_text())
    assert filed["evidence-sha256"].startswith("e3b0c442")  # of nothing
    assert filed["outages"] == {"DNS-02": {"outage_s": 0.3}}
    assert filed["command"] == "certify mine --jobs 3"
    assert "| mine@control-plane-real | 2 | v1.36.3 | 0 | 1 | 0 | 0 |" in reports.table()
    assert "| DNS-01 | mine@control-plane-real |" in reports.table()
    on_kind = "kind://ci?proxy=none&image=some/where:v1"
    (tmp_path / "run" / "report.json").write_text(json.dumps(report | {"cluster": on_kind}))
    reports.file([tmp_path / "run"])
    assert (tmp_path / "reports/0.1.0/mine@kind/summary.json").exists()
    (tmp_path / "run" / "report.json").write_text(json.dumps(report | {"interrupted": True}))
    with pytest.raises(ValueError, match="that run was interrupted"):
        reports.file([tmp_path / "run"])


def test_the_readmes_table_is_that_of_what_is_filed(monkeypatch: pytest.MonkeyPatch) -> None:
    reports = script("reports.py", monkeypatch)
    readme = (reports.ROOT / "README.md").read_text()
    assert reports.with_table(readme) == readme, "next: ci/reports.py table --write"
    assert reports.table().count("| reference-") >= 3
    with pytest.raises(ValueError, match="no place for the table"):
        reports.with_table("no marks")
