"""Several machines as one: real servers, real processes, and some of them die."""

from __future__ import annotations

import asyncio
import gc
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import textwrap
import threading
import time
from concurrent.futures import CancelledError, ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
import pytest
from cim_machines import Annealer, Exhaustive, Faulty, Laboratory, Patient

from cim_hal import (
    AsyncDevicePool,
    CapabilityError,
    DevicePool,
    Driver,
    IsingModel,
    JobTimeoutError,
    ModelError,
    PumpSchedule,
    open_device,
    spawn_server,
)
from cim_hal.errors import (
    ClosedError,
    ConnectError,
    DriverFaultError,
    LocalProtocolError,
    LockLostError,
    NoMachineError,
)
from cim_hal.testing import TcpProxy

PAIR = IsingModel.from_couplings([[0, 1], [1, 0]])
LONG = PumpSchedule.constant(1.0, round_trips=60_000)
SHORT = PumpSchedule.constant(1.0, round_trips=1)


class Unlocked(Annealer):
    """Loses lock in the first runs."""

    def __init__(self, n_losses) -> None:
        super().__init__()
        self.left = n_losses

    def run(self, program, stop):
        if self.left > 0:
            self.left -= 1
            raise LockLostError("the cavity lost lock")
        return super().run(program, stop)


def _glass(n_spins, seed=0):
    upper = np.triu(np.random.default_rng(seed).normal(size=(n_spins, n_spins)), 1)
    return IsingModel.from_couplings(upper + upper.T)


MODELS = [_glass(n, n) for n in (5, 8, 13)]


def _expected(n_jobs):
    with open_device(Annealer()) as device:
        jobs = [device.sample(MODELS[k % 3], n_runs=3, seed=k) for k in range(n_jobs)]
    return [samples.amplitudes for samples in jobs]


def _submit_all(pool, n_jobs, schedule=None):
    return [pool.submit(MODELS[k % 3], schedule, n_runs=3, seed=k) for k in range(n_jobs)]


# ---- many as one ----------------------------------------------------------------------------


def test_results_are_those_of_one_machine_whoever_ran_the_job(serving):
    with (
        serving(Annealer()) as first,
        serving(Annealer()) as second,
        DevicePool([first, second, Annealer(), "cim_machines:Annealer"]) as pool,
    ):
        found = [job.result().amplitudes for job in _submit_all(pool, 40)]
        mapped = [s.amplitudes for s in pool.map(MODELS, n_runs=3, seeds=range(3))]
        assert pool.capabilities == Annealer().describe()
        assert list(pool.machines.values()) == [True] * 4
    np.testing.assert_equal(found, _expected(40))
    np.testing.assert_equal(mapped, found[:3])


def test_jobs_are_yielded_as_they_end():
    with DevicePool([Patient()], jobs_per_machine=1) as pool:
        slow = pool.submit(PAIR, PumpSchedule.constant(1.0, round_trips=2000))
        with DevicePool([Annealer()]) as other:
            fast = other.submit(PAIR)
            assert list(DevicePool.as_completed([slow, fast], timeout_s=20.0)) == [fast, slow]


def test_a_job_goes_to_the_machine_that_can_do_it():
    with DevicePool([Exhaustive(), Annealer()]) as pool:
        assert pool.sample(_glass(20), n_runs=2).record.device == "annealer"
        assert pool.sample(_glass(5), coupling_bits=12).record.device == "exhaustive"
        assert pool.capabilities.max_spins == 12
        with pytest.raises(CapabilityError, match="max_spins"):
            pool.sample(IsingModel.from_couplings(np.zeros((4000, 4000))))
        with pytest.raises(CapabilityError, match="bits"):  # the machine's server says so
            pool.sample(_glass(5), coupling_bits=20)


def test_two_jobs_are_in_flight_at_a_time_on_each_machine_and_no_more(serving):
    with serving(Patient()) as endpoint, DevicePool([endpoint]) as pool:
        jobs = [pool.submit(PAIR, LONG) for _ in range(5)]
        deadline = time.monotonic() + 30.0
        with open_device(endpoint) as watching:
            while watching.describe().queued < 1 and time.monotonic() < deadline:
                time.sleep(0.02)
            time.sleep(0.2)
            assert (watching.describe().busy, watching.describe().queued) == (True, 1)
        for job in jobs:
            assert job.cancel()
        assert len(pool.sample(PAIR, SHORT, timeout_s=10.0)) == 1


def test_a_future_that_is_cancelled_cancels_its_job():
    with DevicePool([Patient()], jobs_per_machine=1) as pool:
        running, waiting = pool.submit(PAIR, LONG), pool.submit(PAIR, LONG)
        time.sleep(0.2)
        assert waiting.cancel()
        assert running.cancel()
        with pytest.raises(CancelledError):
            running.result()
        assert len(pool.sample(PAIR, SHORT, timeout_s=10.0)) == 1


def test_a_sample_that_is_late_says_so_and_frees_the_machine():
    with DevicePool([Patient()]) as pool:
        with pytest.raises(JobTimeoutError, match=r"after 0\.3 s"):
            pool.sample(PAIR, LONG, timeout_s=0.3)
        assert len(pool.sample(PAIR, SHORT, timeout_s=10.0)) == 1


def test_any_thread_may_use_it():
    with DevicePool([Annealer(), Annealer()]) as pool:
        found: dict[int, np.ndarray] = {}

        def work(seed):
            found[seed] = pool.sample(MODELS[seed % 3], n_runs=3, seed=seed).amplitudes

        threads = [threading.Thread(target=work, args=(seed,)) for seed in range(12)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30.0)
    np.testing.assert_equal([found[seed] for seed in range(12)], _expected(12))


def test_an_event_loop_has_a_pool_of_its_own(serving):
    async def main(endpoint):
        async with AsyncDevicePool([endpoint, Annealer()]) as pool:
            jobs = [pool.sample(MODELS[k % 3], n_runs=3, seed=k) for k in range(20)]
            found = [samples.amplitudes for samples in await asyncio.gather(*jobs)]
            mapped = [s.amplitudes async for s in pool.map(MODELS, n_runs=3, seeds=range(3))]
            return found, mapped

    with serving(Annealer()) as endpoint:
        found, mapped = asyncio.run(main(endpoint))
    np.testing.assert_equal(found, _expected(20))
    np.testing.assert_equal(mapped, found[:3])


# ---- errors ---------------------------------------------------------------------------------


def test_a_job_that_a_machine_failed_is_tried_again_if_the_error_is_retryable():
    flaky = Unlocked(3)
    with DevicePool([flaky]) as pool:
        found = pool.sample(MODELS[0], n_runs=3, seed=0).amplitudes
    np.testing.assert_array_equal(found, _expected(1)[0])
    assert flaky.left == 0
    with DevicePool([Unlocked(10**6)]) as pool, pytest.raises(LockLostError):
        pool.sample(PAIR)


def test_any_other_error_is_final():
    with DevicePool([Faulty()]) as pool, pytest.raises(DriverFaultError, match="the laser is off"):
        pool.sample(PAIR, seed=0)


def test_what_is_no_pool_is_refused():
    for targets in ([], "emulator"):
        with pytest.raises(ModelError, match="targets"):
            DevicePool(targets)
    with pytest.raises(ModelError, match="jobs_per_machine"):
        DevicePool([Annealer()], jobs_per_machine=0)
    with pytest.raises(ModelError, match="machines"):
        DevicePool.local("cim_machines:Annealer", machines=0)


def test_a_machine_that_is_not_there_at_the_beginning_is_an_error_and_closes_the_others():
    driver = Annealer()
    with pytest.raises(ConnectError, match="nobody answers"):
        DevicePool([driver, "tcp://127.0.0.1:1"], timeout_s=0.3)
    assert driver.n_closed == 1


def test_a_closed_pool_says_so():
    driver = Annealer()
    pool = DevicePool([driver])
    waiting = [pool.submit(PAIR, PumpSchedule.constant(1.0, round_trips=10**5)) for _ in range(5)]
    pool.close()
    pool.close()
    assert driver.n_closed == 1
    for job in waiting:
        with pytest.raises((CancelledError, ClosedError)):
            job.result(timeout=30.0)
    with pytest.raises(ClosedError):
        pool.submit(PAIR)


# ---- life and death -------------------------------------------------------------------------


def test_a_machine_that_is_killed_costs_no_result():
    slow = PumpSchedule.constant(1.0, round_trips=60)
    with DevicePool.local("cim_machines:Annealer", machines=2) as pool:
        expected = [job.result().amplitudes for job in _submit_all(pool, 16, slow)]
        jobs = _submit_all(pool, 16, slow)
        jobs[1].result(timeout=60.0)
        os.kill(_processes_of(pool)[0], signal.SIGKILL)
        found = [job.result(timeout=60.0).amplitudes for job in jobs]
        assert sorted(pool.machines.values()) == [False, True]
    np.testing.assert_equal(found, expected)


def _processes_of(pool):
    return [machine.server.process.pid for machine in pool._pool._machines]


def test_a_pool_whose_machines_are_all_dead_says_so():
    with DevicePool.local("cim_machines:Patient", machines=2) as pool:
        jobs = [pool.submit(PAIR, LONG) for _ in range(6)]
        time.sleep(0.3)
        for process in _processes_of(pool):
            os.kill(process, signal.SIGKILL)
        for job in jobs:
            with pytest.raises(NoMachineError, match="no machine of 2 is left"):
                job.result(timeout=20.0)


def test_a_machine_that_is_silent_is_left_and_taken_again_when_it_answers(serving):
    with (
        serving(Annealer()) as first,
        serving(Annealer()) as second,
        TcpProxy(second) as proxy,
        DevicePool([first, proxy.endpoint], timeout_s=2.0) as pool,
    ):
        assert len(list(pool.map(MODELS, n_runs=3, seeds=range(3)))) == 3
        with proxy.hold():
            found = [job.result(timeout=30.0).amplitudes for job in _submit_all(pool, 30)]
            np.testing.assert_equal(found, _expected(30))
            assert list(pool.machines.values()) == [True, False]
        deadline = time.monotonic() + 20.0
        while not all(pool.machines.values()) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert list(pool.machines.values()) == [True, True]
        assert len(list(pool.map(MODELS * 4))) == 12


@pytest.mark.slow
def test_a_server_that_is_started_again_is_in_service_again():
    with ExitStack() as stack:
        stays = stack.enter_context(spawn_server("cim_machines:Annealer"))
        goes = stack.enter_context(spawn_server("cim_machines:Annealer"))
        pool = stack.enter_context(DevicePool([stays.endpoint, goes.endpoint], timeout_s=0.5))
        goes.process.kill()
        goes.process.wait()
        found = [job.result(timeout=30.0).amplitudes for job in _submit_all(pool, 20)]
        np.testing.assert_equal(found, _expected(20))
        stack.enter_context(spawn_server("cim_machines:Annealer", endpoint=goes.endpoint))
        deadline = time.monotonic() + 20.0
        while not all(pool.machines.values()) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert list(pool.machines.values()) == [True, True]


# ---- locked, stopped, not safe ----------------------------------------------------------------


@contextmanager
def _locked(endpoint, _machine):
    with open_device(endpoint) as other, other.lock(note="aligning"):
        yield


@contextmanager
def _stopped(endpoint, _machine):
    with open_device(endpoint) as other:
        state = other.estop("smoke")
        yield
        other.reset(state.stop)


@contextmanager
def _open_lid(endpoint, machine):
    machine.lid = False
    with open_device(endpoint) as other:
        _wait_for(lambda: other.telemetry().telemetry.open_interlocks)
        yield
        machine.lid = True


def _wait_for(condition, seconds=20.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize("blocked", [_locked, _stopped, _open_lid])
def test_a_machine_that_may_not_be_used_gets_no_jobs_until_it_is_free(serving, blocked):
    machines = Laboratory(), Laboratory()
    n_runs = lambda k: machines[k].calls.count("run")  # noqa: E731
    with (
        serving(machines[0]) as first,
        serving(machines[1]) as second,
        DevicePool([first, second]) as pool,
    ):
        with blocked(second, machines[1]):
            found = [job.result(timeout=30.0).amplitudes for job in _submit_all(pool, 12)]
            assert list(pool.machines.values()) == [True, False]
            assert (n_runs(0), n_runs(1)) == (12, 0)
        np.testing.assert_equal(found, _expected(12))
        _wait_for(lambda: all(pool.machines.values()))
        assert len(list(pool.map(MODELS * 4, n_runs=3))) == 12
        assert n_runs(0) + n_runs(1) == 24
        assert n_runs(1) > 0


@pytest.mark.parametrize("blocked", [_locked, _stopped])
def test_jobs_that_wait_at_a_machine_that_is_taken_go_to_another(serving, blocked):
    with (
        serving(Patient()) as first,
        serving(Patient()) as second,
        DevicePool([first, second]) as pool,
    ):
        jobs = [pool.submit(PAIR, PumpSchedule.constant(1.0, round_trips=200)) for _ in range(8)]
        with blocked(second, None):
            assert [job.result(timeout=30.0).best_energy for job in jobs] == [-1.0] * 8


def test_where_no_machine_may_be_used_jobs_wait(serving):
    async def main(endpoint):
        async with AsyncDevicePool([endpoint]) as pool:
            with open_device(endpoint) as other:
                with other.lock():
                    job = pool.submit(PAIR, n_runs=2, seed=1)
                    done, _ = await asyncio.wait([job], timeout=2.5)
                    assert not done
                return (await asyncio.wait_for(job, 20.0)).best_energy

    with serving(Annealer()) as endpoint:
        assert asyncio.run(main(endpoint)) == -1.0


@pytest.mark.slow
def test_local_machines_share_the_processors(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setenv("NUMBA_NUM_THREADS", "1")
    with DevicePool.local("cim_machines:Annealer", machines=2) as pool:
        pid = _processes_of(pool)[0]
        said = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    share = max(len(os.sched_getaffinity(0)) // 2, 1)
    assert f"OMP_NUM_THREADS={share}".encode() in said
    assert b"NUMBA_NUM_THREADS=1" in said  # whoever sets it means it


# ---- processes ------------------------------------------------------------------------------


def sample_there(pool, seed):
    return pool.sample(MODELS[0], n_runs=3, seed=seed).amplitudes


def test_a_pool_travels_to_other_processes_as_its_addresses(serving):
    spawn = multiprocessing.get_context("spawn")
    with (
        serving(Annealer()) as first,
        serving(Annealer()) as second,
        DevicePool([first, second]) as pool,
        ProcessPoolExecutor(1, mp_context=spawn) as executor,
    ):
        found = list(executor.map(sample_there, [pool] * 3, range(3)))
        np.testing.assert_equal(found, [sample_there(pool, seed) for seed in range(3)])
    with DevicePool([Annealer()]) as here, pytest.raises(LocalProtocolError, match="serve it"):
        pickle.dumps(here)


LEFT_OPEN = textwrap.dedent("""
    import os, sys, warnings
    from cim_hal import DevicePool, IsingModel
    from cim_hal.errors import LocalProtocolError
    warnings.simplefilter("ignore", DeprecationWarning)
    pair = IsingModel.from_couplings([[0, 1], [1, 0]])
    pool = DevicePool([sys.argv[1], "cim_machines:Annealer"])
    pool.sample(pair)
    pid = os.fork()
    if pid == 0:
        calls = [lambda: pool.sample(pair), lambda: pool.submit(pair), lambda: pool.map([pair]),
                 lambda: pool.capabilities, lambda: pool.machines, pool.open]
        for call in calls:
            try:
                call()
            except LocalProtocolError as error:
                assert "fork" in str(error)
            else:
                raise SystemExit("no complaint")
        pool.close()
        sys.exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    jobs = [pool.submit(pair) for _ in range(50)]
    print("fine")
""")


def test_a_pool_that_was_forked_or_is_left_open_lets_both_processes_end(serving):
    with serving(Annealer()) as endpoint:
        command = [sys.executable, "-c", LEFT_OPEN, endpoint]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "fine", "")


@pytest.mark.usefixtures("collectable")
def test_a_pool_that_is_forgotten_closes_its_machines():
    driver: Driver = Annealer()
    pool = DevicePool([driver])
    pool.sample(PAIR)
    del pool
    deadline = time.monotonic() + 30.0
    while driver.n_closed == 0 and time.monotonic() < deadline:
        gc.collect()
        time.sleep(0.02)
    assert driver.n_closed == 1
