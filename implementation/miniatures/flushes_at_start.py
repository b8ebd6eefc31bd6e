"""Wrong: the rules that the last run left are taken away at the start, before new ones are known."""

from implementation import cli, modes
from implementation.dataplane import Dataplane
from implementation.settings import Settings

right = modes.dataplane


def emptied(settings: Settings, pod_cidrs: tuple[str, ...] = ()) -> Dataplane:
    """The data plane, after taking everything of ours out of the kernel."""
    modes.cleanup(settings)
    return right(settings, pod_cidrs)


def main(args: list[str] | None = None) -> int:
    """Run the proxy with this one decision wrong."""
    modes.dataplane = emptied
    return cli.main(args)
