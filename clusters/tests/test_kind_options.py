"""kind URLs: what is asked for, and what is refused with a sentence."""

from __future__ import annotations

from pathlib import Path

import pytest

from clusters.base import ClusterError
from clusters.kind import making
from clusters.kind.options import parse


def test_a_plain_name_is_a_control_plane_and_two_workers() -> None:
    roles = [node["role"] for node in parse("kind://svc").configuration()["nodes"]]
    assert roles == ["control-plane", "worker", "worker"]


def test_everything_that_can_be_asked() -> None:
    options = parse("kind://svc?nodes=2&proxy=none&family=dual&image=node:v1&keep&outside-image=python:3.12")
    assert options.configuration()["networking"] == {"ipFamily": "dual", "kubeProxyMode": "none"}
    assert (options.image, options.keep, options.outside_image) == ("node:v1", True, "python:3.12")
    assert len(options.configuration()["nodes"]) == 2


@pytest.mark.parametrize(("url", "words"), [
    ("kind://", "is no name of a kind cluster"),
    ("kind://Upper", "is no name of a kind cluster"),
    ("kind://svc?nodes=1", "2 to 20"),
    ("kind://svc?nodes=many", "2 to 20"),
    ("kind://svc?proxy=ipvs", "one of nftables, iptables, none"),
    ("kind://svc?family=both", "one of ipv4, ipv6, dual"),
    ("kind://svc?keep=perhaps", "write ?keep"),
    ("kind://svc?workers=2", "unknown option workers"),
])
def test_what_cannot_be_is_refused(url: str, words: str) -> None:
    with pytest.raises(ClusterError, match=words.replace("?", r"\?")):
        parse(url)


def test_without_kind_nothing_is_downloaded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ClusterError, match=r"kind, kubectl, docker is not on PATH.* downloads nothing"):
        making.tools()
