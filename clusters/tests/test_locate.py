"""URLs of clusters: what is understood, and what each mistake is answered."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clusters.base import ClusterError
from clusters.locate import locate
from clusters.netns import plan


@pytest.mark.parametrize(
    ("url", "nodes", "seed"),
    [
        ("netns://", 3, False), ("netns://?seed", 3, True), ("netns://2-nodes", 2, False),
        ("netns://1-node?seed=true", 1, True), ("netns:///?nodes=5&seed=false", 5, False),
        ("netns://4-nodes?nodes=4&servicelb=0", 4, False),
    ],
)
def test_options_of_the_embedded_cluster(url: str, nodes: int, seed: bool) -> None:
    assert plan.parse(url) == plan.Options(nodes, seed)
    assert plan.parse(url + ("&" if "?" in url else "?") + "dual=1") == plan.Options(nodes, seed, dual=True)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("netns://three", "'three' is not a size such as 3-nodes"),
        ("netns://?sed", "unknown option 'sed'; the options are seed, servicelb, dual, nodes=N, node-grace="),
        ("netns://?node-grace=soon", "node-grace=soon; write seconds"),
        ("netns://?apiserver=main", "apiserver=main names no function; write package.module:function"),
        ("netns://?seed=maybe", "seed=maybe; write seed alone"),
        ("netns://?nodes=two", "nodes=two is not a whole number"),
        ("netns://?nodes=-1", "nodes=-1 is not a whole number"),
        ("netns://2-nodes?nodes=3", "given twice"),
        ("netns://0-nodes", "between 1 and 20 are possible"),
        ("netns://21-nodes", "between 1 and 20 are possible"),
        ("netns://3-nodes/more", "nothing may stand after the size"),
        ("netns://?dual=both", "dual=both; write dual alone"),
        ("netns://?dual&servicelb", "servicelb and dual: the imitation forwards IPv4 only"),
        ("kind://Mine", "is no name of a kind cluster"),
        ("kubeconfig:///nowhere/config", "name a file that kubectl accepts"),
        ("k3s+ssh://pi@host", r"k3s\+ssh:// is not built yet"),
        ("docker://x", "unknown scheme docker://; this version has netns://"),
        ("nonsense", "'nonsense' is not a cluster URL; write netns://"),
        ("", "is not a cluster URL"),
    ],
)
async def test_a_url_that_cannot_be_used_is_explained(url: str, words: str) -> None:
    with pytest.raises(ClusterError, match=words):
        await locate(url)


@given(st.text(alphabet=st.characters(min_codepoint=32, max_codepoint=126), max_size=40))
def test_any_text_gives_options_or_a_sentence(rest: str) -> None:
    try:
        options = plan.parse("netns://" + rest)
    except ClusterError:
        return
    assert 1 <= options.nodes <= plan.MOST_NODES


def test_nodes_have_the_posts_names_and_addresses_of_their_own() -> None:
    nodes = plan.node_plans(plan.MOST_NODES)
    assert [(n.name, n.addresses, n.pod_cidrs, n.gateway) for n in nodes[:2]] == [
        ("k3s-master-rpi001", ("192.168.2.114",), ("10.42.0.0/24",), "10.42.0.1"),
        ("k3s-worker-rpi002", ("192.168.2.115",), ("10.42.1.0/24",), "10.42.1.1"),
    ]
    assert len({n.address for n in nodes} | {n.name for n in nodes}) == 2 * plan.MOST_NODES
    assert max(int(n.address.rpartition(".")[2]) for n in nodes) < 200, "below the load balancer's pool"


def test_with_both_families_every_node_has_a_twin_address_and_pod_network() -> None:
    nodes = plan.node_plans(plan.MOST_NODES, dual=True)
    assert nodes[0].addresses == ("192.168.2.114", "fd00:192:168:2::114")
    assert [n.pod_cidrs for n in nodes[:2]] == [
        ("10.42.0.0/24", "fd00:10:42::/64"), ("10.42.1.0/24", "fd00:10:42:1::/64")]
    pods = ipaddress.ip_network(plan.CLUSTER_CIDR_6)
    assert isinstance(pods, ipaddress.IPv6Network)
    for node in nodes:
        network = ipaddress.IPv6Network(node.pod_cidrs[1])
        assert network.subnet_of(pods) and ipaddress.ip_address(plan.twin(node.gateway)) in network
    assert len({n.pod_cidrs[1] for n in nodes}) == plan.MOST_NODES
    assert plan.networks(dual=True) == ("10.42.0.0/16,fd00:10:42::/48", "10.43.0.0/16,fd00:10:43::/112")
