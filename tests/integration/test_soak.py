"""Three minutes of everything that goes wrong at once; `benchmarks/soak.py` takes any time."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

SOAK = Path(__file__).parents[2] / "benchmarks" / "soak.py"


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_nothing_is_lost_wrong_or_done_twice_whatever_goes_wrong(tmp_path):
    out = tmp_path / "soak.json"
    command = [sys.executable, SOAK, "--minutes", "3", "--clients", "3", "--troubles"]
    ended = subprocess.run([*command, "--out", out], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    found = json.loads(out.read_text())
    assert (found["wrong"], found["lost"], found["died"]) == (0, 0, [])
    assert found["jobs"] > 50
    witness = found["witness"]
    assert (witness["twice"], witness["two_drivers"]) == (0, 0)
    assert {"slow", "unplugged", "port scan", "flood of jobs"} <= witness["troubles"].keys()
    assert "refused: user_kept_jobs" in witness["troubles"]
