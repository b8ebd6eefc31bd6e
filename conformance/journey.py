"""A followed connection told to people: what happened, the rules that decided, where it ended. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from conformance import packetpath, ruleset
from conformance.objects import Object
from conformance.packetpath import Followed, Step, join
from conformance.ruleset import Chain, Element


@dataclass(frozen=True)
class Names:
    """Whose an address is, as the API server says it."""

    pods: Mapping[str, tuple[str, str]] = field(default_factory=dict)  # address -> (namespace/name, node)
    nodes: Mapping[str, str] = field(default_factory=dict)  # address -> node
    services: Mapping[str, str] = field(default_factory=dict)  # address -> in words

    @classmethod
    def of(cls, pods: Iterable[Object], services: Iterable[Object], nodes: Mapping[str, str]) -> Names:
        """From the lists of pods and Services, and the nodes' addresses."""
        known = {
            one["ip"]: (f"{pod['metadata']['namespace']}/{pod['metadata']['name']}", pod["spec"]["nodeName"])
            for pod in pods if not pod["spec"].get("hostNetwork") for one in pod["status"].get("podIPs") or ()
        }
        words = {}
        for service in services:
            name = f"{service['metadata']['namespace']}/{service['metadata']['name']}"
            balanced = service.get("status", {}).get("loadBalancer", {}).get("ingress") or ()
            words.update({one["ip"]: f"LoadBalancer of {name}" for one in balanced if "ip" in one})
            words.update(dict.fromkeys(service["spec"].get("clusterIPs") or (), f"ClusterIP of {name}"))
        return cls(known, dict(nodes), words)

    def words(self) -> dict[str, str]:
        """Address to words, of everything known."""
        pods = {ip: f"pod {name}" for ip, (name, _node) in self.pods.items()}
        return {**self.services, **{ip: f"node {name}" for ip, name in self.nodes.items()}, **pods}


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    step: int
    node: str
    hook: str
    chain: str
    matched: str
    action: str

    def cells(self) -> tuple[str, ...]:
        """The line's words."""
        return (f"{self.step}.", self.node, self.hook, self.chain, self.matched, self.action)


@dataclass(frozen=True)
class Ending:
    """Where the packet ended: delivered, refused, dropped, left, lost or unseen, and the sentence."""

    how: str
    sentence: str
    rule: str = ""


HEADINGS = ("Step", "Node", "Hook", "Chain", "Matched rule", "Action")
DECIDED = ("Step", "Chain", "Effective Matched Rule", "Action")
_AT = {"prerouting": "comes in", "input": "to this node itself", "forward": "passes on",
       "output": "sent by this node", "postrouting": "goes out"}


def rows(followed: Followed, names: Names) -> list[Row]:
    """Every step of the packet: each hook, each rule that matched, each policy."""
    steps, words = followed.steps, names.words()
    return [_row(number, step, steps, followed, words) for number, step in enumerate(steps, 1)]


def decided(followed: Followed, names: Names) -> list[Row]:
    """The steps by whose jumps the packet first got another destination or its end, counted from 1."""
    steps, words = followed.steps, names.words()
    chosen = packetpath.decision(steps)
    return [_row(number, step, steps, followed, words) for number, step in enumerate(chosen, 1)]


def _row(number: int, step: Step, steps: Sequence[Step], followed: Followed, words: Mapping[str, str]) -> Row:
    if step.verdict == "hook":
        by = " to ".join(one for one in (step.packet.came_by, step.packet.leaves_by) if one)
        said = _AT.get(step.hook, step.hook) + (f" ({by})" if by else "")
        return Row(number, step.node, step.hook, "", str(step.packet), said)
    if not step.rule:
        return Row(number, step.node, step.hook, step.chain, "no rule ended it", f"policy {step.verdict}")
    rule = ruleset.read(step.rule, words)
    seen = followed.seen[step.node]
    result = _result(step, steps)
    looked = _looked_up(step, seen.sets, result)
    said = f'{rule.matched}  "{rule.comment}"' if rule.comment else rule.matched
    return Row(number, step.node, step.hook, step.chain, said + looked,
               _action(step, rule, seen.chains.get(step.where), result))


def _result(step: Step, steps: Sequence[Step]) -> tuple[str, ...]:
    """Address and port the packet has after this step when they are others than before."""
    later = steps[steps.index(step) + 1:]
    after = next((one for one in later if one.packet is not step.packet), None)
    if step.verdict != "accept" or after is None or after.packet.target == step.packet.target:
        return ()
    return after.packet.target


def _looked_up(step: Step, sets: Mapping[str, list[Element]], result: Sequence[str]) -> str:
    """The elements the packet can have met in the sets and maps that the rule names."""
    said = []
    for name in ruleset.named(step.rule):
        wanted = [f"{step.verdict} {step.target}"] if f"vmap @{name}" in step.rule else result
        found = sets.get(f"{step.where[0]} {step.where[1]} {name}", [])
        met = ruleset.looked_up(found, step.packet.fields(), wanted)
        if 0 < len(met) <= 2:  # more were no answer, and the trace does not say which
            said.append(f"  @{name} has {' or '.join(map(str, met))}")
    return "".join(said)


def _action(step: Step, rule: ruleset.Rule, chain: Chain | None, result: Sequence[str]) -> str:
    if step.verdict in {"jump", "goto"}:
        verb = "Jump" if step.verdict == "jump" else "Go"
        shares = ruleset.chances(chain) if chain else {}
        others = [f"{one} {share:.0%}" for one, share in shares.items() if one != step.target]
        said = f"{verb} to {step.target}"
        if step.target in shares and others and rule.rest.partition("at random")[0] == "":
            said += f" ({shares[step.target]:.0%}; else {', '.join(others)})"
        return said
    if result:
        return f"DNAT to {join(*result)}"
    return rule.action or step.verdict.capitalize()


def ending(followed: Followed, names: Names) -> Ending:
    """Where the packet ended."""
    steps = followed.steps
    if not steps:
        return Ending("unseen", "No node saw the packet. Is the address anybody's on that network, and has "
                                "the sender a route to it?")
    last = steps[-1]
    if last.verdict == "drop":
        refused = "reject" in last.rule
        by = ruleset.plain(last.rule) or "its policy"
        how = "refused" if refused else "dropped"
        said = f"{how.capitalize()} on {last.node} at {last.hook}, in chain {last.chain}, by: {by}"
        return Ending(how, said, by)
    if last.verdict == "hook" and last.hook == "input":
        return Ending("delivered", f"Delivered to {last.node} itself, at {join(*last.packet.target)}: to "
                      "whoever listens there. What a proxy opens from there is a connection of its own.")
    if last.verdict == "hook" and last.hook == "postrouting":
        return _gone_out(last, names)
    legacy = [f"{node}: iptables-legacy has rules there, which no trace shows ({', '.join(one.legacy)})"
              for node, one in followed.seen.items() if one.legacy]
    return Ending("lost", f"Lost on {last.node} after {last.hook}: no rule of nftables ended it. Routing did "
                          "(no route, rp_filter, ip_forward), or what is no nftables rule: eBPF, IPVS, "
                          f"iptables-legacy. {'; '.join(legacy)}".rstrip())


def _gone_out(last: Step, names: Names) -> Ending:
    address, port = last.packet.target
    pod, node = names.pods.get(address, ("", ""))
    if pod and node == last.node:
        return Ending("delivered", f"Delivered to pod {pod} ({join(address, port)}) on {node}.")
    owner = f"pod {pod} on {node}" if pod else f"node {names.nodes.get(address, '')}"
    left = f"{last.node} by {last.packet.leaves_by} for"
    if pod or address in names.nodes:
        return Ending("lost", f"Lost between the nodes: it left {left} {owner} ({join(address, port)}), and "
                              "nothing of it came there.")
    return Ending("left", f"Left {left} {join(address, port)}, which is neither a pod's nor a node's.")


def sender(followed: Followed) -> str:
    """What became of it at its sender."""
    return f"The sender: {followed.outcome} after {followed.ms:g} ms."


def document(followed: Followed, names: Names, *, source: str, target: str) -> dict[str, Any]:
    """Everything as JSON holds it."""
    return {
        "from": source, "to": target, "outcome": followed.outcome, "ms": followed.ms,
        "ended": asdict(ending(followed, names)),
        "decided": [asdict(one) for one in decided(followed, names)],
        "steps": [asdict(one) for one in rows(followed, names)],
    }


def table(headings: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """Lines under headings, in columns."""
    every = [tuple(headings), *map(tuple, lines)]
    widths = [max(map(len, column)) for column in zip(*every, strict=True)]
    said = ["  ".join(word.ljust(width) for word, width in zip(line, widths, strict=True)) for line in every]
    return "\n".join(line.rstrip() for line in said)
