"""Who waits for a compiler is told so, once."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

SCRIPT = """
from cim_hal import IsingModel, PumpSchedule, open_device
with open_device("emulator-mean-field") as device:
    for n_spins in (3, 4):
        model = IsingModel.from_couplings([[float(i != j) for i in range(n_spins)] for j in range(n_spins)])
        device.sample(model, PumpSchedule.constant(1.0, round_trips=2))
"""  # noqa: E501


@pytest.mark.slow
def test_a_process_that_compiles_says_so_once_and_the_next_one_need_not(tmp_path):
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)}
    said = [
        subprocess.run(
            [sys.executable, "-c", SCRIPT],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        ).stderr
        for _ in range(2)
    ]
    assert said[0].startswith("compiling kernels, kept in a cache")
    assert len(said[0].splitlines()) == 1
    assert said[1] == ""
