"""What becomes of a Service: addresses, annotation and events, byte for byte; and whose status it is."""

from typing import Any

import msgspec
import pytest

from implementation.loadbalancer.allocate import Allocator
from implementation.loadbalancer.assignment import Event, decide
from implementation.loadbalancer.pools import configuration
from implementation.objects.balanced import BalancedService
from implementation.tests.loadbalancer.test_pools import pool

DEFAULT = pool("default", ("192.168.2.200-192.168.2.201",))
MARK = ("metallb.io/ip-allocated-from-pool", "default")
FAILED = 'Failed to allocate IP for "default/web": '


class Balancer:
    """The allocator with a configuration; ``decide`` as the controller calls it."""

    def __init__(self, *pools: Any, lb_class: Any = None) -> None:
        self.allocator, self.lb_class = Allocator(), lb_class
        self.use(*pools)

    def use(self, *pools: Any) -> None:
        self.config = configuration(pools, ())
        self.allocator.set_configuration(self.config)

    def decide(self, service: Any) -> Any:
        return decide(
            service, self.config, self.allocator, namespace_labels={}, load_balancer_class=self.lb_class
        )


def service(name: Any = "web", annotations: Any = None, **more: Any) -> Any:
    return BalancedService(
        **{
            "namespace": "default",
            "name": name,
            "type": "LoadBalancer",
            "cluster_ips": ("10.43.0.9",),
            "ports": (("TCP", 80),),
            "annotations": tuple(sorted((annotations or {}).items())),
            **more,
        }
    )


def after(one: Any, decision: Any) -> Any:
    """The service as the API shows it once the decision is written."""
    notes = dict(one.annotations)
    notes.pop(MARK[0], None)
    if decision.pool:
        notes[MARK[0]] = decision.pool
    return msgspec.structs.replace(one, ingress=decision.ingress, annotations=tuple(sorted(notes.items())))


def reasons(decision: Any) -> Any:
    return [event.reason for event in decision.events]


def test_without_a_pool_it_stays_pending_and_says_why() -> None:
    found = Balancer().decide(service())
    assert (found.ingress, found.pending) == ((), True)
    assert found.events == (Event("Warning", "AllocationFailed", FAILED + "no available IPs"),)


def test_with_a_pool_it_gets_the_first_address_and_the_event() -> None:
    found = Balancer(DEFAULT).decide(service())
    assert (found.ingress, found.pool, found.pending) == (("192.168.2.200",), "default", False)
    assert found.events == (Event("Normal", "IPAllocated", 'Assigned IP ["192.168.2.200"]'),)


def test_what_is_written_is_not_changed_again() -> None:
    b = Balancer(DEFAULT)
    first = b.decide(service())
    again = b.decide(after(service(), first))
    assert (again.ingress, again.pool, again.events) == (first.ingress, "default", ())


def test_after_a_restart_everybody_keeps_what_the_status_says() -> None:
    b = Balancer(DEFAULT)
    kept = after(service(), b.decide(service("other")) and b.decide(service()))
    assert kept.ingress == ("192.168.2.201",)
    new = Balancer(DEFAULT)
    assert new.decide(kept).ingress == ("192.168.2.201",)
    assert new.decide(service("other")).ingress == ("192.168.2.200",)


def test_an_address_no_pool_allows_any_more_is_replaced_and_told() -> None:
    b = Balancer(DEFAULT)
    had = after(service(), b.decide(service()))
    b.use(pool("default", ("10.9.0.0/30",)))
    found = b.decide(had)
    assert found.ingress == ("10.9.0.0",)
    assert found.events[0] == Event(
        "Normal",
        "ClearAssignment",
        'current IP for "default/web" not allowed by config, will attempt for new IP '
        'assignment: ["192.168.2.200"] is not allowed in config',
    )
    assert reasons(found) == ["ClearAssignment", "IPAllocated"]


def test_when_all_pools_go_the_address_goes() -> None:
    b = Balancer(DEFAULT)
    had = after(service(), b.decide(service()))
    b.use()
    found = b.decide(had)
    assert (found.ours, found.ingress, found.pool, found.pending) == (True, (), "", True)


def test_a_service_that_is_no_load_balancer_any_more_gives_its_address_back() -> None:
    b = Balancer(DEFAULT)
    had = after(service(), b.decide(service()))
    found = b.decide(msgspec.structs.replace(had, type="ClusterIP"))
    assert (found.ours, found.ingress, found.pool) == (True, (), "")
    assert b.decide(service("next")).ingress == ("192.168.2.200",)


# -- whose status is it?

TRAEFIK = service("traefik", ingress=("192.168.2.114",))


def test_traefik_keeps_the_address_another_load_balancer_gave_it() -> None:
    for pools in ((), (DEFAULT,)):
        found = Balancer(*pools).decide(TRAEFIK)
        assert not found.ours
        assert found.events == ()


def test_a_host_name_in_the_status_is_somebody_else_s() -> None:
    assert not Balancer(DEFAULT).decide(service(foreign_hostname=True)).ours


@pytest.mark.parametrize(
    "notes",
    [
        {MARK[0]: "gone"},
        {"metallb.universe.tf/ip-allocated-from-pool": "gone"},
        {"metallb.io/address-pool": "default"},
        {"metallb.io/loadBalancerIPs": "192.168.2.200"},
    ],
)
def test_one_that_carries_our_mark_or_asks_for_us_is_ours(notes: Any) -> None:
    found = Balancer(DEFAULT).decide(service(annotations=notes, ingress=("192.168.2.114",)))
    assert found.ours
    assert found.ingress == ("192.168.2.200",)


def test_an_address_of_our_pools_without_a_mark_is_taken_over_as_it_is() -> None:
    found = Balancer(DEFAULT).decide(service(ingress=("192.168.2.201",)))
    assert (found.ours, found.ingress, found.pool, found.events) == (
        True,
        ("192.168.2.201",),
        "default",
        (),
    )


def test_a_status_another_controller_wrote_over_is_put_right() -> None:
    b = Balancer(DEFAULT)
    had = after(service(), b.decide(service()))
    found = b.decide(msgspec.structs.replace(had, ingress=("192.168.2.114", "192.168.2.115")))
    assert (found.ingress, found.events) == (("192.168.2.200",), ())


@pytest.mark.parametrize(
    ("ours", "theirs", "taken"),
    [
        (None, None, True),
        (None, "x/y", False),
        ("x/y", "x/y", True),
        ("x/y", None, False),
        ("x/y", "x/z", False),
    ],
)
def test_only_services_of_our_class_are_taken(ours: Any, theirs: Any, taken: Any) -> None:
    found = Balancer(DEFAULT, lb_class=ours).decide(service(load_balancer_class=theirs))
    assert found.ours is taken


def test_a_service_of_another_class_is_not_cleaned_up() -> None:
    assert (
        not Balancer(DEFAULT)
        .decide(service(annotations=dict([MARK]), ingress=("192.168.2.200",), load_balancer_class="x/y"))
        .ours
    )


# -- what is asked for


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"requested_ip": "192.168.2.9"}, '["192.168.2.9"] is not allowed in config'),
        ({"requested_ip": "x"}, 'invalid spec.loadBalancerIP "x"'),
        (
            {"annotations": {"metallb.io/loadBalancerIPs": "a,b"}},
            'invalid metallb.io/loadBalancerIPs: "a,b"',
        ),
        (
            {
                "annotations": {"metallb.io/loadBalancerIPs": "192.168.2.201"},
                "requested_ip": "192.168.2.201",
            },
            "service can not have both metallb.io/loadBalancerIPs and svc.Spec.LoadBalancerIP",
        ),
        (
            {"annotations": {"metallb.io/loadBalancerIPs": "fd00::1"}},
            'requested loadBalancer IP(s) ["fd00::1"] does not match the ipFamily of the service',
        ),
        ({"annotations": {"metallb.io/address-pool": "other"}}, 'unknown pool "other"'),
        (
            {
                "annotations": {
                    "metallb.io/address-pool": "second",
                    "metallb.io/loadBalancerIPs": "192.168.2.201",
                }
            },
            'requested loadBalancer IP(s) ["192.168.2.201"] is not compatible with requested '
            "address pool second",
        ),
    ],
)
def test_a_wish_that_cannot_be_met_leaves_it_pending_with_the_reason(more: Any, message: Any) -> None:
    found = Balancer(DEFAULT, pool("second")).decide(service(**more))
    assert (found.ingress, found.pending) == ((), True)
    assert found.events[-1] == Event("Warning", "AllocationFailed", FAILED + message)


def test_a_wish_is_met_exactly() -> None:
    b = Balancer(DEFAULT, pool("second", autoAssign=False))
    assert b.decide(service("a", requested_ip="192.168.2.201")).ingress == ("192.168.2.201",)
    assert b.decide(service("b", annotations={"metallb.io/address-pool": "second"})).ingress == (
        "10.0.0.0",
    )
    assert b.decide(service("c", annotations={"metallb.io/loadBalancerIPs": " 10.0.0.3 "})).ingress == (
        "10.0.0.3",
    )


def test_another_wish_moves_the_service() -> None:
    b = Balancer(DEFAULT, pool("second", autoAssign=False))
    had = after(service(), b.decide(service()))
    for notes, expected in (
        ({"metallb.io/address-pool": "second"}, "10.0.0.0"),
        ({"metallb.io/loadBalancerIPs": "192.168.2.201"}, "192.168.2.201"),
    ):
        moved = b.decide(msgspec.structs.replace(had, annotations=tuple({**dict([MARK]), **notes}.items())))
        assert moved.ingress == (expected,)


def test_a_wish_that_became_wrong_is_told_as_failed_and_the_address_taken() -> None:
    b = Balancer(DEFAULT)
    had = after(service(), b.decide(service()))
    found = b.decide(msgspec.structs.replace(had, requested_ip="x"))
    assert found.events[-1] == Event(
        "Warning",
        "LoadBalancerFailed",
        'invalid requested loadbalancer IPs: invalid spec.loadBalancerIP "x"',
    )


def test_an_old_annotation_works_and_is_told_of() -> None:
    found = Balancer(DEFAULT).decide(
        service(annotations={"metallb.universe.tf/loadBalancerIPs": "192.168.2.201"})
    )
    assert found.ingress == ("192.168.2.201",)
    assert reasons(found) == ["deprecatedAnnotation", "IPAllocated"]


# -- two families

BOTH = pool("both", ("10.0.0.0/30", "fd00::/126"))
TWO = {"cluster_ips": ("fd01::9", "10.43.0.9"), "families": ("IPv6", "IPv4")}


def test_two_families_are_given_version_4_first() -> None:
    found = Balancer(BOTH).decide(service(family_policy="RequireDualStack", **TWO))
    assert found.events[-1].message == 'Assigned IP ["10.0.0.0" "fd00::"]'


def test_required_but_missing_families_leave_it_pending() -> None:
    assert Balancer(DEFAULT).decide(service(family_policy="RequireDualStack", **TWO)).pending
    found = Balancer(BOTH).decide(service(family_policy="RequireDualStack"))
    assert reasons(found) == ["not enough clusterips"]


def test_a_preferred_second_family_is_added_when_the_pool_grows() -> None:
    b, wants = Balancer(DEFAULT), service(family_policy="PreferDualStack", **TWO)
    first = b.decide(wants)
    assert first.ingress == ("192.168.2.200",)
    waiting = b.decide(after(wants, first))
    assert (waiting.ingress, reasons(waiting)) == (first.ingress, ["AdditionalAssignFailed"])
    b.use(pool("default", ("192.168.2.200-192.168.2.201", "fd00::/126")))
    grown = b.decide(after(wants, first))
    assert grown.ingress == ("192.168.2.200", "fd00::")
    assert grown.events[-1].message == 'Assigned additional IP "fd00::"'


def test_sharing_with_a_broken_condition_moves_only_the_one_that_broke_it() -> None:
    b, notes = Balancer(DEFAULT), {"metallb.io/allow-shared-ip": "k"}
    one, two = service("one", notes), service("two", notes, ports=(("UDP", 53),))
    first, second = b.decide(one), b.decide(two)
    assert first.ingress == second.ingress
    broken = msgspec.structs.replace(after(two, second), ports=(("TCP", 80),))
    moved = b.decide(broken)
    assert moved.ingress == ("192.168.2.201",)
    assert b.decide(after(one, first)).ingress == first.ingress
