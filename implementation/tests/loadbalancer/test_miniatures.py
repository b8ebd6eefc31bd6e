"""Each wrong load balancer is wrong in what it says it is, and starts from its descriptor."""

import importlib
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

import implementation

HOME = Path(implementation.__file__).parent
DESCRIPTORS = {path.stem: path for path in (HOME / "miniatures").glob("lb-*.toml")}

WRONG = {
    "lb-next-range": (
        "lb_next_range.controller.main = lambda args: 0; lb_next_range.main([]);"
        "from implementation.objects.poolmap import parse_legacy as p;"
        "text = 'address-pools: [{name: a, protocol: layer2, addresses: [10.0.0.0/31]}]';"
        "span = p(text).pools[0].ranges[0];"
        "assert str(span) == '10.0.0.2-10.0.0.3'"
    ),
    "lb-forgets-the-waiting": (
        "c = lb_forgets_the_waiting.controller; c.main = lambda args: 0; lb_forgets_the_waiting.main([]);"
        "from implementation.tests.loadbalancer import test_assignment as t; b = t.Balancer();"
        "found = c.decide(t.service(), b.config, b.allocator, namespace_labels={});"
        "assert found.events and not found.pending"
    ),
    "lb-all-answer": (
        "lb_all_answer.speaker.main = lambda args: 0; lb_all_answer.main([]);"
        "from implementation.loadbalancer import announcer as a, member as m;"
        "from implementation.loadbalancer.takeover import Vip;"
        "one = a.Member('a', 1, 0.0); vips = {'10.0.0.1': Vip('10.0.0.1', 'k', ('b',))};"
        "one.configure(m.Desired({}, vips, (b'k',)), 0.0);"
        "assert '10.0.0.1' in one.claims"
    ),
    "lb-highest-first": (
        "lb_highest_first.controller.main = lambda args: 0; lb_highest_first.main([]);"
        "from implementation.tests.loadbalancer import test_assignment as t;"
        "assert t.Balancer(t.DEFAULT).decide(t.service()).ingress == ('192.168.2.201',)"
    ),
    "lb-takes-all-over": (
        "lb_takes_all_over.controller.main = lambda args: 0; lb_takes_all_over.main([]);"
        "from implementation.tests.loadbalancer import test_assignment as t;"
        "assert t.Balancer(t.DEFAULT).decide(t.service(foreign_hostname=True)).ours"
    ),
    "lb-never-takes-over": (
        "s = lb_never_takes_over.speaker; s.main = lambda args: 0; lb_never_takes_over.main([]);"
        "assert s.Pace(hold_down=1.0).silent > 1e6"
    ),
    "lb-waits-for-the-paused": (
        "s = lb_waits_for_the_paused.speaker; s.main = lambda args: 0; lb_waits_for_the_paused.main([]);"
        "assert s.Pace(hold_down=1.0).process > 1e6 and s.Pace(hold_down=1.0).silent == 3"
    ),
    "lb-tells-nobody": (
        "lb_tells_nobody.speaker.main = lambda args: 0; lb_tells_nobody.main([]);"
        "from implementation.loadbalancer import arp; b = arp.Bursts(); b.start('a', 0.0);"
        "assert b.take_due(1.0) == [] and b.wake() >= 0.05"
    ),
    "lb-local-anywhere": (
        "lb_local_anywhere.speaker.main = lambda args: 0; lb_local_anywhere.main([]);"
        "from implementation.tests.loadbalancer import test_wanted as t;"
        "assert len(t.find([t.service(ingress=(t.VIP,), external_local=True)]).vips[t.VIP].order) == 3"
    ),
}


def test_every_wrong_load_balancer_is_shown_to_be_wrong() -> None:
    assert set(WRONG) == set(DESCRIPTORS)


@pytest.mark.parametrize("name", sorted(WRONG))
def test_it_decides_wrongly_what_it_says(name: str) -> None:
    """In a process of its own, for it changes the modules for good."""
    module = name.replace("-", "_")
    code = f"from implementation.miniatures import {module}; {WRONG[name]}"
    done = subprocess.run(
        (sys.executable, "-c", code), capture_output=True, text=True, timeout=20, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", sorted(DESCRIPTORS))
def test_its_descriptor_names_functions_that_exist(name: str) -> None:
    described: dict[str, Any] = tomllib.loads(DESCRIPTORS[name].read_text())
    programs = [*described["per-node"], *described["controller"]]
    for program in programs:
        module, _, function = program["python"].partition(":")
        assert callable(getattr(importlib.import_module(module), function))
    assert described["name"] == name
    assert described["miniature"]["caught-by"]
    assert described["miniature"]["decision"] in described["description"]
