"""The command: ``python -m implementation.cli --kubeconfig FILE …``, or ``… show [SERVICE]``; see README."""

from __future__ import annotations

import logging
import signal
import sys

from implementation import configfile, flags, modes, running
from implementation.dataplane import DataplaneError
from implementation.dataplane.nftables import show
from implementation.kubeconfig import KubeconfigError
from implementation.settings import Settings, SettingsError


def main(args: list[str] | None = None) -> int:
    """Run the proxy with these flags until a signal; gives the exit status.

    0 told to stop, or cleaned up · 1 cannot go on · 2 a flag or the configuration is wrong.
    """
    logging.basicConfig(
        level=logging.INFO,
        stream=sys.stderr,
        format="%(asctime)s %(levelname).1s %(name)s: %(message)s",
        force=True,
    )
    # Where the parent ignores SIGCHLD the kernel throws our children's exit status away, and every failure of
    # iptables-restore would look like a success.
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    words = sys.argv[1:] if args is None else args
    if words[:1] == ["show"]:
        return show.main(words[1:])
    try:
        given = flags.parse(words)
        if given.config:
            return run(configfile.load(given.config, given.settings, named=given.named))
        return run(given.settings)
    except SettingsError as error:
        return _say(error, 2)
    except (KubeconfigError, DataplaneError, OSError) as error:
        return _say(error, 1)
    except ExceptionGroup as group:
        known, other = group.split((KubeconfigError, DataplaneError, OSError))
        if other is not None or known is None:
            raise
        return _say(known.exceptions[0], 1)


def _say(error: BaseException, status: int) -> int:
    print(f"kube-proxy: {error}", file=sys.stderr)
    return status


def run(settings: Settings) -> int:
    """Do what the settings ask for: clean up, or serve."""
    if settings.cleanup:
        modes.cleanup(settings)
        return 0
    if settings.init_only:
        running.prepare_kernel(settings)
        return 0
    running.serve(settings)
    return 0


if __name__ == "__main__":
    sys.exit(main())
