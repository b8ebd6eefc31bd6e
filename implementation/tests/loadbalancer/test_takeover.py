"""Who has the address: every fault under a simulated clock, and any schedule of faults."""

import statistics
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from implementation.loadbalancer.heartbeat import Kind, Message, decode, encode
from implementation.loadbalancer.member import Desired, Member, Send
from implementation.loadbalancer.membership import Pace
from implementation.loadbalancer.takeover import Vip
from implementation.tests.loadbalancer.world import KEY, World

VIP = "10.0.0.200"
ABC = ("a", "b", "c")
QUICK = msgspec.structs.replace(Pace(), hold_down=2.0)


def settled(names: Any = ABC, **more: Any) -> Any:
    world = World(names, **more)
    world.run(1.5)
    assert world.owners() == [world.vips[VIP].order[0]]
    return world


def first(world: Any) -> Any:
    return world.vips[VIP].order[0]


def second(world: Any) -> Any:
    return world.vips[VIP].order[1]


def changes(world: Any, since: Any = 0.0) -> Any:
    return [(host, what) for at, host, what, _ in world.history if at >= since and what != "repeat"]


def test_at_start_the_first_candidate_takes_the_address_and_nobody_else() -> None:
    assert changes(settled()) == [(first(settled()), "announce")]


def test_a_new_address_is_taken_by_the_first_though_others_hear_of_it_earlier() -> None:
    world = World(ABC, addresses=())
    world.run(1.0)
    world.vips = {VIP: Vip(VIP, VIP, ("c", "a", "b"))}
    for delay, name in ((0.0, "b"), (0.05, "a"), (0.2, "c")):
        world.at(world.now + delay, lambda name=name: world.tell(name))
    world.run(1.0)
    assert changes(world) == [("c", "announce")]


def _outage(seed: int, fault: str) -> float:
    """Seconds from the fault until a client finds an owner again."""
    world = settled(seed=seed)
    world.run(world.chance.random() / 5)
    at, seen = world.now, []
    getattr(world, fault)(first(world))
    world.run(0.6, lambda: seen.append(world.now) if not seen and world.visible() else None)
    assert world.visible() == [second(world)]
    found: float = seen[0] - at
    return found


@pytest.mark.parametrize("fault", ["isolate", "power_off"])
def test_a_silent_node_is_followed_within_the_bound(fault: Any) -> None:
    outages = [_outage(seed, fault) for seed in range(30)]
    assert max(outages) <= 0.35
    assert statistics.median(outages) <= 0.3


def test_two_nodes_at_once_are_followed_within_the_bound() -> None:
    world = settled((*ABC, "d"))
    for name in world.vips[VIP].order[:2]:
        world.power_off(name)
    world.run(0.4)
    assert world.visible() == [world.vips[VIP].order[2]]


def test_a_dead_speaker_on_a_living_node_is_given_ten_intervals() -> None:
    world = settled()
    at = world.now
    world.kill(first(world))
    world.run(0.8)
    assert world.owners() == []
    world.run(0.5)
    assert world.owners() == [second(world)]
    assert changes(world, at) == [(second(world), "announce")]


def test_a_node_that_dies_while_its_speaker_was_dead_already_is_followed_soon() -> None:
    world = settled()
    world.kill(first(world))
    world.run(0.5)
    at = world.now
    world.power_off(first(world))
    world.run(0.2)
    assert world.owners() == [second(world)]
    assert world.history[-1][0] - at < 0.15


def test_a_speaker_that_restarts_does_not_fight_for_its_address() -> None:
    world = settled()
    world.kill(first(world))
    world.run(0.1)
    world.start(first(world))
    world.run(3.0)
    assert world.owners() == [second(world)]


def test_a_stopped_speaker_that_goes_on_gives_way_at_once() -> None:
    world = settled()
    world.stop(first(world))
    world.run(3.0)
    world.cont(first(world))
    assert [n for n in world.owners() if world.hosts[n].stopped_at is None] == [second(world)]
    world.run(2.0)
    assert world.owners() == [second(world)]


def test_a_short_pause_changes_nothing() -> None:
    world = settled()
    for name in ABC:
        at = world.now
        world.stop(name)
        world.run(0.7)
        world.cont(name)
        world.run(1.0)
        assert changes(world, at) == []


def test_a_speaker_that_leaves_serves_until_its_successor_announces() -> None:
    world = settled()
    at, host = world.now, world.hosts[first(world)]
    host.member.leave(world.now)
    world._turn(host)
    world.run(0.5)
    assert changes(world, at) == [(second(world), "announce"), (first(world), "withdraw")]
    assert host.member.left(world.now)


def test_a_speaker_that_leaves_alone_does_not_wait() -> None:
    world = settled(("a",))
    world.hosts["a"].member.leave(world.now)
    world._turn(world.hosts["a"])
    assert world.hosts["a"].member.left(world.now)


def test_a_returning_node_waits_and_then_takes_back_without_a_gap() -> None:
    world = settled(pace=QUICK)
    world.isolate(first(world))
    world.run(1.0)
    world.isolate(first(world), on=False)
    healed = world.now
    world.run(1.9)
    assert world.owners() == [second(world)]
    bare = []
    world.run(2.0, lambda: bare.append(world.now) if not world.visible() else None)
    assert world.owners() == [first(world)]
    assert bare == []
    back = [at for at, host, what, _ in world.history if host == first(world) and what == "announce"][-1]
    assert 2.0 <= back - healed <= 2.5


def test_a_partition_heals_to_one_owner_within_two_intervals() -> None:
    for seed in range(10):
        world = settled(seed=seed)
        world.isolate(first(world))
        world.run(2.0)
        assert set(world.owners()) == {first(world), second(world)}  # available on both sides
        world.isolate(first(world), on=False)
        world.run(0.3)
        assert world.owners() == [second(world)]


def test_the_winner_of_a_double_claim_announces_anew() -> None:
    world = settled()
    world.isolate(first(world))
    world.run(2.0)
    at = world.now
    world.isolate(first(world), on=False)
    world.run(0.5)
    assert any(host == second(world) and what == "repeat" for t, host, what, _ in world.history if t > at)


def test_a_node_that_was_cut_off_does_not_take_others_addresses_home() -> None:
    world = World(ABC, addresses=[f"10.0.0.{n}" for n in range(200, 212)])
    world.run(1.5)
    lost = "a"
    before = {a: world.owners(a) for a in world.vips}
    world.isolate(lost)
    world.run(2.0)
    world.isolate(lost, on=False)
    world.run(1.0)
    for address, had in before.items():
        assert len(world.owners(address)) == 1
        if had != [lost]:
            assert world.owners(address) == had


@pytest.mark.parametrize("both_ways", [False, True])
def test_trouble_between_two_nodes_alone_moves_nothing(both_ways: Any) -> None:
    world = settled()
    owner, other = first(world), second(world)
    at = world.now
    world.deaf |= {(owner, other)} | ({(other, owner)} if both_ways else set())
    world.run(20.0)
    assert changes(world, at) == []


def test_a_tenth_of_all_datagrams_lost_moves_nothing() -> None:
    world = settled(seed=3)
    world.loss, at = 0.1, world.now
    world.run(120.0)
    assert changes(world, at) == []


def test_an_owner_that_is_no_candidate_any_more_hands_over() -> None:
    world = settled()
    at, owner = world.now, first(world)
    world.vips = {VIP: Vip(VIP, VIP, tuple(n for n in world.vips[VIP].order if n != owner))}
    for delay, name in enumerate([owner, *(n for n in ABC if n != owner)]):
        world.at(world.now + delay / 20, lambda name=name: world.tell(name))
    world.run(1.0)
    assert changes(world, at) == [(first(world), "announce"), (owner, "withdraw")]


def test_an_address_that_is_gone_is_withdrawn_at_once() -> None:
    world = settled()
    world.tell(first(world), {})
    assert world.owners() == []


def test_without_a_link_nothing_is_claimed_and_with_it_we_listen_first() -> None:
    world = settled(pace=QUICK)
    host = world.hosts[first(world)]
    host.member.link(False, world.now)
    world.isolate(first(world))
    world._turn(host)
    assert world.owners() == []
    world.run(1.0)
    assert world.owners() == [second(world)]
    world.isolate(first(world), on=False)
    host.member.link(True, world.now)
    world.run(1.0)
    assert world.owners() == [second(world)]


def test_without_a_key_the_first_candidate_announces_and_nothing_is_sent() -> None:
    member = Member("a", 1, 0.0)
    member.configure(Desired({"b": "10.0.0.2"}, {VIP: Vip(VIP, VIP, ("a", "b"))}), 0.0)
    member.tick(0.5)
    assert member.claims == {VIP: 1}
    assert member.wake(0.5) > 0.5
    assert not any(isinstance(action, Send) for action in member.actions())


def test_more_addresses_than_fit_one_datagram_are_all_told() -> None:
    world = World(("a", "b"), addresses=[f"10.1.{n // 200}.{n % 200 + 1}" for n in range(300)])
    world.run(1.5)
    for name, other in (("a", "b"), ("b", "a")):
        assert world.hosts[other].member.peers[name].claims == world.hosts[name].member.claims
    world.power_off("a")
    world.run(0.5)
    assert len(world.hosts["b"].member.claims) == 300


def test_recorded_heartbeats_keep_no_dead_speaker_alive() -> None:
    world, recorded = settled(), []
    original = world._send

    def record(host: Any, action: Any) -> None:
        recorded.append((host.name, action))
        original(host, action)

    world._send = record
    world.run(1.0)
    world.power_off(first(world))
    mine = [action for name, action in recorded if name == first(world)]
    for i, action in enumerate(mine * 3):
        world.at(world.now + i * 0.02, lambda action=action: original(world.hosts[first(world)], action))
    world.run(0.5)
    assert world.visible() == [second(world)]


def test_recorded_heartbeats_do_not_impress_a_speaker_that_has_just_started() -> None:
    old = Message(Kind.BEAT, "b", 7, 1, 5, claims=((VIP, 9),))
    member = Member("a", 2, 0.0)
    member.configure(Desired({"b": "10.0.0.2"}, {}, (KEY,)), 0.0)
    member.receive(encode(old, KEY), 0.1)
    assert not member.peers["b"].alive
    answers = [decode(a.datagram, [KEY]) for a in member.actions() if isinstance(a, Send)]
    assert [answer.echo for answer in answers] == [7]  # an introduction, no more


@given(
    st.lists(
        st.binary(max_size=120)
        | st.builds(
            lambda *parts: encode(Message(Kind.BEAT, *parts), KEY),
            st.sampled_from(["a", "b", "c", ""]),
            st.integers(0, 3),
            st.integers(0, 3),
            st.integers(0, 9),
        ),
        max_size=20,
    )
)
@settings(deadline=None)
def test_no_datagram_brings_a_speaker_down(datagrams: Any) -> None:
    member = Member("a", 2, 0.0)
    member.configure(Desired({"b": "10.0.0.2"}, {VIP: Vip(VIP, VIP, ("a", "b"))}, (KEY,)), 0.0)
    for i, datagram in enumerate(datagrams):
        member.receive(datagram, i / 10)
        member.tick(i / 10)
    assert member.wake(5.0) >= 5.0


faults = st.lists(
    st.tuples(
        st.sampled_from(["isolate", "heal", "kill", "restart", "stop", "cont", "deafen", "hear"]),
        st.sampled_from(ABC),
        st.sampled_from(ABC),
        st.floats(0.01, 1.5),
    ),
    max_size=12,
)


def inflict(world: Any, fault: Any, name: Any, other: Any) -> None:
    """One fault, where it makes sense now."""
    host = world.hosts[name]
    if fault in ("isolate", "heal"):
        world.isolate(name, on=fault == "isolate")
    elif fault == "kill" and host.stopped_at is None:
        world.kill(name)
    elif fault == "restart" and not host.running:
        world.start(name)
    elif fault == "stop" and host.running and host.stopped_at is None:
        world.stop(name)
    elif fault == "cont" and host.stopped_at is not None:
        world.cont(name)
    elif fault in ("deafen", "hear") and name != other:
        (world.deaf.add if fault == "deafen" else world.deaf.discard)((name, other))


@given(faults, st.integers(0, 1000), st.sampled_from([0.0, 0.05, 0.1]))
@settings(max_examples=40, deadline=None)
def test_after_any_schedule_of_faults_there_is_one_owner_and_then_the_first(
    schedule: Any, seed: Any, loss: Any
) -> None:
    world = World(ABC, seed=seed, loss=loss, pace=QUICK)
    world.run(1.0)
    for fault, name, other, pause in schedule:
        inflict(world, fault, name, other)
        world.run(pause)
    world.loss = 0.0
    for name in ABC:
        inflict(world, "cont", name, name)
        inflict(world, "restart", name, name)
        world.isolate(name, on=False)
    world.deaf.clear()
    world.run(1.0)
    assert len(world.owners()) == 1, world.history[-8:]
    bare = []
    world.run(4.0, lambda: bare.append(world.now) if not world.owners() else None)
    assert world.owners() == [first(world)], world.history[-8:]
    assert bare == []
    at = world.now
    world.run(5.0)
    assert changes(world, at) == []


@pytest.mark.parametrize("wait", [5.0, 20.0])
def test_a_second_cut_after_the_heal_behaves_like_the_first(wait: float) -> None:
    world = settled()
    world.isolate(first(world))
    world.run(1.0)
    world.isolate(first(world), on=False)
    world.run(wait)
    (owner,) = world.owners()
    assert owner == (second(world) if wait < world.pace.hold_down else first(world))
    at = world.now
    world.isolate(owner)
    seen: list[float] = []
    world.run(0.6, lambda: seen.append(world.now) if not seen and world.visible() else None)
    assert seen[0] - at <= 0.35
