"""The login page, as every requirement of the post asks for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from conformance.expectations import Answered
from conformance.lab import Lab
from conformance.post import CLUSTER_IP, NODE_PORT, Post
from conformance.probes import Probe
from conformance.timing import Aim

SOURCE = "the blog post the project started from"
PAGES = 50


def cluster_ip(post: Post) -> str:
    """The address of Service nextcloud-dev-clusterip."""
    return str(post.services[CLUSTER_IP]["spec"]["clusterIP"])


def node_port(post: Post) -> int:
    """The port of every node of Service nextcloud-dev-nodeport."""
    return int(post.services[NODE_PORT]["spec"]["ports"][0]["nodePort"])


def page(lab: Lab, ip: str, port: int, *, host: str = "", path: str = "/login", count: int = PAGES) -> Probe:
    """Ask for the login page ``count`` times."""
    seconds = lab.timing.attempt.seconds
    return Probe("http", (ip, port), count=count, timeout=seconds, path=path, host=host)


async def shows_login(lab: Lab, series: str, aims: Sequence[Aim], says: str) -> None:
    """The page answers from every aim, and every answer is status 200 and NextCloud's login page."""
    if not await lab.serves(series, aims, Answered(), says):
        return
    for aim in aims:
        seen = await lab.probe(f"{series}, read", aim.vantage, replace(aim.probe, count=1, data=True))
        name = f"{series} from {aim.vantage.name} at {aim.probe.target[0]}"
        text = seen.data[0].decode("utf-8", "replace").lower()
        lab.value(name, {
            "status": seen.outcomes[0].detail.partition(",")[0], "nextcloud": "nextcloud" in text,
            "login": "login" in text or "log in" in text, "bytes": len(seen.data[0]),
        })
        right = {"status": "200", "nextcloud": True, "login": True}
        lab.expect_value("includes", name, {"expected": right}, "what answers is NextCloud's login page")
