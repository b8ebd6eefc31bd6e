"""`trace`: what is made of the kernel's lines, and the post's four steps from the kernel itself."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clusters import commands
from clusters.netns import kept
from conformance import journey, packetpath, ruleset
from conformance.cli import trace
from conformance.cli.main import main
from conformance.journey import Names
from conformance.packetpath import Followed, Seen
from conformance.session import RunError

_ROOT = Path(__file__).resolve().parents[2]
_PACKET = (
    'packet: iif "{iif}" oif "{oif}" ip saddr 10.42.1.171 ip daddr {to} ip dscp 0x2b ip ecn not-ect '
    "ip ttl {ttl} ip id 7 ip length 60 tcp sport 40000 tcp dport {port} tcp flags == syn tcp window 64240 "
)
_LISTING = """table ip kp { # handle 1
\tmap variant { # handle 16
\t\ttype mark : verdict
\t}
\tchain nat-prerouting { # handle 31
\t\ttype nat hook prerouting priority dstnat; policy accept;
\t\tjump services comment "to a Service?" # handle 40
\t}
\tchain services { # handle 25
\t\tmeta mark vmap @variant # handle 41
\t}
\tchain pick_2 { # handle 70
\t\tdnat ip to ip daddr . numgen random mod 2 map @endpoints # handle 42
\t}
}
table inet trace-x { # handle 9
\tchain at-prerouting { # handle 1
\t\ttype filter hook prerouting priority -400; policy accept;
\t}
\tchain at-postrouting { # handle 2
\t\ttype filter hook postrouting priority 400; policy accept;
\t}
}
"""
_WEB = {"10.43.7.203": "ClusterIP of default/web"}
_NAMES = Names({"10.42.1.170": ("default/web", "two")}, {"192.168.2.115": "two"}, _WEB)
_ANY = "Source: ANY  Destination: ANY"


def _packet(to: str = "10.43.7.203", port: int = 8080, ttl: int = 64, oif: str = "") -> str:
    return _PACKET.format(to=to, port=port, ttl=ttl, iif="cni0", oif=oif).replace(' oif ""', "")


def _lines(*told: str) -> list[str]:
    return [f"trace id abc {one}" for one in told]


def _served() -> list[str]:
    there = _packet(to="10.42.1.170", port=80, ttl=63, oif="cni0")
    return _lines(
        f"inet trace-x at-prerouting {_packet()}", "inet trace-x at-prerouting policy accept",
        f"ip kp nat-prerouting {_packet()}",
        'ip kp nat-prerouting rule jump services comment "to a Service?" (verdict jump services)',
        "ip kp services rule meta mark vmap @variant (verdict goto pick_2)",
        "ip kp pick_2 rule unknown rule handle 42 (verdict accept)",
        f"inet trace-x at-postrouting {there}", "inet trace-x at-postrouting policy accept",
        f"inet trace-x at-postrouting {there.replace('ip id 7', 'ip id 8')}",
    )


def _followed(lines: Sequence[str], sets: dict[str, Any] | None = None) -> Followed:
    chains = ruleset.chains(_LISTING)
    steps = packetpath.read("two", lines, chains, own="trace-x", mark="dscp 0x2b")
    found = {name: ruleset.elements(one) for name, one in (sets or {}).items()}
    return Followed("connected", 1.0, {"two": Seen(steps, chains, found, ())})


def test_jumps_gotos_and_the_packets_new_destination_are_followed() -> None:
    followed = _followed(_served())
    assert [(step.hook, step.chain, step.verdict, step.target) for step in followed.steps] == [
        ("prerouting", "trace-x at-prerouting", "hook", ""),
        ("prerouting", "kp nat-prerouting", "jump", "services"),
        ("prerouting", "kp services", "goto", "pick_2"),
        ("prerouting", "kp pick_2", "accept", ""),
        ("postrouting", "trace-x at-postrouting", "hook", ""),
    ]
    assert followed.steps[3].rule.startswith("dnat ip to ip daddr")  # by its handle
    told = journey.decided(followed, _NAMES)
    assert [row.chain for row in told] == ["kp nat-prerouting", "kp services", "kp pick_2"]
    assert told[-1].action == "DNAT to 10.42.1.170:80"
    said = journey.ending(followed, _NAMES).sentence
    assert said == "Delivered to pod default/web (10.42.1.170:80) on two."


def test_a_map_is_explained_by_the_element_that_gives_what_the_kernel_did() -> None:
    verdicts = {"nftables": [{"map": {"elem": [
        [1, {"goto": {"target": "pick_1"}}], [2, {"goto": {"target": "pick_2"}}],
    ]}}]}
    second = {"val": {"concat": ["10.43.7.203", "tcp", 8080, 1]}, "comment": "second"}
    endpoints = {"nftables": [{"map": {"elem": [
        [{"concat": ["10.43.7.203", "tcp", 8080, 0]}, {"concat": ["10.42.0.85", 80]}],
        [{"elem": second}, {"concat": ["10.42.1.170", 80]}],
        [{"concat": ["10.43.0.1", "tcp", 443, 0]}, {"concat": ["192.168.2.2", 6443]}],
    ]}}]}
    followed = _followed(_served(), {"ip kp variant": verdicts, "ip kp endpoints": endpoints})
    _first, by_verdict, by_address = journey.decided(followed, _NAMES)
    assert by_verdict.matched.endswith("@variant has 2 : goto pick_2")
    met = '@endpoints has 10.43.7.203 . tcp . 8080 . 1 : 10.42.1.170 . 80 "second"'
    assert by_address.matched.endswith(met)


@pytest.mark.parametrize(("line", "how"), [
    ("ip kp nat-prerouting rule reject with tcp reset (verdict drop)", "refused"),
    ("ip kp nat-prerouting rule ip daddr 10.43.7.203 drop (verdict drop)", "dropped"),
    ("ip kp nat-prerouting policy drop", "dropped"),
    ("ip kp nat-prerouting policy accept", "lost"),
])
def test_the_end_names_the_rule(line: str, how: str) -> None:
    end = journey.ending(_followed(_lines(f"ip kp nat-prerouting {_packet()}", line)), _NAMES)
    assert end.how == how
    assert how == "lost" or ("nat-prerouting" in end.sentence and " by: " in end.sentence)


def test_nothing_seen_and_gone_elsewhere_are_told_apart() -> None:
    assert journey.ending(_followed([]), _NAMES).how == "unseen"
    out = [f"inet trace-x at-postrouting {_packet(to='203.0.113.9', oif='eth0')}"]
    assert journey.ending(_followed(_lines(*out)), _NAMES).how == "left"
    between = [f"inet trace-x at-postrouting {_packet(to='192.168.2.115', oif='eth0')}"]
    assert "nothing of it came there" in journey.ending(_followed(_lines(*between)), _NAMES).sentence


@pytest.mark.parametrize(("text", "matched", "action"), [
    (" counter packets 0 bytes 0 jump KUBE-SERVICES", _ANY, ""),
    ("meta l4proto tcp ip daddr 10.43.7.203  tcp dport 8080 counter packets 0 bytes 0 jump X",
     "Source: ANY  Destination: 10.43.7.203 (ClusterIP of default/web) tcp port 8080", ""),
    ("meta l4proto tcp ip saddr != 10.42.0.0/16 ip daddr 10.43.7.203 jump KUBE-MARK-MASQ",
     "Source: not 10.42.0.0/16  Destination: 10.43.7.203 (ClusterIP of default/web) tcp", ""),
    (" meta random & 2147483647 < 1073741824 counter jump Y", f"{_ANY}  at random 50%", ""),
    ("counter packets 0 bytes 0 meta mark set mark or 0x4000", _ANY, "meta mark set mark or 0x4000"),
    ("ip daddr . meta l4proto . th dport vmap @service-ips", _ANY,
     "ip daddr . meta l4proto . th dport vmap @service-ips"),
    ("ct status dnat ip saddr . ip daddr @hairpin masquerade",
     f"{_ANY}  ct status dnat ip saddr . ip daddr @hairpin", "masquerade"),
    ("update @affinity { ip saddr . meta mark timeout 3h : ip daddr . tcp dport } ip daddr @members",
     "Source: ANY  Destination: @members  "
     "update @affinity { ip saddr . meta mark timeout 3h : ip daddr . tcp dport }", ""),
    ("ct state new reject with icmp port-unreachable", f"{_ANY}  ct state new",
     "reject with icmp port-unreachable"),
])
def test_a_rule_in_words(text: str, matched: str, action: str) -> None:
    rule = ruleset.read(text, _WEB)
    assert (rule.matched, rule.action) == (matched, action)


def test_a_chain_that_draws_says_each_ones_share() -> None:
    third, half = round(2**31 / 3), 2**30
    chain = ruleset.Chain("", {
        1: f"meta random & 2147483647 < {third} counter jump A",
        2: f"meta random & 2147483647 < {half} counter jump B",
        3: "counter jump C",
    })
    shares = {name: round(share, 3) for name, share in ruleset.chances(chain).items()}
    assert shares == {"A": .333, "B": .333, "C": .333}
    assert ruleset.chances(ruleset.Chain("", {1: "counter jump A"})) == {}


@given(st.lists(st.text(max_size=80) | st.sampled_from(_served()), max_size=30), st.text(max_size=200))
def test_any_lines_give_steps_or_nothing(lines: list[str], listing: str) -> None:
    steps = packetpath.read("n", lines, ruleset.chains(listing), own="trace-x", mark="dscp 0x2b")
    followed = Followed("refused", 0.1, {"n": Seen(steps, {}, {}, ())})
    assert len(journey.rows(followed, _NAMES)) == len(steps)
    assert journey.ending(followed, _NAMES).sentence


_SERVICES: list[dict[str, Any]] = [
    {"metadata": {"namespace": "default", "name": "web"}, "spec": {"clusterIP": "10.43.0.5", "ports": [
        {"port": 80, "name": "http"}, {"port": 443, "name": "https"}, {"port": 53, "protocol": "UDP"}]}},
    {"metadata": {"namespace": "other", "name": "bare"}, "spec": {"clusterIP": "None"}},
]


@pytest.mark.parametrize(("word", "protocol", "there"), [
    ("web:https", "TCP", ("10.43.0.5", 443)), ("web", "UDP", ("10.43.0.5", 53)),
    ("web.default:99", "TCP", ("10.43.0.5", 99)),
    ("web.default.svc.cluster.local:80", "TCP", ("10.43.0.5", 80)),
    ("10.43.0.5:1", "TCP", ("10.43.0.5", 1)), ("[fd00::5]:80", "TCP", ("fd00::5", 80)),
])
def test_where_to(word: str, protocol: str, there: tuple[str, int]) -> None:
    assert trace._target(word, _SERVICES, protocol) == there


@pytest.mark.parametrize(("word", "says"), [
    ("web", "which TCP port of Service default/web"), ("bare.other", "no cluster address"),
    ("no", "no Service"), ("", "no Service"),
    ("10.43.0.5", "which port"), ("10.43.0.5:99999", "which port"), ("fd00::5", "which port"),
])
def test_where_to_is_refused_with_what_there_is(word: str, says: str) -> None:
    with pytest.raises(RunError, match=says):
        trace._target(word, _SERVICES, "TCP")


@pytest.fixture
def _state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    yield
    for one in kept.listed()[0]:
        kept.end(one.name)


def _traced(capfd: Any, *words: str) -> dict[str, Any]:
    assert main(["trace", "--json", *words]) == 0
    told: dict[str, Any] = json.loads(capfd.readouterr().out)
    return told


_SEP = {"10.42.0.85:80": "KUBE-SEP-REGCNUNS5RWEMTHB", "10.42.1.170:80": "KUBE-SEP-AB7UW27KCQCMC3UG"}
_SVC = "KUBE-SVC-WNPCWQYGSYD7A5N6"


@pytest.mark.kernel
def test_the_posts_four_steps_and_who_did_not_come(capfd: Any, _state: None) -> None:
    assert main(["trace"]) == 0  # raises the post's cluster
    text = capfd.readouterr().out
    lines = [line.split(maxsplit=2) for line in text.splitlines()]
    start = next(at for at, words in enumerate(lines) if words[:2] == ["Step", "Chain"])
    assert lines[start][2].split("  ")[0] == "Effective Matched Rule"
    four = lines[start + 1:start + 5]
    assert [(step, chain) for step, chain, _rest in four[:3]] == [
        ("1.", "PREROUTING"), ("2.", "KUBE-SERVICES"), ("3.", _SVC)]
    to = four[3][2].rpartition("DNAT to ")[2]
    assert four[3][:2] == ["4.", _SEP[to]]
    assert four[0][2].startswith(_ANY)
    assert four[0][2].endswith("Jump to KUBE-SERVICES")
    assert "10.43.7.203 (ClusterIP of default/nextcloud-dev-clusterip) tcp port 8080" in four[1][2]
    assert four[1][2].endswith(f"Jump to {_SVC}")
    other = next(name for name in _SEP.values() if name != _SEP[to])
    assert four[2][2].endswith(f"Jump to {_SEP[to]} (50%; else {other} 50%)")
    assert "Delivered to pod default/nextcloud-dev-" in text
    assert f"({to}) on " in text


@pytest.mark.kernel
def test_a_removed_rule_changes_the_table(capfd: Any) -> None:
    arguments = ("--cluster", "netns://2-nodes?seed", "outside", "192.168.2.114:32540", "--timeout", "0.5")
    healthy = _traced(capfd, *arguments)
    broken = _traced(capfd, *arguments, "--implementation", "forgets-to-masquerade")
    marks = [[row for row in told["steps"] if "KUBE-MARK-MASQ" in row["chain"]] for told in (healthy, broken)]
    assert len(marks[0]) == 1
    assert marks[0][0]["action"] == "meta mark set mark or 0x4000"
    assert marks[1] == []
    assert healthy["ended"]["how"] == "delivered"


@pytest.mark.kernel
def test_a_kept_cluster_in_mode_nftables_its_errors_and_that_nothing_stays(capfd: Any, _state: None) -> None:
    assert main(["cluster", "up", "netns://2-nodes", "--implementation", "reference-nftables"]) == 0
    node = kept.find(kept.DEFAULT).nodes[0]
    capfd.readouterr()
    refused = _traced(capfd, node, "kubernetes:80")
    assert (refused["outcome"], refused["ended"]["how"]) == ("refused", "refused")
    assert "reject with tcp reset" in refused["ended"]["rule"]
    served = _traced(capfd, node, "kubernetes")
    assert served["decided"][-1]["action"] == "DNAT to 192.168.2.2:6443"
    assert "@endpoints has 10.43.0.1 . tcp . 443 . 0 : 192.168.2.2 . 6443" in served["decided"][-1]["matched"]
    assert main(["trace", "nobody", "kubernetes"]) == 3
    assert "there is no pod default/nobody, and no node or place nobody" in capfd.readouterr().err
    assert main(["trace", "outside", "kubernetes", "--implementation", "reference-iptables"]) == 3
    assert "has its implementation already" in capfd.readouterr().err
    assert main(["trace", "outside", "kubernetes", "--cluster", "kind://x"]) == 3
    assert "only the embedded cluster can be traced" in capfd.readouterr().err
    assert main(["trace", "outside", "kubernetes", "--timeout", "0"]) == 3
    assert main(["cluster", "exec", node, "--", "nft", "list", "tables"]) == 0
    assert "trace-" not in capfd.readouterr().out


@pytest.mark.kernel
def test_an_interrupted_trace_leaves_nothing(tmp_path: Path, capfd: Any, _state: None) -> None:
    assert main(["cluster", "up", "netns://1-node", "--implementation", "none"]) == 0
    node = kept.find(kept.DEFAULT).nodes[0]
    trace = ["trace", node, "192.168.2.222:80", "--timeout", "50"]
    command = [sys.executable, "-m", "conformance.cli.main", *trace]
    tables = ["cluster", "exec", node, "--", "nft", "list", "tables"]

    def there() -> bool:
        capfd.readouterr()
        assert main(tables) == 0
        return "trace-" in capfd.readouterr().out

    silent = subprocess.DEVNULL
    with subprocess.Popen(command, cwd=_ROOT, stdout=silent, stderr=silent) as running:
        end = time.monotonic() + 30
        while not there():
            assert time.monotonic() < end
        running.send_signal(signal.SIGINT)
        assert running.wait(30) == 3
    assert not there()


def test_the_program_on_a_node_says_why_it_cannot() -> None:
    words = ["-m", "conformance.nodetrace", "watch", "trace-x", "mark", "1", "no rules"]
    alone = ["unshare", "--user", "--map-root-user", "--net", "--", sys.executable]
    said = commands.run([*alone, *words], timeout=20)
    assert "syntax error" in json.loads(said.output)["error"]
