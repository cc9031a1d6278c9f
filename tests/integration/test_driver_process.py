"""A driver in its own process: whatever it does, its server goes on."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from cim_machines import Adjustable, Annealer
from perilous_machines import Counting

from cim_hal import (
    Driver,
    IsingModel,
    JobCancelledError,
    Program,
    PumpSchedule,
    TargetError,
    Telemetry,
    TraceRequest,
    lower,
    open_device,
)
from cim_hal.client.options import Retries
from cim_hal.errors import DriverFaultError, UnavailableError
from cim_hal.protocol.effects import MakeSafe, Run, Stop
from cim_hal.server.driver import process
from cim_hal.server.driver.process import DriverProcess
from cim_hal.server.driver.supervisor import Backoff, DriverOptions
from cim_hal.server.executor import Executor

PAIR = IsingModel.from_couplings([[0, 1], [1, 0]])
LONG = PumpSchedule.linear(0.0, 2.0, round_trips=100_000)
QUICK = DriverOptions(grace_s=0.5, backoff=Backoff(0.01, 0.1, broken_after=3))


def _process(name: str, **options) -> DriverProcess:
    chosen = DriverOptions(**({"grace_s": 0.5, "backoff": QUICK.backoff} | options))
    return DriverProcess(f"perilous_machines:{name}", options=chosen)


def _fault_of(device, seed: int) -> DriverFaultError:
    with pytest.raises(DriverFaultError) as caught:
        device.sample(PAIR, seed=seed)
    return caught.value


def _runs(device) -> int | None:
    """What the machine last said of the number of its runs; it does so in their midst too."""
    telemetry = device.telemetry().telemetry
    return telemetry and telemetry["runs"].value


def _wait_for(condition, seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def _is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


@pytest.fixture
def deaths(tmp_path, monkeypatch):
    """Writes where the next drivers are to die."""
    path = tmp_path / "deaths"
    monkeypatch.setenv("CIM_DEATHS", str(path))
    return lambda *wheres: path.write_text("\n".join(wheres))


# ---- like any other driver ------------------------------------------------------------------


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
        _wait_for(lambda: _runs(device) == 1)
        job = device.submit(PAIR, LONG, n_runs=1000)
        _wait_for(lambda: _runs(device) == 2)
        job.cancel()
        with pytest.raises(JobCancelledError, match="between two round trips"):
            job.result(timeout_s=20)


@pytest.mark.parametrize("make", [lambda: _process("Counting"), Counting])
def test_how_far_a_run_is_crosses_the_border(make):
    executor = Executor(make(), lambda: None)
    try:
        program = Program(lower(PAIR, executor.capabilities), LONG, n_runs=1, seed=0)
        executor.perform(Run("job", program))
        told = []
        _wait_for(lambda: told.extend(executor.progress()) or told)
        ((job, progress),) = told
        assert (job, progress.done, progress.total) == ("job", 50_000, 100_000)
        executor.perform(Stop("job"))
    finally:
        executor.close()


def test_a_target_that_is_none_is_an_error_of_the_target():
    with pytest.raises(TargetError, match=r"libfpga\.so\.3"):
        open_device(_process("import_error"))
    with pytest.raises(TargetError, match="known: "):
        open_device(DriverProcess("nobody"))


# ---- crashes --------------------------------------------------------------------------------


def test_a_crash_is_a_fault_with_signal_or_status_and_the_next_job_runs():
    with open_device(_process("Perilous")) as device:
        fault = _fault_of(device, 1)
        assert fault.details["signal"] == "SIGSEGV"
        assert "Segmentation fault" in fault.details["stderr"]
        assert "_segfault" in fault.details["stderr"]  # where it stood
        fault = _fault_of(device, 2)
        assert fault.details["exit_status"] == 3
        assert "burnt a hole" in str(fault)
        assert device.sample(PAIR, seed=3).best_energy == -1.0  # prints 440 kB of garbage
        assert device.telemetry().driver.restarts == 2


@pytest.mark.slow
@pytest.mark.parametrize("where", ["program", "run"])
def test_a_driver_killed_in_a_call_fails_that_job_and_no_other(where, deaths):
    deaths()
    with open_device(_process("Mortal")) as device:
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
    driver = _process("Mortal")
    with open_device(driver) as device:
        for _ in range(2):
            device.sample(PAIR)
            os.kill(driver.pid, signal.SIGKILL)
        assert device.sample(PAIR).best_energy == -1.0
        assert device.telemetry().driver.restarts == 2


@pytest.mark.slow
def test_a_driver_that_dies_while_it_starts_is_refused_and_then_is_back(deaths):
    deaths()
    driver = _process("Mortal")
    with open_device(driver, retries=Retries(limit=0)) as device:
        deaths("run", *["describe"] * 6)
        _fault_of(device, 0)
        _wait_for(lambda: device.telemetry().driver.phase == "broken")
        with pytest.raises(UnavailableError, match="SIGKILL") as caught:
            device.sample(PAIR)
        assert caught.value.retryable
        assert 0 <= caught.value.details["retry_after_s"] <= 0.1
        _wait_for(lambda: device.telemetry().driver.phase == "ready")
        assert device.sample(PAIR).best_energy == -1.0


@pytest.mark.slow
def test_a_driver_that_dies_at_its_first_start_is_not_served(deaths):
    deaths("describe")
    with pytest.raises(DriverFaultError, match="SIGKILL"):
        open_device(_process("Mortal"))


# ---- hangs and excess -----------------------------------------------------------------------


def test_a_stopped_process_is_a_hang(deaths):
    deaths()
    driver = _process("Mortal", hang_s=1.0)
    with open_device(driver) as device:
        job = device.submit(PAIR, LONG, n_runs=1000)
        _wait_for(lambda: _runs(device) == 1)
        stopped = driver.pid
        os.kill(stopped, signal.SIGSTOP)
        with pytest.raises(DriverFaultError, match=r"no sign of life for 1 s"):
            job.result(timeout_s=20)
        assert not _is_alive(stopped)
        assert device.sample(PAIR).best_energy == -1.0


@pytest.mark.slow
def test_a_driver_that_holds_the_interpreter_is_a_hang_and_says_where():
    with open_device(_process("Perilous", hang_s=1.0)) as device:
        fault = _fault_of(device, 5)
        assert "no sign of life" in str(fault)
        assert "_hold_the_gil" in fault.details["stderr"]
        assert device.sample(PAIR, seed=0).best_energy == -1.0


@pytest.mark.slow
def test_a_run_that_takes_too_long_or_too_much_is_ended():
    with open_device(_process("Perilous", run_s=6.0, memory_bytes=512 * 1024**2)) as device:
        assert "MiB of memory, 512 are allowed" in str(_fault_of(device, 4))
        assert "run took longer than 6 s" in str(_fault_of(device, 8))
        assert device.sample(PAIR, seed=0).best_energy == -1.0


@pytest.mark.slow
def test_a_calibration_that_takes_too_long_is_ended(deaths):
    deaths()
    with open_device(_process("Deaf", calibrate_s=1.0)) as device:
        with pytest.raises(DriverFaultError, match="hung: calibrate took longer than 1 s"):
            device.calibrate()
        assert device.telemetry().driver.restarts <= 1


@pytest.mark.slow
def test_a_driver_that_breaks_the_link_is_ended():
    with open_device(_process("Perilous")) as device:
        assert "did not keep to the format" in str(_fault_of(device, 6))
        assert "closed its connection" in str(_fault_of(device, 7))
        assert device.sample(PAIR, seed=0).best_energy == -1.0


def test_a_driver_that_does_not_heed_a_cancel_is_ended_and_the_job_is_cancelled():
    with open_device(_process("Perilous")) as device:
        job = device.submit(PAIR, seed=8)
        _wait_for(lambda: device.describe().busy)
        job.cancel()
        with pytest.raises(JobCancelledError, match="was ended"):
            job.result(timeout_s=20)
        assert device.sample(PAIR, seed=0).best_energy == -1.0


def test_in_an_emergency_a_machine_that_heeds_nothing_is_made_safe_at_once(deaths, tmp_path):
    deaths()
    is_safe = tmp_path / "deaths.safe"
    executor = Executor(_process("Deaf", grace_s=5.0), lambda: None)
    try:
        program = Program(lower(PAIR, executor.capabilities), LONG, n_runs=1, seed=0)
        executor.perform(Run("job", program))
        _wait_for(lambda: any(isinstance(update, Telemetry) for update in executor.updates()))
        is_safe.unlink()
        executor.perform(MakeSafe())
        asked_at = time.monotonic()
        _wait_for(is_safe.exists)
        assert time.monotonic() - asked_at < 2.0  # 0.2 s, on a machine that is not busy
    finally:
        executor.close()


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


# ---- servers --------------------------------------------------------------------------------


def _driver_of(server: int) -> int:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[1]) == server:
                return int(entry.name)
    raise AssertionError("the server has no child")


@pytest.mark.parametrize("is_running", [pytest.param(False, marks=pytest.mark.slow), True])
def test_a_killed_server_leaves_no_orphan_and_the_machine_safe(
    cim_hal, deaths, tmp_path, is_running
):
    deaths()
    server = cim_hal("serve", "perilous_machines:Mortal")
    endpoint = server.stdout.readline().split()[-1]
    driver = _driver_of(server.pid)
    with open_device(endpoint, timeout_s=2.0) as device:
        if is_running:
            device.submit(PAIR, LONG, n_runs=1000)
            _wait_for(lambda: _runs(device) == 1)
        (tmp_path / "deaths.safe").unlink()
        server.kill()
        server.wait()
        _wait_for(lambda: not _is_alive(driver))
    assert (tmp_path / "deaths.safe").exists()


def test_a_server_goes_on_after_its_driver_was_killed_and_ends_it_with_itself(cim_hal, deaths):
    deaths()
    server = cim_hal("serve", "perilous_machines:Mortal")
    endpoint = server.stdout.readline().split()[-1]
    with open_device(endpoint) as device:
        device.sample(PAIR)
        os.kill(_driver_of(server.pid), signal.SIGKILL)
        assert device.sample(PAIR).best_energy == -1.0
    driver = _driver_of(server.pid)
    server.send_signal(signal.SIGTERM)
    _, err = server.communicate(timeout=20)
    assert server.returncode == 0
    assert "the process of the driver was ended by SIGKILL" in err
    assert not _is_alive(driver)


@pytest.mark.slow
def test_a_server_may_have_its_driver_in_its_own_process(cim_hal):
    server = cim_hal("serve", "cim_machines:Annealer", "--in-process")
    endpoint = server.stdout.readline().split()[-1]
    with open_device(endpoint) as device:
        assert device.sample(PAIR).best_energy == -1.0
    with pytest.raises(AssertionError, match="no child"):
        _driver_of(server.pid)


@pytest.mark.slow
def test_restarts_leave_files_and_threads_as_they_were():
    """``benchmarks/soak_driver.py`` does so a thousand times, and looks at memory too."""

    def state() -> tuple[int, int]:
        device.sample(PAIR, seed=0)  # so that no process is being started
        return len(list(Path("/proc/self/fd").iterdir())), threading.active_count()

    with open_device(_process("Perilous")) as device:
        before = state()
        for _ in range(8):
            _fault_of(device, 2)
        assert state() == before
