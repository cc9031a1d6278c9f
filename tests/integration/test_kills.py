"""A few kills of server and driver at random moments; `benchmarks/bench_kills.py` does hundreds."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "bench_kills.py"


@pytest.mark.slow
@pytest.mark.parametrize(("n_kills", "option"), [(8, ()), (4, ("--helpers",))])
def test_kills_lose_no_job_run_none_twice_and_leave_one_driver(n_kills, option):
    command = [sys.executable, str(BENCHMARK), "--kills", str(n_kills), *option]
    found = subprocess.run(command, capture_output=True, text=True, timeout=900, check=False)
    assert found.returncode == 0, found.stdout + found.stderr[-2000:]
    report = json.loads(found.stdout)
    assert report["outcomes"]["done"] > 0
    assert sum(report["kills"].values()) == n_kills
