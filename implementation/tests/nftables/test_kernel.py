"""Rows in the kernel: what is written, read back, repaired, refused, and left alone."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import msgspec
import pytest

from implementation.dataplane import DataplaneError
from implementation.dataplane.nftables import Nftables, readback, show
from implementation.dataplane.nftables import netlink as nl
from implementation.dataplane.nftables.kernel import Kernel, Refused
from implementation.dataplane.nftables.shapes import Family
from implementation.objects import SliceEndpoint
from implementation.state.desired import Desired
from implementation.tests.build import NODE, ROWS, desired, endpoints_of, service
from implementation.tests.lab import NODE_IP, Node, ask, echo, inside, sh
from implementation.tests.nftables import listing

pytestmark = pytest.mark.kernel
POD0, POD1 = SliceEndpoint("10.42.0.2", node="here"), SliceEndpoint("10.42.0.3", node="here")
VIP = "10.43.0.5"


@pytest.fixture(params=["root", "nobody"])
def who(request: pytest.FixtureRequest) -> bool:
    """True when the test shall run without any right of root's."""
    return bool(request.param == "nobody")


def some_state(dice: random.Random) -> Desired:
    """A few Services of every sort, drawn by ``dice``."""
    pairs = []
    for number in range(dice.randint(0, 5)):
        one = service(
            f"s{number}",
            f"10.43.0.{dice.randint(1, 4)}",  # addresses collide now and then
            protocol=dice.choice(["TCP", "UDP"]),
            node_port=dice.choice([0, 30080 + number]),
            external_ips=dice.choice([(), ("1.2.3.4",), ("10.43.0.1", "1.2.3.5")]),
            virtual_ips=dice.choice([(), ("192.168.2.200",)]),
            source_ranges=dice.choice([(), ("10.0.0.0/8",), ("192.168.0.0/16", "172.16.0.0/12")]),
            affinity_seconds=dice.choice([0, 0, 10, 20]),
            external_local=dice.random() < 0.4,
            internal_local=dice.random() < 0.2,
        )
        nodes = [
            SliceEndpoint(f"10.42.0.{n}", node=dice.choice(["here", "there"]))
            for n in dice.sample(range(2, 9), dice.randint(0, 4))
        ]
        pairs.append((one, [endpoints_of(one, *nodes)]))
    addresses = dice.choice([NODE.addresses, ("192.168.2.114", "10.9.9.9")])
    return msgspec.structs.replace(desired(*pairs), node_port_addresses=addresses)


def own_rows(dataplane: Nftables) -> Any:
    table = dataplane._families[4]
    return {row: value for rows in table._of.values() for row, value in rows.items()}


def found_rows() -> Any:
    found = readback.read(Kernel(), Family(4))
    assert found is not None
    return found.rows


def random_life(seed: int) -> Any:
    sh("ip link set lo up")
    dice = random.Random(seed)
    dataplane = Nftables(ROWS)
    for _ in range(25):
        wanted = some_state(dice)
        dataplane.apply(wanted)
        assert dataplane.apply(wanted).written == 0
        assert own_rows(dataplane) == found_rows()
        event = dice.random()
        if event < 0.2:
            dataplane = Nftables(ROWS)  # a restart
            assert dataplane.apply(wanted).written == 0
        elif event < 0.4:
            sh("nft flush " + dice.choice(["ruleset", "map ip kp variant", "chain ip kp services"]))
            assert not dataplane.intact()
            dataplane.forget()
            dataplane.apply(wanted)
            assert dataplane.intact() and own_rows(dataplane) == found_rows()
    lived = listing.dump()
    sh("nft list ruleset")
    sh("nft delete table ip kp")
    Nftables(ROWS).apply(wanted)
    return [lived, listing.dump()]


@pytest.mark.parametrize("seed", range(3))
def test_after_a_random_life_the_kernel_equals_a_fresh_build(seed: int) -> None:
    lived, fresh = inside(random_life, seed)

    assert lived == fresh


def prepared(seed: int) -> Any:
    """A first apply after parts of other states were prepared, beside one after nothing."""
    sh("ip link set lo up")
    dice, found = random.Random(seed), []
    for _ in range(12):
        wanted, ahead = some_state(dice), Nftables(ROWS)
        for key, served in list(some_state(dice).services.items()):
            ahead.prepare({key: served})
        for key, served in wanted.services.items():
            if dice.random() < 0.7:
                ahead.prepare({key: served})
        ahead.apply(wanted)
        assert own_rows(ahead) == found_rows() and ahead.apply(wanted).written == 0
        first = listing.dump()
        late = Nftables(ROWS)
        late.prepare(wanted.services)  # of no use: there is a table
        assert late.apply(wanted).written == 0
        sh("nft delete table ip kp")
        Nftables(ROWS).apply(wanted)
        found.append(first == listing.dump())
        sh("nft delete table ip kp")
    return found


@pytest.mark.parametrize("seed", range(2))
def test_what_was_prepared_ahead_makes_no_difference(seed: int) -> None:
    assert inside(prepared, seed) == [True] * 12


def chunked() -> Any:
    sh("ip link set lo up")
    services = [service(f"s{n}", f"10.43.{n // 250}.{n % 250}") for n in range(1500)]
    many = desired(*((one, [endpoints_of(one, POD0, POD1)]) for one in services))
    kernel = Kernel(buffer=106_496)  # 212,992 bytes, Debian's limit without root's rights
    dataplane = Nftables(ROWS, kernel)
    commits = []
    send = kernel.commit
    kernel.commit = lambda every: commits.append(sum(map(len, every))) or send(every)  # type: ignore[method-assign]
    first = dataplane.apply(many)
    served = len(listing.dump())
    dataplane.apply(desired())
    return [len(commits) > 2, max(commits) < 212_992, first.total, served, listing.dump()]


def test_what_no_socket_takes_at_once_is_written_in_parts() -> None:
    assert inside(chunked, as_nobody=True) == [True, True, 1500 * 4 + 2, 1500, []]


def foreign() -> Any:
    sh("ip link set lo up")
    sh("nft add table ip other && nft add chain ip other c && nft add rule ip other c counter")
    sh("nft add table inet kp && nft add chain inet kp c")
    before = [sh("nft list table ip other"), sh("nft list table inet kp")]
    web = service(node_port=30080)
    dataplane = Nftables(ROWS)
    dataplane.apply(desired((web, [endpoints_of(web, POD0)])))
    quiet = dataplane.intact()
    sh("nft add rule ip other c accept && nft delete table ip other")
    still = dataplane.intact()
    dataplane.cleanup()
    dataplane.cleanup()
    return [quiet, still, before[1] == sh("nft list table inet kp"), sh("nft list tables")]


def test_other_tables_are_left_alone_and_their_changes_are_no_alarm() -> None:
    assert inside(foreign) == [True, True, True, "table inet kp\n"]


class Picky(Kernel):
    """A kernel that refuses every transaction with a row of one address."""

    poison = bytes((10, 43, 0, 66, 6))

    def commit(self, every: Any) -> None:
        for index, one in enumerate(every):
            if self.poison in one and one[4] == nl.Message.NEWSETELEM:
                raise Refused(28, index, " at a test's wish")
        super().commit(every)


def refused() -> Any:
    sh("ip link set lo up")
    names = {f"s{n}": f"10.43.0.{n}" for n in (5, 6, 66, 7, 8)}
    services = [service(name, address) for name, address in names.items()]
    pairs = [(one, [endpoints_of(one, POD0)]) for one in services]
    dataplane = Nftables(ROWS, Picky())
    dataplane.apply(desired(*pairs[:2]))
    dataplane.apply(desired(*pairs))
    said = [table.refused for table in dataplane._families.values()]
    served = listing.dump()
    without = dataplane.apply(desired(*(pair for pair in pairs if pair[0].name != "s66")))
    dataplane.apply(desired(*pairs))
    Picky.poison = b"nothing to refuse any more"
    again = dataplane.apply(desired(*pairs))
    told = [without.services, again.services]
    return [len(served), [list(one.values()) for one in said], len(listing.dump()), told]


def test_a_service_the_kernel_refuses_is_found_named_and_tried_again_while_others_are_served() -> None:
    served, said, after, (without, again) = inside(refused)

    assert (served, after, again) == (4, 5, [["default", "s66"]])
    assert without == [["default", "s66"]]  # its end is told as well: more than rules follows from it
    assert said[0][0].startswith("Service default/s66 is not in force, the kernel refused add in ")
    assert "ENOSPC" in said[0][0]


class Deaf(Kernel):
    """A kernel that fails one transaction."""

    fail = False

    def commit(self, every: Any) -> None:
        if self.fail:
            self.fail = False
            raise DataplaneError("the socket broke")
        super().commit(every)


def failed_once() -> Any:
    sh("ip link set lo up")
    web, kernel = service(), Deaf()
    dataplane = Nftables(ROWS, kernel)
    dataplane.apply(desired((web, [endpoints_of(web, POD0)])))
    kernel.fail = True
    wanted = desired((web, [endpoints_of(web, POD1)]))
    try:
        dataplane.apply(wanted)
    except DataplaneError as error:
        return [str(error), dataplane.apply(wanted).full, listing.dump()]
    return None


def test_after_a_failure_the_next_apply_reads_back_and_writes_what_is_missing() -> None:
    assert inside(failed_once) == ["the socket broke", True, [f"tcp {VIP}:80 -> 10.42.0.3:8080"]]


def other_options() -> Any:
    sh("ip link set lo up")
    web = service()
    wanted = desired((web, [endpoints_of(web, POD0)]))
    Nftables(ROWS).apply(wanted)
    everywhere = Nftables(msgspec.structs.replace(ROWS, masquerade_all=True))
    written = everywhere.apply(wanted).written
    chain = sh("nft list chain ip kp inside_pick_1")
    return [
        written > 0,
        "masquerade" in chain,
        "saddr" in chain,
        everywhere.apply(wanted).written,
        listing.dump(),
    ]


def test_a_table_written_with_other_options_is_written_anew() -> None:
    assert inside(other_options) == [True, True, False, 0, [f"tcp {VIP}:80 -> 10.42.0.2:8080"]]


def ipv6() -> Any:
    sh("ip link set lo up")
    both = service(cluster_ips=(VIP, "fd43::5"), node_port=30080, affinity_seconds=10)
    slices = [endpoints_of(both, POD0), endpoints_of(both, SliceEndpoint("fd42::2"), family=6, name="six")]
    wanted = msgspec.structs.replace(desired((both, slices)), node_port_addresses=(NODE_IP, "fd00::1"))
    dataplane = Nftables(ROWS)
    parts = dataplane.apply(wanted).parts
    served = listing.dump("ip6")
    again = Nftables(ROWS).apply(desired())  # finds the table of IPv6 though nothing needs it now
    sh("nft list ruleset")
    families = [[part.family for part in some] for some in (parts, again.parts)]
    return [*families, served, listing.dump("ip6")]


def test_ipv6_is_the_same(who: bool) -> None:
    families, again, served, gone = inside(ipv6, as_nobody=who)

    assert families == again == [4, 6]
    assert served == ["tcp fd43::5:80 -> fd42::2:8080", "tcp node:30080 -> fd42::2:8080"]
    assert gone == []


def affinity() -> Any:
    Node(2)
    for number in (0, 1):
        echo(f"pod{number}", 8080, f"pod{number}")
    web = service(affinity_seconds=100)
    both = desired((web, [endpoints_of(web, POD0, POD1)]))
    dataplane = Nftables(ROWS)
    dataplane.apply(both)
    wrong, moved = Counter[str](), 0
    for _ in range(6):
        bound = ask("outside", VIP, 80).split()[0]
        dataplane.apply(desired((web, [endpoints_of(web, POD1 if bound == "pod0" else POD0)])))
        seen = {ask("outside", VIP, 80).split()[0] for _ in range(10)}
        wrong[bound] += bound in seen
        moved += len(seen) == 1
        dataplane.apply(both)
    kernel = Kernel()
    found = readback.read(kernel, Family(4))
    assert found is not None
    told = list(show.lines(Family(4), found, readback.elements(kernel, Family(4), "affinity"), "default/web"))
    restarted = Nftables(ROWS)
    restarted.apply(both)
    last = {ask("outside", VIP, 80).split()[0] for _ in range(10)}
    return [sum(wrong.values()), moved, len(last), told]


def test_a_client_stays_until_its_endpoint_goes_and_never_meets_a_dead_one(who: bool) -> None:
    wrong, moved, last, told = inside(affinity, as_nobody=who)

    assert (wrong, moved, last) == (0, 6, 1)
    assert told[0].startswith(f"default/web  {VIP} tcp 80  -> 10.42.0.")
    assert "a client stays for 100 s; masqueraded unless from pods" in told[0]
    assert told[1].startswith("    client 192.168.2.50 stays with 10.42.0.")


def shown() -> Any:
    sh("ip link set lo up")
    web = service(node_port=30080, virtual_ips=("192.168.2.200",), source_ranges=("10.0.0.0/8",))
    local = service("local", "10.43.0.7", external_ips=("1.2.3.4",), external_local=True)
    Nftables(ROWS).apply(
        desired((web, [endpoints_of(web, POD0)]), (local, [endpoints_of(local, SliceEndpoint("10.42.1.3"))]))
    )
    found = readback.read(Kernel(), Family(4))
    assert found is not None
    return list(show.lines(Family(4), found, []))


def test_show_tells_what_is_served_in_words() -> None:
    assert inside(shown) == [
        "default/web  node port tcp 30080  -> 10.42.0.2:8080; masqueraded",
        "default/local  1.2.3.4 tcp 80  dropped: no endpoint on this node",
        "default/local  1.2.3.4 tcp 80  -> 10.42.1.3:8080; others -> on this node: nobody; "
        "the client's address is kept; pods and this node may use all endpoints",
        "default/web  10.43.0.5 tcp 80  -> 10.42.0.2:8080; masqueraded unless from pods",
        "default/local  10.43.0.7 tcp 80  -> 10.42.1.3:8080; masqueraded unless from pods",
        "default/web  192.168.2.200 tcp 80  -> 10.42.0.2:8080; open to 10.0.0.0/8; masqueraded",
    ]


def test_the_tool_that_shows_says_when_there_is_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert show.main(["a", "b"]) == 2
    assert "usage" in capsys.readouterr().out
