"""Any cluster by its kubeconfig: contexts, files beside it, the embedded cluster as if it were foreign."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from clusters.base import ClusterError, Node
from clusters.kubeconfig.cluster import KubeconfigCluster, Place, narrowed, parse
from clusters.locate import locate

CONFIG = {
    "current-context": "home",
    "contexts": [
        {"name": "home", "context": {"cluster": "pis", "user": "brian"}},
        {"name": "work", "context": {"cluster": "pis", "user": "brian"}},
    ],
    "clusters": [
        {"name": "pis", "cluster": {"server": "https://127.0.0.1:1", "certificate-authority": "ca.crt"}}],
    "users": [{"name": "brian", "user": {"client-certificate": "/etc/brian.crt", "client-key": "brian.key"}}],
}


def written(folder: Path, text: str | None = None) -> Path:
    path = folder / "config"
    path.write_text(yaml.safe_dump(CONFIG) if text is None else text)
    return path


def facts(nodes: list[Node]) -> list[tuple[object, ...]]:
    return sorted((one.name, one.addresses, one.pod_cidrs) for one in nodes)


def test_url_environment_and_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("KUBECONFIG", raising=False)
    assert parse("kubeconfig://") == Place(tmp_path / ".kube/config")
    assert parse("kubeconfig:///etc/k?context=work") == Place(Path("/etc/k"), "work")
    monkeypatch.setenv("KUBECONFIG", "/a:/b")
    with pytest.raises(ClusterError, match="several files"):
        parse("kubeconfig://")
    with pytest.raises(ClusterError, match="unknown option user"):
        parse("kubeconfig:///etc/k?user=me")


def test_the_wanted_context_is_made_the_current_one_and_paths_absolute(tmp_path: Path) -> None:
    config = narrowed(Place(written(tmp_path), "work"))
    assert config["current-context"] == "work"
    assert config["clusters"][0]["cluster"]["certificate-authority"] == str(tmp_path / "ca.crt")
    user = config["users"][0]["user"]
    assert (user["client-certificate"], user["client-key"]) == ("/etc/brian.crt", str(tmp_path / "brian.key"))


@pytest.mark.parametrize(("text", "context", "words"), [
    (None, "elsewhere", "no context 'elsewhere'; its contexts are home, work"),
    ("[]", "", "no YAML mapping"),
    ("a: [", "", "name a file that kubectl accepts"),
    ("{}", "", "no context ''; its contexts are none"),
])
def test_a_bad_file_is_told(tmp_path: Path, text: str | None, context: str, words: str) -> None:
    with pytest.raises(ClusterError, match=words):
        narrowed(Place(written(tmp_path, text), context))


async def test_nobody_answers(tmp_path: Path) -> None:
    config = {**CONFIG, "users": [{"name": "brian", "user": {"token": "t"}}]}
    config["clusters"] = [{"name": "pis", "cluster": {"server": "http://127.0.0.1:1"}}]
    with pytest.raises(ClusterError, match="the API server does not answer"):
        await locate(f"kubeconfig://{written(tmp_path, yaml.safe_dump(config))}")


@pytest.mark.kernel
async def test_the_embedded_cluster_as_a_foreign_one() -> None:
    embedded = await locate("netns://")
    try:
        found = await locate(f"kubeconfig://{embedded.kubeconfig}")
        assert isinstance(found, KubeconfigCluster)
        private = found.kubeconfig
        assert private.stat().st_mode & 0o077 == 0
        assert facts(await found.nodes()) == facts(await embedded.nodes())
        await found.close()
        assert not private.exists()
        assert await embedded.nodes(), "closing the foreign view leaves the cluster alone"
    finally:
        await embedded.close()
