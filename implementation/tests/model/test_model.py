"""Random Services through every mode: kernel or sockets decide, and a model that knows only the API predicts.

``MODEL_FLOWS`` (environment) is how many flows each mode is asked; ``ci/long model`` asks 5,000.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from types import ModuleType
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, Phase, find, given, settings
from hypothesis import strategies as st

from implementation.dataplane import Dataplane
from implementation.dataplane.fake import Fake
from implementation.dataplane.iptables import Iptables
from implementation.dataplane.iptables.options import Detect, LocalTraffic
from implementation.dataplane.nftables import Nftables
from implementation.dataplane.userspace import Userspace
from implementation.node import sysctls
from implementation.state import merge, policy, topology, usable
from implementation.state.desired import Desired, Way
from implementation.state.known import Known
from implementation.tests.build import OPTIONS, ROWS, raw
from implementation.tests.lab import inside
from implementation.tests.model import oracle
from implementation.tests.model.flows import Lab, objection
from implementation.tests.model.oracle import (
    FIRST_NODE_PORT,
    NO_ANSWER,
    NODE_IPS,
    REFUSED,
    SILENT,
    VIRTUAL_IPS,
    Flow,
    Traits,
)
from implementation.tests.model.worlds import World, flows, worlds

FLOWS = int(os.environ.get("MODEL_FLOWS", "120"))
AT_ONCE, AGAIN = 12, 2
TRAITS = {
    "iptables": Traits(every_address=True, localhost=(4,), keeps_source=True, refuses_own=False),
    "nftables": Traits(every_address=False, localhost=(), keeps_source=True),
    "userspace": Traits(every_address=True, localhost=(4, 6), keeps_source=False),
}
NODE = {
    "metadata": {"name": "here", "labels": {"topology.kubernetes.io/zone": oracle.ZONE}},
    "status": {"addresses": [{"type": "InternalIP", "address": NODE_IPS[f][0]} for f in (4, 6)]},
}


def decided(world: World, *, primary: bool = False) -> Desired:
    """What the proxy's own rooms make of these objects."""
    known = Known("here")
    known.see_node("ADDED", raw(NODE))
    known.see_services([raw(one) for one in world.services])
    known.see_slices([raw(one) for one in world.slices])
    found = known.desired(known.node.addresses if primary else None)
    assert known.complaints == []
    return found


def of_mode(mode: str) -> Dataplane:
    if mode == "iptables":
        pods = tuple((f, LocalTraffic(Detect.SOURCE, n)) for f, n in ((4, "10.42.0.0/16"), (6, "fd42::/48")))
        sysctls.ensure(sysctls.ROUTE_LOCALNET, "1", "")
        return Iptables(msgspec.structs.replace(OPTIONS, local_traffic=pods))
    return (
        Nftables(ROWS) if mode == "nftables" else Userspace(msgspec.structs.replace(ROWS, every_address=True))
    )


def judged(mode: str, wanted: int) -> Any:
    """Ask so many flows of a mode; gives how many were asked. Fails with the first objection."""
    lab, dataplane, traits = Lab(), of_mode(mode), TRAITS[mode]
    asked = [0]

    def ask(world: World, chosen: list[Flow]) -> None:
        expected = [(f, oracle.fate(world.services, world.slices, f, traits)) for f in chosen]
        met = lab.ask(expected)
        asked[0] += len(met)
        wrong = [objection(*pair, found) for pair, found in zip(expected, met, strict=True)]
        assert not any(wrong), next(filter(None, wrong))
        # Alone: another flow of the same client, to a pool without that endpoint, may move it.
        for sticky in [pair for pair in expected if pair[1].sticky][:1]:
            again = [lab.ask([sticky])[0].split()[0] for _ in range(1 + AGAIN)]
            asked[0] += len(again)
            assert len(set(again)) == 1, f"{sticky[0]}: {again}"

    @settings(
        max_examples=wanted // AT_ONCE + 1, derandomize=True, database=None, deadline=None,
        phases=[Phase.generate], suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(st.lists(worlds(), min_size=1, max_size=2), st.integers(0, 1 << 30))
    def check(life: list[World], seed: int) -> None:
        for world in life if asked[0] < wanted else ():
            dataplane.apply(decided(world, primary=not traits.every_address))
            every = [flow for family in (4, 6) for flow in flows(world, family)]
            ask(world, random.Random(seed).sample(every, min(AT_ONCE, len(every))))

    check()
    return asked[0]


@pytest.mark.kernel
@pytest.mark.parametrize("mode", TRAITS)
def test_every_mode_does_with_random_flows_what_the_api_promises(mode: str) -> None:
    assert inside(judged, mode, FLOWS, timeout=30 + FLOWS / 2) >= FLOWS


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(worlds())
def test_what_is_decided_is_what_the_model_expects_of_a_client_outside(world: World) -> None:
    assert disagreements(world) == []


@pytest.mark.parametrize(
    ("module", "name", "wrong"),
    [
        (topology, "nearby", lambda _ready, _node: None),
        (usable, "draining", lambda _endpoints: ()),
        (merge, "livelier", lambda first, _second: first),
        (policy, "way", lambda _local_only, has, _local: Way.CLUSTER if has else Way.REJECT),
    ],
    ids=["no hints", "draining endpoints are not used", "the first twin wins", "no policies"],
)
def test_the_model_notices_a_wrong_decision(
    module: ModuleType, name: str, wrong: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, name, wrong)
    quick = settings(
        max_examples=2000, database=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck)
    )

    assert disagreements(find(worlds(), lambda world: bool(disagreements(world)), settings=quick))


def disagreements(world: World) -> list[Flow]:
    """The flows from outside that the decided state (as the fake tells it) and the model see differently."""
    fake, traits = Fake(), TRAITS["iptables"]
    fake.apply(decided(world))
    fates: dict[str, list[str]] = {}  # of a node port one for each family
    for line in fake.dump():
        protocol, where, told = line.split(" ", 2)
        fates.setdefault(f"{protocol} {where}", []).append(told)
    found = []
    for flow in (f for family in (4, 6) for f in flows(world, family) if f.client == "outside"):
        where = f"[{flow.address}]" if flow.family == 6 else flow.address
        where = "node" if flow.port >= FIRST_NODE_PORT else where
        told = fates.get(f"{flow.protocol} {where}:{flow.port}", [])
        expected = oracle.fate(world.services, world.slices, flow, traits)
        if expected.backends:
            right = expected.backends in map(backends, told)
        elif flow.address in VIRTUAL_IPS[flow.family] and SILENT in expected.ends:
            right = True  # the fake does not tell source ranges
        else:
            words = {REFUSED: "reject", SILENT: "drop"}
            right = NO_ANSWER in expected.ends or words[min(expected.ends)] in told
        found += [] if right else [flow]
    return found


def backends(told: str) -> frozenset[str]:
    """The names of the backends in "-> ip:port,…"."""
    targets = [target.rpartition(":") for target in told.removeprefix("-> ").split(",")]
    return frozenset(f"{oracle.NAMES.get(host.strip('[]'), '')}:{port}" for host, _, port in targets)
