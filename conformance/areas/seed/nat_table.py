"""SEED-04: sudo iptables --table nat -L -n."""

from __future__ import annotations

import re
from base64 import b32encode
from hashlib import sha256
from itertools import pairwise

from conformance.areas.seed.page import SOURCE, cluster_ip, page
from conformance.expectations import Answered
from conformance.features import Feature
from conformance.lab import Lab, each
from conformance.post import CLUSTER_IP, Post
from conformance.requirements import Level, requirement

OLD = "1.18"
POSTED = ("KUBE-SVC-WNPCWQYGSYD7A5N6", "KUBE-SEP-REGCNUNS5RWEMTHB", "KUBE-SEP-AB7UW27KCQCMC3UG")
HALF = "0.50000000000"
_COUNTERS = re.compile(r"^\[\d+:\d+\] ")
_WORDS = {"-d": "destination", "-j": "jump", "--to-destination": "to", "--probability": "probability"}


def chain(kind: str, namespace: str, service: str, style: str, endpoint: str = "") -> str:
    """A chain's name for an unnamed TCP port: up to 1.18 the hashed name ended in a colon, today it does not.
    """
    text = f"{namespace}/{service}{':' if style == OLD else ''}tcp{endpoint}"
    return f"KUBE-{kind}-{b32encode(sha256(text.encode()).digest()).decode()[:16]}"


def rule(line: str) -> dict[str, str]:
    """One ``-A`` line of iptables-save: chain, and where it has them destination, jump, to and probability.
    """
    words = re.findall(r'"[^"]*"|\S+', line)
    found = {"chain": words[1]}
    for word, value in pairwise(words):
        if word in _WORDS:
            found[_WORDS[word]] = value
    return found


def nat(text: str) -> list[dict[str, str]]:
    """The rules of the nat table in an iptables-save text."""
    table = text.partition("*nat\n")[2].partition("\nCOMMIT")[0]
    lines = [_COUNTERS.sub("", line) for line in table.splitlines()]
    return [rule(line) for line in lines if line.startswith("-A ")]


def expected(post: Post, style: str) -> list[dict[str, str]]:
    """The rules of the post's four steps, names by kube-proxy's hash."""
    service = chain("SVC", post.namespace, CLUSTER_IP, style)
    rules = [
        {"chain": "PREROUTING", "jump": "KUBE-SERVICES"},
        {"chain": "KUBE-SERVICES", "destination": f"{cluster_ip(post)}/32", "jump": service},
        {"chain": service, "probability": HALF},
    ]
    for address in post.addresses().values():
        one = chain("SEP", post.namespace, CLUSTER_IP, style, f"{address}:80")
        rules += [{"chain": service, "jump": one}, {"chain": one, "jump": "DNAT", "to": f"{address}:80"}]
    return rules


@requirement(
    "SEED-04", Level.IMPL, needs={"seed", "snapshot"}, features={Feature.IPTABLES_CHAINS},
    source=f"{SOURCE}, 'the effective steps the request would have taken'",
)
async def nat_table(lab: Lab) -> None:
    """The chains of the post's four steps MUST stand in every node's nat table, half of them for each pod."""
    post, style = await lab.post(), lab.declaration.conduct(Feature.IPTABLES_CHAINS)
    aims = each(lab.clients, page(lab, cluster_ip(post), 8080, count=5))
    await lab.serves("login page", aims, Answered(), "the page answers at the ClusterIP, from every node")
    own = {part["chain"] for part in expected(post, style)} - {"PREROUTING", "KUBE-SERVICES"}
    for node in lab.nodes:
        rules = nat((await lab.snapshot(node.name))["iptables-save"])
        near = [one for one in rules if one["chain"] in own or one.get("jump") in {*own, "KUBE-SERVICES"}]
        name = f"nat table of {node.name}"
        lab.value(name, near)
        hashed = {"expected": expected(post, style)}
        lab.expect_value("includes", name, hashed, "the post's chains, by their hash")
        if style == OLD and lab.rig.cluster.namespace is not None:
            posted = {"expected": [{"chain": one} for one in POSTED]}
            lab.expect_value("includes", name, posted, "the post's chains, by the post's own names")
