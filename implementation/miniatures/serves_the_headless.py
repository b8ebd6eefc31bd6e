"""Wrong: the label headless is not looked at."""

import msgspec

from implementation import cli, watch


def main(args: list[str] | None = None) -> int:
    """Run the proxy with this one decision wrong."""
    labels = "!service.kubernetes.io/service-proxy-name"
    watch.SERVICES = msgspec.structs.replace(watch.SERVICES, labels=labels)
    watch.SLICES = msgspec.structs.replace(watch.SLICES, labels=labels)
    return cli.main(args)
