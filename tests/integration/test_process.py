"""A driver in a process of its own gives what it gives in this one."""

from __future__ import annotations

import os
import signal
import threading
import time

import numpy as np
import pytest
from cim_machines import Adjustable, Annealer
from driver_processes import LONG, PAIR, driver_process, n_runs_of, wait_for
from perilous_machines import Counting

from cim_hal import (
    Driver,
    IsingModel,
    JobCancelledError,
    Program,
    TargetError,
    TraceRequest,
    lower,
    open_device,
)
from cim_hal.errors import EmergencyStopError
from cim_hal.protocol.effects import Run, Stop
from cim_hal.server.driver import process
from cim_hal.server.driver.process import DriverProcess
from cim_hal.server.driver.supervisor import DriverOptions
from cim_hal.server.executor import Executor


@pytest.mark.parametrize("machine", [pytest.param(Annealer, marks=pytest.mark.slow), Adjustable])
def test_samples_traces_and_notes_are_those_of_the_driver_in_this_process(machine):
    rng = np.random.default_rng(5)
    J = rng.integers(-3, 4, (7, 7))
    model = IsingModel.from_couplings(np.triu(J, 1) + np.triu(J, 1).T, rng.normal(size=7))
    found = []
    targets: list[Driver] = [machine(), DriverProcess(f"cim_machines:{machine.__name__}")]
    for driver in targets:
        with open_device(driver) as device:
            trace = TraceRequest(every=3, runs=2) if device.capabilities.reports_trace else None
            found.append(device.sample(model, n_runs=5, seed=3, trace=trace))
    ours, theirs = found
    np.testing.assert_array_equal(ours.amplitudes, theirs.amplitudes)
    assert ours.record.notes == theirs.record.notes
    if ours.trace is not None:
        np.testing.assert_array_equal(ours.trace.amplitudes, theirs.trace.amplitudes)


def test_telemetry_calibrations_and_cancels_cross_the_border():
    with open_device(DriverProcess("cim_machines:Laboratory")) as device:
        made = device.calibrate()
        assert made.calibration.facts == {"gain": 3, "by": "hand"}
        assert device.sample(PAIR).record.calibration == made.fingerprint
        wait_for(lambda: n_runs_of(device) == 1)
        job = device.submit(PAIR, LONG, n_runs=1000)
        wait_for(lambda: n_runs_of(device) == 2)
        job.cancel()
        with pytest.raises(JobCancelledError, match="between two round trips"):
            job.result(timeout_s=20)


@pytest.mark.parametrize("make", [lambda: driver_process("Counting"), Counting])
def test_how_far_a_run_is_crosses_the_border(make):
    executor = Executor(make(), lambda: None)
    try:
        program = Program(lower(PAIR, executor.capabilities), LONG, n_runs=1, seed=0)
        executor.perform(Run("job", program))
        told = []
        wait_for(lambda: told.extend(executor.progress()) or told)
        ((job, progress),) = told
        assert (job, progress.done, progress.total) == ("job", 50_000, 100_000)
        executor.perform(Stop("job"))
    finally:
        executor.close()


def test_a_target_that_is_none_is_an_error_of_the_target():
    with pytest.raises(TargetError, match=r"libfpga\.so\.3"):
        open_device(driver_process("import_error"))
    with pytest.raises(TargetError, match="known: "):
        open_device(DriverProcess("nobody"))


def test_the_time_limit_of_a_call_does_not_count_its_wait_for_another(monkeypatch):
    monkeypatch.setattr(process, "CALL_S", 3.0)
    driver = DriverProcess("cim_machines:Laboratory")
    driver.describe()
    found = []
    asking = threading.Thread(target=lambda: found.append(driver.status()))
    try:
        with driver._calling:
            asking.start()
            time.sleep(3.2)
        asking.join()
    finally:
        driver.close()
    assert found
    assert driver._supervisor._n_starts == 1


def test_a_driver_that_holds_the_interpreter_in_an_emergency_is_ended_and_made_safe_anew():
    holder = driver_process("Perilous", grace_s=600.0)
    with open_device(holder) as device:
        first = holder.pid
        job = device.submit(PAIR, seed=5)  # a minute of native code
        wait_for(lambda: device.describe().busy)
        time.sleep(1.0)
        device.estop("smoke")
        wait_for(lambda: holder.pid not in {None, first}, seconds=40.0)
        with pytest.raises(EmergencyStopError, match="smoke"):
            job.result(timeout_s=20.0)


def test_a_driver_that_does_not_even_read_its_couplings_is_ended_in_an_emergency():
    stopped = DriverProcess("cim_machines:Annealer", options=DriverOptions(hang_s=600.0))
    J = np.triu(np.random.default_rng(5).integers(-100, 100, (2500, 2500)), 1)
    with open_device(stopped) as device:
        first = stopped.pid
        os.kill(first, signal.SIGSTOP)
        device.submit(IsingModel.from_couplings(J + J.T))
        wait_for(lambda: device.describe().busy)
        time.sleep(1.0)  # until the pipe is full
        device.estop("smoke")
        wait_for(lambda: stopped.pid not in {None, first}, seconds=40.0)


@pytest.mark.slow
def test_a_driver_that_is_busy_in_an_emergency_is_not_ended():
    busy = driver_process("Counting", grace_s=600.0)
    with open_device(busy) as device:
        first = busy.pid
        job = device.submit(PAIR, LONG)
        wait_for(lambda: device.describe().busy)
        device.estop("smoke")
        with pytest.raises(EmergencyStopError, match="smoke"):
            job.result(timeout_s=20.0)
        time.sleep(process.HELD_S + 1.0)
        assert busy.pid == first


def test_a_driver_whose_safe_hangs_is_ended_after_the_grace(tmp_path, monkeypatch):
    hanging = tmp_path / "hanging"
    monkeypatch.setenv("CIM_HANG", str(hanging))
    driver = driver_process("HangingSafe", grace_s=1.0)
    with open_device(driver) as device:
        device.sample(PAIR)
        first, began = driver.pid, time.monotonic()
        hanging.touch()
        device.estop("smoke")
        wait_for(lambda: driver.pid != first, seconds=30.0)  # 60 s, without the bound
        assert time.monotonic() - began > 0.9
        hanging.unlink()
        device.reset(device.safety().stop)
        device.sample(PAIR)
        assert "safe took longer than 1 s" in device.telemetry().driver.fault
