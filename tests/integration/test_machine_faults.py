"""A machine that misbehaves behind a real server, as its client sees it."""

from __future__ import annotations

import signal
import time

import numpy as np
import pytest
from cim_machines import Annealer

from cim_hal import (
    DeviceError,
    IsingModel,
    JobCancelledError,
    JobTimeoutError,
    LoopbackTransport,
    TransportError,
    make_driver,
    open_device,
)
from cim_hal.errors import DriverFaultError, LockLostError
from cim_hal.machine.faulty_driver import CRASHED, Fault, FaultScript, FaultyDriver
from cim_hal.protocol.jobs.state import JobState

PAIR = IsingModel.from_couplings([[0, 1], [1, 0]])
LOOSE = """
seed = 5
[[fault]]
kind = "lost_lock"
probability = 0.3
"""

# What the client gets: error, code, a word of the sentence.
SEEN = {
    "lost_lock": (LockLostError, "device.lock_lost", "lost lock"),
    "exception": (DriverFaultError, "device.driver_fault", "RuntimeError"),
    "wrong_shape": (DriverFaultError, "device.driver_fault", r"shape \(3, 1\)"),
    "wrong_dtype": (DriverFaultError, "device.driver_fault", "real numbers"),
    "nan": (DriverFaultError, "device.driver_fault", "not finite"),
}


def one(kind: str, jobs: str = "[1]", more: str = "") -> str:
    return f'[[fault]]\nkind = "{kind}"\njobs = {jobs}\n{more}\n'


@pytest.fixture
def serve(cim_hal, tmp_path):
    """Starts a server of an annealer with the faults of a script."""

    def serve(script: str, *options: str):
        path = tmp_path / "faults.toml"
        path.write_text(script)
        command = ("serve", "cim_machines:Annealer", "--no-journal")  # several at a time
        process = cim_hal(*command, "--faults", str(path), *options)
        line = process.stdout.readline()
        return process, line.split()[-1] if line else ""

    return serve


def _sample(device, **options):
    return device.sample(PAIR, **{"n_runs": 3, "seed": 1} | options)


@pytest.fixture(scope="module")
def right():
    with open_device(Annealer()) as device:
        return _sample(device)


def _same(samples, right) -> bool:
    return np.array_equal(samples.amplitudes, right.amplitudes)


# ---- errors ---------------------------------------------------------------------------------


def test_each_fault_is_its_error_at_the_client_and_the_next_job_is_right(serve, right):
    script = "".join(one(kind, f"[{2 * at + 2}]") for at, kind in enumerate(SEEN))
    process, endpoint = serve(script)
    with open_device(endpoint) as device:
        assert _same(_sample(device), right)
        for error, code, sentence in SEEN.values():
            with pytest.raises(error, match=sentence) as caught:
                _sample(device)
            assert caught.value.code == code
            assert caught.value.retryable == (code == "device.lock_lost")
            assert _same(_sample(device), right)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=20)
    strikes = [
        line.split("WARNING ")[1].partition(" job=")[0]
        for line in err.splitlines()
        if " WARNING " in line
    ]
    assert strikes == [f"job {2 * at + 2}: {kind}" for at, kind in enumerate(SEEN)]
    assert process.returncode == 0


def test_a_run_that_was_cut_short_is_an_answer_like_any_other(serve, right):
    _, endpoint = serve(one("cut_short", more="at = 0.05"))
    with open_device(endpoint) as device:
        early = _sample(device)
        assert len(early) == 3
        assert not _same(early, right)
        assert early.record.round_trips == right.record.round_trips  # the machine does not tell
        assert _same(_sample(device), right)


@pytest.mark.slow
def test_the_same_seed_fails_the_same_jobs_in_every_server(serve, tmp_path):
    def failing() -> set[int]:
        _, endpoint = serve(LOOSE)
        jobs = set()
        with open_device(endpoint) as device:
            for job in range(1, 31):
                try:
                    _sample(device)
                except LockLostError:
                    jobs.add(job)
        return jobs

    first = failing()
    script = FaultScript.read(tmp_path / "faults.toml")
    assert first == failing() == {job for job in range(1, 31) if script.fault_in(job)}
    assert 0 < len(first) < 30


@pytest.mark.parametrize("transport", [lambda driver: driver, LoopbackTransport])
def test_a_faulty_driver_serves_in_this_process_too(transport):
    script = FaultScript(faults=(Fault(kind="lost_lock", jobs=(1,), at=0.5),))
    with open_device(transport(FaultyDriver(make_driver("emulator"), script))) as device:
        with pytest.raises(DeviceError) as caught:
            _sample(device)
        assert isinstance(caught.value, LockLostError)
        assert _sample(device).best_energy == -1.0


# ---- waits ----------------------------------------------------------------------------------


def test_a_hang_is_a_deadline_at_the_client_and_the_next_job_waits_for_its_end(serve, right):
    _, endpoint = serve(one("hang", more="seconds = 3.0"))
    with open_device(endpoint) as device:
        started = time.monotonic()
        hanging = device.submit(PAIR, n_runs=3, seed=1)
        with pytest.raises(JobTimeoutError):
            hanging.result(timeout_s=0.2)
        assert hanging.cancel() is JobState.STOPPING
        assert device.describe().busy
        assert _same(_sample(device), right)
        assert time.monotonic() - started >= 3.0
        with pytest.raises(JobCancelledError):
            hanging.result(timeout_s=10.0)


@pytest.mark.slow  # a server gives its driver 5 s to heed a stop
def test_a_server_stops_although_its_machine_hangs_for_ever(serve):
    process, endpoint = serve(one("hang"))
    with open_device(endpoint) as device:
        job = device.submit(PAIR)
        with pytest.raises(JobTimeoutError):
            job.result(timeout_s=0.5)
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=40)
    assert process.returncode == 0
    assert "did not heed a stop within 5 s" in err


def test_a_slow_machine_answers_late_and_lets_itself_be_cancelled(serve, right):
    _, endpoint = serve(
        one("slow", more="seconds = 0.5") + one("slow", "[2]", more="seconds = 60.0")
    )
    with open_device(endpoint) as device:
        started = time.monotonic()
        assert _same(_sample(device), right)
        assert time.monotonic() - started >= 0.5
        job = device.submit(PAIR)
        assert job.cancel() is JobState.STOPPING
        with pytest.raises(JobCancelledError):
            job.result(timeout_s=20.0)
        assert _same(_sample(device), right)


# ---- the end of the process -----------------------------------------------------------------


@pytest.mark.slow
def test_a_crash_is_a_fault_and_the_jobs_after_it_keep_their_numbers(serve, right):
    _, endpoint = serve(one("crash", more="at = 0.5") + one("lost_lock", "[3]"))
    with open_device(endpoint) as device:
        with pytest.raises(DriverFaultError, match="exit status 70") as caught:
            _sample(device)
        assert caught.value.details["exit_status"] == CRASHED
        assert _same(_sample(device), right)
        with pytest.raises(LockLostError):
            _sample(device)


def test_in_the_process_of_the_server_a_crash_ends_that(serve, right):
    process, endpoint = serve(one("crash", more="at = 0.5"), "--in-process")
    with open_device(endpoint, timeout_s=3.0) as device:
        with pytest.raises(TransportError):
            _sample(device)
        assert process.wait(timeout=20) == CRASHED
        serve(one("nan", "[100]"), "--bind", endpoint)
        assert _same(_sample(device), right)


def test_a_machine_that_hangs_for_ever_is_ended_at_its_limit_and_the_next_job_is_right(
    serve, right
):
    _, endpoint = serve(one("hang"), "--driver-run-limit", "1.5")
    with open_device(endpoint) as device:
        with pytest.raises(DriverFaultError, match=r"run took longer than 1\.5 s"):
            _sample(device)
        assert _same(_sample(device), right)


def test_a_machine_that_does_not_describe_itself_is_not_served(serve):
    process, endpoint = serve('[[fault]]\nkind = "no_description"\n')
    _, err = process.communicate(timeout=20)
    assert (process.returncode, endpoint) == (1, "")
    assert "error: the driver failed in describe: RuntimeError: injected" in err.splitlines()[-1]


# ---- the command ----------------------------------------------------------------------------


def test_faults_are_announced_on_stderr_and_in_the_description(serve):
    process, endpoint = serve(LOOSE)
    with open_device(endpoint) as device:
        assert device.capabilities.description.startswith("FAULTS ARE INJECTED (lost_lock; seed 5)")
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=20)
    assert out == ""
    assert err.startswith("warning: faults are injected: lost_lock; seed 5 (from ")
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize(
    ("script", "says"),
    [
        (
            LOOSE.replace("lost_lock", "lost"),
            "[[fault]] number 1: kind = 'lost': it should be 'lost_lock'",
        ),
        (LOOSE.replace("probability = 0.3", ""), "exactly one of jobs, every and probability"),
        (LOOSE.replace("]]", "]", 1), "is not TOML"),
    ],
)
def test_a_wrong_script_is_one_line_and_exit_status_2(run, tmp_path, script, says):
    path = tmp_path / "faults.toml"
    path.write_text(script)
    status, out, err = run("serve", "cim_machines:Annealer", "--faults", str(path))
    assert (status, out) == (2, "")
    assert err.startswith("error: ")
    assert len(err.splitlines()) == 1
    assert says in err


def test_a_script_that_is_not_there_is_one_line_and_exit_status_2(run):
    status, _, err = run("serve", "cim_machines:Annealer", "--faults", "absent.toml")
    assert status == 2
    assert "'--faults': File 'absent.toml' does not exist" in err
