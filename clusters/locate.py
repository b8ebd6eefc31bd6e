"""From a URL to a running cluster."""

from __future__ import annotations

from collections.abc import Sequence

from clusters.base import Cluster, ClusterError

SCHEMES = ("netns", "netns-kept", "kind", "kubeconfig")
_LATER = ("k3s+ssh",)


async def locate(url: str, *, preload: Sequence[str] = ()) -> Cluster:
    """Raise or find the cluster that ``url`` names; the caller closes it.

    ``preload`` names Python modules of the implementation that will run there, so that they are loaded once
    and not on every node. Raises ClusterError, with the next step, when there is no such cluster.
    """
    scheme, found, _rest = url.partition("://")
    if not found:
        raise ClusterError(f"{url!r} is not a cluster URL; write netns:// for the embedded cluster")
    if scheme == "netns":
        from clusters.netns.cluster import NetnsCluster

        return await NetnsCluster.start(url, preload=preload)
    if scheme == "netns-kept":
        from clusters.netns.attached import AttachedCluster

        return await AttachedCluster.attach(url)
    if scheme == "kind":
        from clusters.kind.cluster import KindCluster

        return await KindCluster.start(url)
    if scheme == "kubeconfig":
        from clusters.kubeconfig.cluster import KubeconfigCluster

        return await KubeconfigCluster.reach(url)
    if scheme in _LATER:
        raise ClusterError(f"{url}: {scheme}:// is not built yet; this version has {_schemes()}")
    raise ClusterError(f"{url}: unknown scheme {scheme}://; this version has {_schemes()}")


def _schemes() -> str:
    return ", ".join(f"{scheme}://" for scheme in SCHEMES)
