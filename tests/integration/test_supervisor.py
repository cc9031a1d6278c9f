"""A driver in its own process: whatever it does, its server goes on."""

from __future__ import annotations

import os
import signal

import pytest
from driver_processes import LONG, PAIR, driver_process, fault_of, is_alive, n_runs_of, wait_for

from cim_hal import IsingModel, JobCancelledError, open_device
from cim_hal.client.options import Retries
from cim_hal.errors import DriverFaultError, UnavailableError

# ---- crashes --------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("where", ["program", "run"])
def test_a_driver_killed_in_a_call_fails_that_job_and_no_other(where, deaths):
    deaths()
    with open_device(driver_process("Mortal")) as device:
        device.sample(PAIR)
        deaths(where)
        model = IsingModel.from_couplings([[0, -1], [-1, 0]])
        with pytest.raises(DriverFaultError) as caught:
            device.sample(model)
        assert caught.value.details["signal"] == "SIGKILL"
        assert device.sample(model).best_energy == -1.0


@pytest.mark.slow
def test_a_driver_killed_between_jobs_is_there_for_the_next(deaths):
    deaths()
    driver = driver_process("Mortal")
    with open_device(driver) as device:
        for _ in range(2):
            device.sample(PAIR)
            os.kill(driver.pid, signal.SIGKILL)
        assert device.sample(PAIR).best_energy == -1.0
        assert device.telemetry().driver.restarts == 2


@pytest.mark.slow
def test_a_driver_that_dies_while_it_starts_is_refused_and_then_is_back(deaths):
    deaths()
    driver = driver_process("Mortal")
    with open_device(driver, retries=Retries(limit=0)) as device:
        deaths("run", *["describe"] * 6)
        fault_of(device, 0)
        wait_for(lambda: device.telemetry().driver.phase == "broken")
        with pytest.raises(UnavailableError, match="SIGKILL") as caught:
            device.sample(PAIR)
        assert caught.value.retryable
        assert 0 <= caught.value.details["retry_after_s"] <= 0.1
        wait_for(lambda: device.telemetry().driver.phase == "ready")
        assert device.sample(PAIR).best_energy == -1.0


@pytest.mark.slow
def test_a_driver_that_dies_at_its_first_start_is_not_served(deaths):
    deaths("describe")
    with pytest.raises(DriverFaultError, match="SIGKILL"):
        open_device(driver_process("Mortal"))


# ---- hangs and excess -----------------------------------------------------------------------


def test_a_stopped_process_is_a_hang(deaths):
    deaths()
    driver = driver_process("Mortal", hang_s=3.0)
    with open_device(driver) as device:
        job = device.submit(PAIR, LONG, n_runs=1000)
        wait_for(lambda: n_runs_of(device) == 1)
        stopped = driver.pid
        os.kill(stopped, signal.SIGSTOP)
        with pytest.raises(DriverFaultError, match=r"no sign of life for 3 s"):
            job.result(timeout_s=20)
        assert not is_alive(stopped)
        assert device.sample(PAIR).best_energy == -1.0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("limit", "seed", "said"),
    [
        ({"memory_bytes": 512 * 1024**2}, 4, "MiB of memory, 512 are allowed"),
        ({"run_s": 3.0}, 8, "run took longer than 3 s"),
    ],
    ids=["memory", "time"],
)
def test_a_run_that_takes_too_long_or_too_much_is_ended(limit, seed, said):
    with open_device(driver_process("Perilous", **limit)) as device:
        assert said in str(fault_of(device, seed))
        assert device.sample(PAIR, seed=0).best_energy == -1.0


@pytest.mark.slow
def test_a_calibration_that_takes_too_long_is_ended(deaths):
    deaths()
    with open_device(driver_process("Deaf", calibrate_s=1.0)) as device:
        with pytest.raises(DriverFaultError, match="hung: calibrate took longer than 1 s"):
            device.calibrate()
        assert device.telemetry().driver.restarts <= 1


def test_a_driver_that_does_not_heed_a_cancel_is_ended_and_the_job_is_cancelled():
    with open_device(driver_process("Perilous")) as device:
        job = device.submit(PAIR, seed=8)
        wait_for(lambda: device.describe().busy)
        job.cancel()
        with pytest.raises(JobCancelledError, match="was ended"):
            job.result(timeout_s=20)
        assert device.sample(PAIR, seed=0).best_energy == -1.0
