"""What ``cim-hal new-driver`` makes is a package that works."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec

import pytest


@pytest.fixture
def made(run, tmp_path):
    status, out, err = run("new-driver", "bench-7", "--into", str(tmp_path))
    assert (status, err) == (0, "")
    assert str(tmp_path / "bench-7") in out
    return tmp_path / "bench-7"


def _run(*command: str, path, cwd) -> subprocess.CompletedProcess[str]:
    env = os.environ | {"PYTHONPATH": str(path), "COLUMNS": "100"}
    options = {"cwd": cwd, "env": env, "capture_output": True, "text": True, "timeout": 120}
    return subprocess.run([sys.executable, *command], check=False, **options)


def test_its_own_tests_pass(made):
    done = _run("-W", "error", "-m", "pytest", "-q", "-p", "no:cacheprovider", path=made, cwd=made)
    assert done.returncode == 0, done.stdout
    assert "10 passed" in done.stdout


@pytest.mark.slow
def test_it_installs_and_is_found_by_its_name(made, tmp_path):
    if find_spec("hatchling") is None or find_spec("pip") is None:
        pytest.skip("needs pip and hatchling, to build without a network")
    site = tmp_path / "site"
    offline = ["--no-index", "--no-deps", "--no-build-isolation", "--target", str(site)]
    done = _run("-m", "pip", "install", "-q", *offline, str(made), path="", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    listed = _run("-m", "cim_hal.cli", "list", "--json", path=site, cwd=tmp_path)
    assert {"name": "bench-7", "factory": "bench_7.driver:Bench7Cim", "package": "bench-7"} in (
        json.loads(listed.stdout)
    )
    record = _run("-m", "cim_hal.cli", "calibrate", "bench-7", "--json", path=site, cwd=tmp_path)
    assert json.loads(record.stdout)["calibration"]["threshold_w"] == 0.012
