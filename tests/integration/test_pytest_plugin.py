"""The fixtures and assertions in a suite of somebody else, against an emulator and a server."""

from __future__ import annotations

import os
import subprocess
import sys

from cim_hal import make_driver

SUITE = """
import os
import pytest
from cim_hal import IsingModel, open_device
from cim_hal.errors import LockLostError
from cim_hal.study import assert_degrades_less_than, assert_success_probability

RING = IsingModel.from_couplings(
    [[0, 1, 0, 1], [1, 0, 1, 0], [0, 1, 0, 1], [1, 0, 1, 0]]
)


def test_a_coarse_machine_solves_a_ring(coarse_machine):
    samples = coarse_machine.sample(RING, n_runs=64, seed=1)
    assert samples.record.settings["adc.bits"] == 3
    assert_success_probability(samples, -4.0, at_least=0.2)


def test_noise_costs_little(noisy_machine, open_machine):
    quiet = open_machine().sample(RING, n_runs=64, seed=1)
    noisy = noisy_machine.sample(RING, n_runs=64, seed=1)
    assert noisy.record.settings == {"electronic_noise": 3.0}
    assert_degrades_less_than(quiet, noisy, -4.0, loss=0.5)


def test_a_fault_comes_in_the_third_job(faulty_machine):
    for seed in range(2):
        faulty_machine.sample(RING, seed=seed)
    with pytest.raises(LockLostError):
        faulty_machine.sample(RING, seed=2)


def test_a_served_machine_is_one_too(open_machine):
    session = open_machine(os.environ["SERVED"], electronic_noise=1.0)
    assert_success_probability(session.sample(RING, n_runs=64, seed=1), -4.0, at_least=0.2)


def test_what_is_false_fails(coarse_machine):
    samples = coarse_machine.sample(RING, n_runs=32, seed=1)
    assert_success_probability(samples, -5.0, at_least=0.9)
"""


def test_a_suite_of_somebody_else_finds_the_fixtures(serving, tmp_path):
    (tmp_path / "test_theirs.py").write_text(SUITE)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_theirs.py"]
    with serving(make_driver("emulator")) as endpoint:
        env = os.environ | {"SERVED": endpoint, "PYTEST_ADDOPTS": ""}
        found = subprocess.run(
            command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=300, check=False
        )
    assert "1 failed, 4 passed" in found.stdout, found.stdout + found.stderr
    assert "0 of 32 runs succeeded (0), which is less than 0.9" in found.stdout
