"""Wrong: a Service that is deleted is served on."""

from implementation import cli, modes
from implementation.dataplane import Applied, Dataplane
from implementation.settings import Settings
from implementation.state.desired import Desired, ServedService, ServiceKey

right = modes.dataplane


def remembering(settings: Settings, pod_cidrs: tuple[str, ...] = ()) -> Dataplane:
    """The data plane, which is told of deleted Services, too, as they were last."""
    plane = right(settings, pod_cidrs)
    apply, ever = plane.apply, dict[ServiceKey, ServedService]()

    def applied(desired: Desired) -> Applied:
        for (namespace, name), served in desired.services.items():
            ever[namespace, f"{name} at {'/'.join(port.cluster_ip for port in served.ports)}"] = served
        return apply(Desired(dict(ever), desired.node_port_addresses))

    vars(plane)["apply"] = applied
    return plane


def main(args: list[str] | None = None) -> int:
    """Run the proxy with this one decision wrong."""
    modes.dataplane = remembering
    return cli.main(args)
