"""SEED-06: the available port ranges exposed on each node must be between 30000 and 32767, one Service a
port.
"""

from __future__ import annotations

from conformance import objects
from conformance.areas.seed.page import SOURCE, node_port
from conformance.lab import Lab
from conformance.post import LABELS
from conformance.requirements import Level, requirement

OUTSIDE = "provided port is not in the valid range. The range of valid ports is 30000-32767"
TAKEN = "provided port is already allocated"


@requirement("SEED-06", Level.CORE, source=f"{SOURCE}, 'must be between 30000-32767'", needs={"seed"})
async def port_range(lab: Lab) -> None:
    """The API server MUST refuse NodePorts 29999 and 32768 and the one that the post's Service has already.
    """
    post = await lab.post()
    for number, why in ((29999, OUTSIDE), (32768, OUTSIDE), (node_port(post), TAKEN)):
        name, asked = f"nextcloud-{number}", [objects.port(80, node_port=number)]
        value = f"NodePort {number}"
        await lab.attempt(value, objects.service(name, lab.rig.run, asked, LABELS, type="NodePort"))
        message = f'Service "{name}" is invalid: spec.ports[0].nodePort: Invalid value: {number}: {why}'
        right = {"code": 422, "reason": "Invalid", "message": message}
        lab.expect_value("equals", value, {"expected": right}, "the port is refused in Kubernetes' words")
