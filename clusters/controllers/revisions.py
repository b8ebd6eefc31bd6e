"""Carries out what ``history.py`` decides."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from clusters.client import AlreadyExists
from clusters.controllers import history
from clusters.controllers.cache import controller_of
from clusters.controllers.podcontrol import PodControl
from clusters.controllers.world import KINDS, World, path_of

Object = dict[str, Any]
_PLURAL = "controllerrevisions"


async def kept(
    world: World, control: PodControl, owner: Object, marks: Collection[str | None],
) -> tuple[Object, list[Object]] | None:
    """The revision of the owner's present template, and all it has; None: a collision, look again."""
    mine = await control.claimed(owner, _PLURAL)
    plan = history.plan(owner, mine, marks)
    update = plan.update
    if plan.create is not None:
        update = await _created(world, owner, plan.create)
        if update is None:
            return None
        mine.append(update)
    assert update is not None
    if plan.renumber is not None:
        update = await world.patch(_PLURAL, update, {"revision": plan.renumber})
    for dead in plan.delete:
        await world.delete(_PLURAL, dead)
    return update, mine


async def _created(world: World, owner: Object, wanted: Object) -> Object | None:
    """Make the revision; a stranger with its name is avoided by counting one collision more."""
    try:
        return await world.create(_PLURAL, wanted)
    except AlreadyExists:
        held = await world.client.get(path_of(_PLURAL, wanted))
        if (controller_of(held) or {}).get("uid") == owner["metadata"]["uid"] \
                and held["data"] == wanted["data"]:
            return world.learn(_PLURAL, held)
    status = dict(owner.get("status") or {})
    status["collisionCount"] = (status.get("collisionCount") or 0) + 1
    await world.set_status(KINDS[owner["kind"]], owner, status)
    return None
