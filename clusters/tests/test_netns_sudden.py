"""Proxy, speaker, API server, controllers killed at random moments: all ends as a fresh start would have it.

``SUDDEN_KILLS`` and ``SUDDEN_SEEDS`` (a range, as in 1-20) make it longer: ``ci/long sudden``.
"""

from __future__ import annotations

import os
from contextlib import suppress

import pytest

from clusters.client import Client
from clusters.locate import locate
from clusters.netns.cluster import NetnsCluster
from clusters.tests.netns_pods import until
from clusters.tests.sudden import PATIENCE, Disturbed, differences

pytestmark = pytest.mark.kernel
KILLS = int(os.environ.get("SUDDEN_KILLS", "14"))
_FIRST, _, _LAST = os.environ.get("SUDDEN_SEEDS", "1-1").partition("-")
SEEDS = range(int(_FIRST), int(_LAST or _FIRST) + 1)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("implementation", ["reference-loadbalancer", "reference-nftables"])
async def test_all_is_in_the_end_as_a_fresh_start_has_it(implementation: str, seed: int) -> None:
    cluster = await locate("netns://2-nodes")
    assert isinstance(cluster, NetnsCluster)
    try:
        async with Client.from_kubeconfig(cluster.kubeconfig) as client:
            made = Disturbed(cluster, client, f"{implementation}/{seed}")
            await made.stand(implementation)
            await made.disturb(KILLS)
            await made.objects_are_as_asked()
            await until(made.slices_are_as_they_must, PATIENCE)
            if implementation == "reference-loadbalancer":
                await until(made.addresses_are_given, PATIENCE)
            await made.flows()
            lost = {target: told for target, told in (await made.lost()).items() if told}
            assert not lost, f"seed {seed}: {lost}; killed: {made.killed}"
            assert await cluster.dead() == []

            rules = await made.rules()
            await made.begin_anew()

            async def apart() -> list[str]:
                return differences(rules, await made.rules())

            async def same() -> bool:
                return not await apart()

            with suppress(AssertionError):
                await until(same, 5)
            assert await apart() == [], f"seed {seed}"
    finally:
        await cluster.close()
