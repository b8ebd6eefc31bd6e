"""The command line: one sentence and the right status for everything that can be asked wrongly."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from typing import Any

import pytest

from clusters.base import ClusterError
from conformance import session
from conformance.cli import certify, running
from conformance.cli.main import main
from conformance.selftest.fakes import FakeCluster


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Any, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(("argv", "sentence"), [
    (["list", "NOPE-01"], "no requirement 'NOPE-01'"),
    (["list", "DNS-99"], "did you mean DNS-0"),
    (["list", "--area", "nope"], "no requirement in area 'nope'"),
    (["list", "--profile", "nope"], "no profile 'nope'"),
    (["list", "--level", "nope"], "there is no level"),
    (["list", "DNS-01", "--level", "impl"], "nothing is selected"),
    (["list", "--options", "none.toml"], "name a TOML file"),
    (["certify", "--implementation", "nope"], "no implementation 'nope'"),
    (["certify", "--slower", "x"], "slower is a number"),
    (["certify", "DNS-01", "--level", "impl"], "nothing is selected"),
    (["certify", "--cluster", "nope://x"], "unknown scheme nope://"),
    (["certify", "--cluster", "netns://many"], "'many' is not a size"),
    (["certify", "--cluster", "netns://", "--bin-dir", "/no where"], "bin-dir /no where: no such folder"),
    (["certify", "--cluster", "netns://?control-plane=reel"], "write control-plane=real"),
    (["run"], "run needs --cluster URL"),
    (["run", "--cluster", "x"], "'x' is not a cluster URL"),
    (["judge", "none.jsonl"], "cannot read evidence none.jsonl"),
])
def test_bad_input_is_status_3_and_one_sentence(argv: Any, sentence: Any, capsys: Any) -> None:
    assert main(argv) == 3
    said = capsys.readouterr().err.strip().splitlines()
    assert sentence in said[-1]


@pytest.mark.parametrize("argv", [[], ["frob"], ["list", "--frob"], ["run", "--jobs"]])
def test_bad_usage_is_status_3_too(argv: Any, capsys: Any) -> None:
    with pytest.raises(SystemExit) as ended:
        main(argv)
    assert ended.value.code == 3
    assert "--help shows what there is" in capsys.readouterr().err


def test_a_descriptor_with_a_wrong_key_is_named(tmp_path: Any, capsys: Any) -> None:
    (tmp_path / "x.toml").write_text('name = "x"\nversoin = "1"\n')
    assert main(["certify", "--implementation", "x.toml"]) == 3
    assert "unknown key versoin" in capsys.readouterr().err


def test_list_shows_sentence_and_source_and_as_json(capsys: Any) -> None:
    assert main(["list", "SEED-*"]) == 0
    said = capsys.readouterr().out
    assert "SEED-04        impl" in said
    assert "from: " in said
    assert main(["list", "DNS-01", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["id"] == "DNS-01"
    assert main(["list", "--profiles"]) == 0
    assert "smoke" in capsys.readouterr().out


def test_a_cut_evidence_file_is_refused(tmp_path: Any, capsys: Any) -> None:
    header = {"type": "header", "schema": 1, "run": "r", "started": "", "requirements": []}
    (tmp_path / "cut.jsonl").write_text(json.dumps(header) + "\n")
    assert main(["judge", "cut.jsonl"]) == 3
    assert "without a footer" in capsys.readouterr().err


def test_what_dies_at_its_start_ends_with_its_last_words(monkeypatch: Any, capsys: Any) -> None:
    class Refuses(FakeCluster):
        async def provide(self, implementation: Any) -> None:
            raise ClusterError("kube-proxy on node-1 ended with status 3; see its log", log=["no such table"])

    async def locate(url: Any, *, preload: Any=()) -> Any:
        return Refuses()

    monkeypatch.setattr(session.locate, "locate", locate)
    assert main(["certify"]) == 3
    said = capsys.readouterr().err
    assert "ended with status 3" in said
    assert "  | no such table" in said


def test_an_api_server_that_does_not_answer_is_status_3(monkeypatch: Any, capsys: Any, tmp_path: Any) -> None:
    cluster = FakeCluster(kubeconfig=tmp_path / "none")

    async def locate(url: Any, *, preload: Any=()) -> Any:
        return cluster

    monkeypatch.setattr(session.locate, "locate", locate)
    assert main(["run", "--cluster", "fake://"]) == 3
    assert "kubeconfig" in capsys.readouterr().err


def test_our_own_crash_is_status_4(monkeypatch: Any, capsys: Any) -> None:
    def breaks(*_: Any, **__: Any) -> None:
        raise LookupError("ours")

    monkeypatch.setattr(running, "prepare", breaks)
    assert main(["certify"]) == 4
    assert "this suite itself broke" in capsys.readouterr().err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_the_cluster_starts_ends_it(number: Any, monkeypatch: Any, capsys: Any) -> None:
    async def locate(url: Any, *, preload: Any=()) -> None:
        signal.raise_signal(number)
        await asyncio.Event().wait()

    monkeypatch.setattr(session.locate, "locate", locate)
    assert main(["certify"]) == 3
    assert "interrupted before the cluster stood" in capsys.readouterr().err


def test_the_command_can_be_given_again(monkeypatch: Any) -> None:
    monkeypatch.setattr(sys, "argv", ["main.py", "certify", "--cluster", "netns://?seed"])
    assert running._command() == "service-conformance certify --cluster 'netns://?seed'"


@pytest.mark.parametrize(("argv", "cluster"), [
    (["--implementation", "reference-nftables"], "netns://?seed&dual"),
    (["--implementation", "forgets-udp"], "netns://?seed"),
    (["--implementation", "reference-nftables", "--cluster", "netns://2-nodes"], "netns://2-nodes"),
])
def test_certify_raises_a_cluster_of_the_families_that_are_declared(
    monkeypatch: Any, argv: list[str], cluster: str,
) -> None:
    asked: list[str] = []
    monkeypatch.setattr(certify, "run_and_report", lambda options, folder: asked.append(options.cluster) or 0)
    assert main(["certify", *argv]) == 0
    assert asked == [cluster]
