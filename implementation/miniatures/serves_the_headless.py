"""Wrong: slices that are labelled headless are used like all others."""

import msgspec

from implementation import cli, watch


def main(args: list[str] | None = None) -> int:
    """Run the proxy with this one decision wrong."""
    watch.SLICES = msgspec.structs.replace(watch.SLICES, labels="")
    return cli.main(args)
