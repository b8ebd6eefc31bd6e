"""ci/run: what it says of steps that fail."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

CI = Path(__file__).resolve().parent.parent
STEPS = """
[[step]]
name = "counts"
about = "sixty lines, then a failure"
command = ["bash", "-c", "seq 60; exit 2"]
budget = 20

[[step]]
name = "good"
about = "one line"
command = ["echo", "nothing to say again"]
budget = 20

[[step]]
name = "stays"
about = "longer than its budget"
command = ["sleep", "60"]
budget = 1
"""


def test_the_last_lines_of_what_failed_are_said_again_at_the_end(tmp_path: Path) -> None:
    (tmp_path / "steps.toml").write_text(STEPS)
    command = [sys.executable, CI / "run", "--file", tmp_path / "steps.toml"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    end = done.stdout.partition("=== the last lines of counts, which failed:\n")[2].splitlines()
    assert end[:40] == [str(number) for number in range(21, 61)]
    assert done.stdout.count("nothing to say again") == 1
    assert "not done within its budget of 1 s" in end[-3]
    assert end[-1] == "1 passed, 2 failed"
