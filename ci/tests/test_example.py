"""The example project, as somebody has it: in a folder of its own, with this package installed."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

CI = Path(__file__).resolve().parent.parent


def test_the_example_runs_beside_the_requirements(tmp_path: Path) -> None:
    shutil.copytree(CI / "example", tmp_path / "shop")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-v", "--cluster", "netns://", "-m", "smoke"],
        cwd=tmp_path / "shop", capture_output=True, text=True, timeout=240, check=False,
    )
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    assert "test_the_shop_has_an_address_and_its_pods_behind_it PASSED" in said
    assert said.count(" PASSED") > 5 and "test_what_is_not_marked" not in said
    assert " / -" not in said  # pytest's count of what is selected, which was below zero
    assert (tmp_path / "shop/out/pytest").is_dir()


def test_without_a_cluster_only_the_project_s_own_tests_are_there(tmp_path: Path) -> None:
    shutil.copytree(CI / "example", tmp_path / "shop")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q"],
        cwd=tmp_path / "shop", capture_output=True, text=True, timeout=60, check=False,
    )
    assert done.returncode == 0 and "2 skipped" in done.stdout, done.stdout
