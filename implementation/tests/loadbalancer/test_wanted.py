"""What a node is told to announce; and with which key the speakers talk."""

import base64
import json
from typing import Any

from implementation.loadbalancer.elect import Endpoint
from implementation.loadbalancer.informer import KEY_SECONDS, Keys
from implementation.loadbalancer.keys import key_of
from implementation.loadbalancer.pools import configuration
from implementation.loadbalancer.wanted import wanted
from implementation.objects.balanced import BalancedNode
from implementation.tests.loadbalancer.test_assignment import DEFAULT, TRAEFIK, service
from implementation.tests.loadbalancer.test_pools import advert, pool

NODES = [BalancedNode(f"node-{c}", f"10.0.0.{i}") for i, c in enumerate("abc", 1)]
READY = [Endpoint("node-a", True)]
VIP = "192.168.2.200"
ALL = (advert(),)


def find(services: Any, endpoints: Any = READY, adverts: Any = ALL, **more: Any) -> Any:
    config = configuration([DEFAULT, pool("v6", ("fd00::/126",))], adverts)
    return wanted(
        services, {s.key: endpoints for s in services}, NODES, config, **{"interface": "eth0", **more}
    )


def test_an_address_of_ours_is_announced_by_the_elected_order() -> None:
    found = find([service(ingress=(VIP,))])
    assert found.vips[VIP].order == ("node-b", "node-c", "node-a")
    assert [s.name for s in found.services[VIP]] == ["web"]


def test_an_address_of_somebody_else_is_not() -> None:
    assert find([TRAEFIK]).vips == {}


def test_a_node_s_own_address_is_never_announced() -> None:
    config = configuration([pool("careless", ("10.0.0.0/24",))], [advert()])
    careless = service(ingress=("10.0.0.2",))
    assert wanted([careless], {careless.key: READY}, NODES, config, interface="eth0").vips == {}


def test_nothing_is_announced_without_endpoints_advertisement_or_type() -> None:
    one = service(ingress=(VIP,))
    assert find([one], endpoints=[]).vips == {}
    assert find([one], adverts=()).vips == {}
    assert find([service(ingress=(VIP,), type="ClusterIP")]).vips == {}
    assert find([service(ingress=(VIP,), load_balancer_class="x/y")]).vips == {}


def test_both_addresses_of_a_service_have_the_order_of_its_first_and_version_6_waits_for_ndp() -> None:
    found = find([service(ingress=(VIP, "fd00::1"))])
    assert set(found.vips) == {VIP}
    assert found.vips[VIP].key == VIP


def test_services_sharing_an_address_have_one_election_with_the_candidates_of_both() -> None:
    local = {"external_local": True, "ingress": (VIP,)}
    config = configuration([DEFAULT], [advert()])
    found = wanted(
        [service("a", **local), service("b", **local)],
        {"default/a": [Endpoint("node-a", True)], "default/b": [Endpoint("node-c", True)]},
        NODES,
        config,
        interface="eth0",
    )
    assert set(found.vips[VIP].order) == {"node-a", "node-c"}


def test_sharing_together_with_selected_services_is_not_announced() -> None:
    picked = advert(serviceSelectors=[{"matchLabels": {}}])
    shared = service(ingress=(VIP,), annotations={"metallb.io/allow-shared-ip": "k"})
    assert find([service(ingress=(VIP,))], adverts=[picked]).vips
    assert find([shared], adverts=[picked]).vips == {}


def test_an_interface_that_is_not_listed_stays_mute_but_is_elected() -> None:
    found = find([service(ingress=(VIP,))], adverts=[advert(interfaces=["eth7"])])
    assert (set(found.vips), found.mute) == ({VIP}, {VIP})


def secret(value: Any) -> Any:
    return json.dumps({"data": {"secretkey": value}}).encode()


def test_the_key_is_made_from_what_the_post_puts_into_the_secret() -> None:
    text = base64.b64encode(base64.b64encode(b"x" * 128)).decode()
    assert len(key_of(secret(text)) or b"") == 32
    assert key_of(secret(text)) != key_of(secret(base64.b64encode(b"y").decode()))
    for broken in (b"", b"{}", b'{"data": {}}', secret("%"), secret("")):
        assert key_of(broken) is None


def test_a_new_key_is_accepted_at_once_and_used_when_all_know_it() -> None:
    keys = Keys()
    assert keys.order(None, None, 0.0) == ()
    assert keys.order(None, b"own", 1.0) == (b"own",)
    assert keys.order(b"user", b"own", 10.0) == (b"own", b"user")
    assert keys.order(b"user", b"own", 10.0 + KEY_SECONDS) == (b"user", b"own")


def test_at_start_the_user_s_key_is_used_at_once() -> None:
    assert Keys().order(b"user", b"own", 0.0) == (b"user", b"own")
