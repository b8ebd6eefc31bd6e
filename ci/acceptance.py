"""The acceptance list of API servers on a real kube-apiserver: what ours promises, a real one must keep too.

Raises ``netns://1-node?control-plane=real``, whose programs ``ci/peers`` builds, and runs the one file that
``ci/test`` runs on ours. The exit status is pytest's.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from clusters.locate import locate

ROOT = Path(__file__).resolve().parent.parent
LIST = "clusters/tests/test_apiserver_acceptance.py"
SECONDS = 300.0  # patience; it takes about 25


async def judge() -> int:
    """Run the list on a cluster of its own."""
    cluster = await locate("netns://1-node?control-plane=real")
    try:
        environment = {**os.environ, "ACCEPTANCE_KUBECONFIG": str(cluster.kubeconfig)}
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "pytest", "-q", LIST, cwd=ROOT, env=environment)
        try:
            async with asyncio.timeout(SECONDS):
                return await process.wait()
        finally:
            if process.returncode is None:
                process.kill()
    finally:
        await cluster.close()


if __name__ == "__main__":
    sys.exit(asyncio.run(judge()))
