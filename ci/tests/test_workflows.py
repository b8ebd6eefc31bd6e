"""The files for other people's CI: actionlint's opinion, and that what they call is there."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import yaml

CI = Path(__file__).resolve().parent.parent
ROOT = CI.parent
WORKFLOW = ROOT / ".github/workflows/conformance.yml"


def built() -> str:
    """The folder with the programs of ci/peers/build."""
    done = subprocess.run([CI / "peers/build", "--bin"], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def actionlint(root: Path) -> subprocess.CompletedProcess[str]:
    """What actionlint says of the workflow of a repository, whose own action it knows."""
    program = Path(built()) / "actionlint"
    assert program.exists(), "actionlint is missing; next: ci/peers/build actionlint"
    file = WORKFLOW.relative_to(ROOT)
    return subprocess.run([program, "-no-color", file], cwd=root, capture_output=True, text=True, check=False)


def test_actionlint_finds_nothing_in_the_workflow() -> None:
    done = actionlint(ROOT)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_actionlint_knows_the_inputs_of_the_action(tmp_path: Path) -> None:
    right = "implementation: reference-nftables"
    for name in (".git", ".github/workflows", "ci/action"):
        (tmp_path / name).mkdir(parents=True)
    shutil.copy(CI / "action/action.yml", tmp_path / "ci/action")
    wrong = tmp_path / WORKFLOW.relative_to(ROOT)
    wrong.write_text(WORKFLOW.read_text().replace(right, "implementations: x"))
    done = actionlint(tmp_path)
    assert done.returncode == 1 and 'input "implementations" is not defined in action' in done.stdout


def test_every_command_and_step_that_is_called_is_there() -> None:
    jobs = yaml.safe_load(WORKFLOW.read_text())["jobs"].values()
    lines = [line for job in jobs for step in job["steps"] for line in step.get("run", "").splitlines()]
    called = {word for line in lines for word in re.findall(r"\bci/[\w/-]+(?:\.toml)?", line)}
    assert {"ci/test", "ci/setup", "ci/long", "ci/peers/build"} <= called
    for word in called - {"ci/peers/descriptors/kube-proxy-"}:
        assert os.access(ROOT / word, os.X_OK), word
    long = {step["name"] for step in tomllib.loads((CI / "long.toml").read_text())["step"]}
    night = next(line for line in lines if "ci/long" in line).partition("ci/long ")[2].split()
    assert set(night) <= long


def test_every_kube_proxy_of_the_matrix_has_a_descriptor() -> None:
    matrix = yaml.safe_load(WORKFLOW.read_text())["jobs"]["kind"]["strategy"]["matrix"]
    for proxy in matrix["proxy"]:
        assert (CI / f"peers/descriptors/kube-proxy-{proxy}.toml").exists()
