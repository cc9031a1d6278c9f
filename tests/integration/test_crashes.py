"""Servers that die, end, or run out of disk and files, with real processes: nothing is lost."""

from __future__ import annotations

import resource
import shutil
import signal
import subprocess
import time
from contextlib import suppress

import numpy as np
import pytest
from cim_machines import Annealer
from crashing import N_JOBS

from cim_hal import IsingModel, PumpSchedule, TransportError, open_device
from cim_hal.errors import DeviceRestartedError, StorageError
from cim_hal.protocol.wire.limits import Limits

PAIR = IsingModel.from_couplings([[0, 1], [1, 0]])
LONG = PumpSchedule.constant(1.0, round_trips=60_000)


def test_jobs_that_wait_run_after_a_restart_for_whoever_asks(crashing, expected):
    crashing.start()
    with open_device(crashing.endpoint) as session:
        running = session.submit(PAIR, LONG, seed=99)
        waiting = [session.submit(PAIR, n_runs=2, seed=seed) for seed in range(N_JOBS)]
        instance = session._client.welcome.instance
        while not crashing.has_run()[99]:  # a job is running before its driver has begun
            time.sleep(0.01)
        crashing.kill()
        crashing.start()
        for seed, job in enumerate(waiting):  # the session goes on by itself
            np.testing.assert_array_equal(job.result(30.0).amplitudes, expected[seed])
        assert session._client.welcome.instance != instance
        with pytest.raises(DeviceRestartedError):
            running.result(5.0)
    with open_device(crashing.endpoint) as other:
        infos = other.jobs()
        assert [info.state for info in infos] == ["failed"] + ["done"] * N_JOBS
        job = other.job(waiting[2].id, PAIR)
        np.testing.assert_array_equal(job.result().amplitudes, expected[2])
    assert crashing.has_run() == dict.fromkeys([99, *range(N_JOBS)], 1)


DAY_S = 86_400.0


@pytest.mark.parametrize("step_s", [-DAY_S, DAY_S])
def test_a_clock_that_is_set_while_a_server_runs_ends_nothing(serving, monkeypatch, step_s):
    limits = Limits(lease_s=60.0, result_s=900.0, session_s=900.0)
    with serving(Annealer(), limits=limits) as endpoint, open_device(endpoint) as session:
        job = session.submit(PAIR, n_runs=2, seed=1, key="a" * 32)
        found = job.result(20.0)
        with session.lock(for_s=600.0) as lease:
            told = time.time
            monkeypatch.setattr(time, "time", lambda: told() + step_s)
            time.sleep(0.5)  # several ticks
            state = session.lock_info()
            assert (state.epoch, state.is_yours) == (lease.epoch, True)
            assert 30.0 < state.expires_in_s <= 60.0
            again = session.submit(PAIR, n_runs=2, seed=1, key="a" * 32)
            assert again.id == job.id
            np.testing.assert_array_equal(again.result(5.0).amplitudes, found.amplitudes)
        assert [info.state for info in session.jobs()] == ["done"]
        assert 0.0 <= session.jobs()[0].age_s < 30.0


def test_a_clock_that_was_set_back_between_two_servers_ends_nothing(
    crashing, expected, monkeypatch
):
    crashing.start()
    with open_device(crashing.endpoint) as session:
        job = session.submit(PAIR, n_runs=2, seed=1, key="a" * 32)
        gone = session.submit(PAIR, n_runs=2, seed=2, key="b" * 32)
        gone.result(20.0)
        gone.acknowledge()
        job.result(20.0)
        epoch = session.lock(for_s=60.0, stands=True).epoch
    crashing.kill()
    monkeypatch.setenv("CIM_CLOCK_STEP", str(-DAY_S))
    crashing.start()
    with open_device(crashing.endpoint) as session:
        again = session.submit(PAIR, n_runs=2, seed=1, key="a" * 32)
        np.testing.assert_array_equal(again.result(20.0).amplitudes, expected[1])
        assert session.submit(PAIR, n_runs=2, seed=2, key="b" * 32).id == gone.id
        with session.lock() as lease:
            assert lease.epoch > epoch
        time.sleep(0.3)  # a few ticks forget nothing
        assert session.submit(PAIR, n_runs=2, seed=2, key="b" * 32).id == gone.id
    assert crashing.has_run() == {1: 1, 2: 1}


def test_a_full_disk_is_a_clear_error_and_the_service_resumes(crashing, expected):
    """The limit on the size of files stands for a full disk: writes fail, reads do not."""
    crashing.start()
    pid = crashing.process.pid
    with open_device(crashing.endpoint) as session:
        np.testing.assert_array_equal(
            session.sample(PAIR, n_runs=2, seed=0).amplitudes, expected[0]
        )
        _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (1, hard))
        with pytest.raises(StorageError, match="cannot write to its disk"):
            session.submit(PAIR, n_runs=2, seed=1, timeout_s=1.0)
        assert session.describe().busy is False
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (hard, hard))
        found = session.sample(PAIR, n_runs=2, seed=1)
        np.testing.assert_array_equal(found.amplitudes, expected[1])


@pytest.mark.slow
def test_a_file_system_without_room_loses_nothing(crashing, expected, tmp_path):
    """A real one of 4 MiB, where this process may mount it."""
    crashing.folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(crashing.folder)]
    if shutil.which("mount") is None or subprocess.run(mount, check=False).returncode != 0:
        pytest.skip("file systems cannot be mounted here")
    try:
        crashing.start()
        with open_device(crashing.endpoint) as session:
            running = session.submit(PAIR, n_runs=2, seed=0, key="a" * 32)
            _fill(crashing.folder / "filler")
            with pytest.raises(StorageError, match="cannot write to its disk"):
                _submit_many(session)
            (crashing.folder / "filler").unlink()
            np.testing.assert_array_equal(running.result(20.0).amplitudes, expected[0])
            for job in session.jobs("queued", "running"):
                session.cancel(job.job)
            found = session.sample(PAIR, n_runs=2, seed=3, timeout_s=20.0)
            np.testing.assert_array_equal(found.amplitudes, expected[3])
        crashing.kept()
    finally:
        crashing.kill()
        subprocess.run(["umount", str(crashing.folder)], check=True)


def _submit_many(session):
    for seed in range(1, 50):  # the journal may have a page or two left
        session.submit(PAIR, LONG, seed=seed, timeout_s=1.0)


def _fill(path):
    """Write until there is no room for another byte."""
    with path.open("wb", buffering=0) as file, suppress(OSError):
        for size in (65536, 4096, 1):
            with suppress(OSError):
                while True:
                    file.write(bytes(size))


@pytest.mark.slow
def test_no_file_descriptors_left_is_no_end_of_the_service(crashing, expected):
    crashing.start()
    pid = crashing.process.pid
    with open_device(crashing.endpoint, timeout_s=10.0) as session:
        session.load(PAIR)
        soft, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (3, hard))  # none more can be opened
        job = session.submit(PAIR, n_runs=2, seed=0)
        with pytest.raises(TransportError):
            open_device(crashing.endpoint, timeout_s=0.5)
        assert session.describe().capabilities.name == "witness"
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (soft, hard))
        job.wait(20.0)
        np.testing.assert_array_equal(
            session.sample(PAIR, n_runs=2, seed=1).amplitudes, expected[1]
        )
    with open_device(crashing.endpoint) as another:
        assert another.describe().capabilities.name == "witness"


@pytest.mark.slow
def test_a_server_that_is_told_to_end_keeps_what_waits(crashing, expected):
    crashing.start()
    with open_device(crashing.endpoint) as session:
        session.submit(PAIR, LONG, seed=99)
        waiting = session.submit(PAIR, n_runs=2, seed=1)
    crashing.process.send_signal(signal.SIGTERM)
    assert crashing.process.wait(20.0) == 0
    crashing.process.stdout.close()
    crashing.start()
    with open_device(crashing.endpoint) as session:
        job = session.job(waiting.id, PAIR)
        np.testing.assert_array_equal(job.result(30.0).amplitudes, expected[1])
