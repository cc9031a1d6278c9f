"""Sessions and processes: pickled, forked, interrupted, left to the collector and to the end."""

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
import time
from concurrent.futures import ProcessPoolExecutor

import numpy as np
import processes
import pytest
from cim_machines import Annealer, Patient

from cim_hal import IsingModel, PumpSchedule, Retries, open_device, open_device_async
from cim_hal.client.options import ConnectionOptions
from cim_hal.client.session import Session
from cim_hal.errors import KeyFileError, LocalProtocolError
from cim_hal.key_files import create_key, read_pair, read_public
from cim_hal.protocol.wire.limits import Limits
from cim_hal.server.security.authenticator import Authenticator, Client, authorize

PAIR = IsingModel.from_couplings([[0, 1], [1, 0]])
LONG = PumpSchedule.constant(1.0, round_trips=60_000)
SPAWN = multiprocessing.get_context("spawn")


def sample_there(session, seed):
    return session.sample(PAIR, n_runs=3, seed=seed).amplitudes


async def sample_all(session, seeds):
    async with session:
        jobs = (session.sample(PAIR, n_runs=3, seed=seed) for seed in seeds)
        return [samples.amplitudes for samples in await asyncio.gather(*jobs)]


def sample_all_there(session, seeds):
    return asyncio.run(sample_all(session, seeds))


# ---- pickled --------------------------------------------------------------------------------


def test_a_session_travels_to_other_processes_as_its_address(serving, tmp_path):
    for name in ("server", "alice"):
        create_key(name, tmp_path)
    known = tmp_path / "authorized.toml"
    authorize(known, Client(name="alice", key=read_public(tmp_path / "alice.pub"), role="user"))
    authenticator = Authenticator(read_pair(tmp_path / "server.key"), known)
    keys = {"key": tmp_path / "alice.key", "server_key": tmp_path / "server.pub"}
    with (
        serving(Annealer(), authenticator=authenticator) as endpoint,
        open_device(endpoint, **keys) as device,
        ProcessPoolExecutor(1, mp_context=SPAWN) as executor,
    ):
        expected = [sample_there(device, seed) for seed in range(4)]
        found = list(executor.map(sample_there, [device] * 4, range(4)))
        there = open_device_async(endpoint, **keys)
        also = executor.submit(sample_all_there, there, range(4)).result()
    np.testing.assert_equal(found, expected)
    np.testing.assert_equal(also, expected)
    text = pickle.dumps(device)
    assert b"alice.key" in text
    assert read_pair(tmp_path / "alice.key").secret.encode() not in text


def test_cloudpickle_carries_sessions_too(serving):
    cloudpickle = pytest.importorskip("cloudpickle")
    with serving(Annealer()) as endpoint, open_device(endpoint) as device:
        carried = pickle.loads(cloudpickle.dumps(lambda: sample_there(device, 1)))
        np.testing.assert_array_equal(carried(), sample_there(device, 1))


def test_what_arrives_has_the_same_patience_and_connects_at_its_first_use():
    options = ConnectionOptions("tcp://127.0.0.1:1", 0.3, retries=Retries(limit=0))
    again = pickle.loads(pickle.dumps(Session(options)))
    assert again._options == options
    began = time.monotonic()
    with pytest.raises(Exception, match="nobody answers"):
        again.describe()
    assert time.monotonic() - began < 10.0


def test_a_key_that_is_not_there_is_missed_at_the_first_use():
    options = ConnectionOptions("tcp://127.0.0.1:1", 0.3, "/nowhere.key", "/nowhere.pub")
    again = pickle.loads(pickle.dumps(Session(options)))
    with pytest.raises(KeyFileError):
        again.describe()


@pytest.mark.parametrize("make", [open_device, open_device_async])
def test_a_machine_of_this_process_has_no_address_to_pickle(make):
    session = make(Annealer())
    with pytest.raises(LocalProtocolError, match="serve it"):
        pickle.dumps(session)
    with open_device("cim_machines:Annealer") as named:
        again = pickle.loads(pickle.dumps(named))
        np.testing.assert_array_equal(sample_there(again, 1), sample_there(named, 1))
        again.close()


@pytest.mark.usefixtures("collectable")
def test_sessions_that_are_forgotten_do_not_fill_the_server(serving):
    with (
        serving(Annealer(), limits=Limits(max_sessions=3)) as endpoint,
        open_device(endpoint) as device,
    ):
        for seed in range(5):
            sample_there(pickle.loads(pickle.dumps(device)), seed)
            gc.collect()


# ---- forked ---------------------------------------------------------------------------------

FORKED = textwrap.dedent("""
    import asyncio, os, sys, warnings
    from cim_hal import IsingModel, open_device, open_device_async
    from cim_hal.errors import LocalProtocolError
    warnings.simplefilter("ignore", DeprecationWarning)
    pair = IsingModel.from_couplings([[0, 1], [1, 0]])
    device = open_device(sys.argv[1])
    job = device.submit(pair)
    calls = {
        "capabilities": lambda: device.capabilities, "ping": device.ping,
        "describe": device.describe, "status": device.status, "metrics": device.metrics,
        "load": lambda: device.load(pair), "submit": lambda: device.submit(pair),
        "sample": lambda: device.sample(pair), "cancel": lambda: device.cancel(job.id),
        "telemetry": device.telemetry, "history": device.history, "open": device.open,
        "calibration": device.calibration, "calibrations": device.calibrations,
        "calibrate": device.calibrate, "state": lambda: job.state, "result": job.result,
        "job.cancel": job.cancel,
    }
    async def both():
        async with open_device_async(sys.argv[1]) as other:
            async_calls = [other.ping, other.describe, lambda: other.sample(pair)]
            pid = os.fork()
            if pid == 0:
                try:
                    for call in async_calls:
                        try:
                            await call()
                        except LocalProtocolError as error:
                            assert "fork" in str(error)
                        else:
                            os._exit(3)
                    os._exit(0)
                finally:
                    os._exit(4)
            assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
            await other.ping()
    pid = os.fork()
    if pid == 0:
        for name, call in calls.items():
            try:
                call()
            except LocalProtocolError as error:
                assert "fork" in str(error), name
            else:
                raise SystemExit(name + " did not complain")
        device.close()
        own = open_device(sys.argv[1])
        own.sample(pair)
        sys.exit(0)  # in good order, with all that runs at the end of an interpreter
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    device.sample(pair)
    if not sys.argv[1].startswith("cim_"):
        asyncio.run(both())
    print("fine")
""")


@pytest.mark.parametrize("where", ["there", "here"])
def test_after_a_fork_every_call_in_the_child_says_so_and_both_end(serving, where):
    with serving(Annealer()) as endpoint:
        target = endpoint if where == "there" else "cim_machines:Annealer"
        command = [sys.executable, "-c", FORKED, target]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, "fine"), done.stderr


# ---- interrupted and left behind ------------------------------------------------------------

INTERRUPTED = textwrap.dedent("""
    import sys
    from cim_hal import IsingModel, JobCancelledError, PumpSchedule, open_device
    pair = IsingModel.from_couplings([[0, 1], [1, 0]])
    long = PumpSchedule.constant(1.0, round_trips=60_000)
    device = open_device(sys.argv[1])
    job = device.submit(pair, long)
    print("waiting", flush=True)
    try:
        job.result()
    except KeyboardInterrupt:
        try:
            job.result(timeout_s=10.0)
        except JobCancelledError:
            short = PumpSchedule.constant(1.0, round_trips=1)
            print(len(device.sample(pair, short, timeout_s=10.0)), flush=True)
""")
INTERRUPTED_ASYNC = textwrap.dedent("""
    import asyncio, sys
    from cim_hal import IsingModel, PumpSchedule, open_device_async
    pair = IsingModel.from_couplings([[0, 1], [1, 0]])
    long = PumpSchedule.constant(1.0, round_trips=60_000)
    async def main():
        async with open_device_async(sys.argv[1]) as device:
            print("waiting", flush=True)
            await device.sample(pair, long)
    try:
        asyncio.run(main())
    except KeyboardInterrupt:
        print(1, flush=True)
""")
LEFT_BEHIND = textwrap.dedent("""
    import sys, threading
    from cim_hal import IsingModel, PumpSchedule, open_device
    pair = IsingModel.from_couplings([[0, 1], [1, 0]])
    device = open_device(sys.argv[1])
    job = device.submit(pair, PumpSchedule.constant(1.0, round_trips=60_000), keep=False)
    waiting = threading.Thread(target=lambda: job.result(), daemon=True)
    waiting.start()
    waiting.join(0.3)
""")


@pytest.mark.parametrize("program", [INTERRUPTED, INTERRUPTED_ASYNC], ids=["sync", "async"])
def test_an_interrupt_in_a_wait_cancels_the_job_and_leaves_the_session_usable(serving, program):
    with serving(Patient()) as endpoint, open_device(endpoint) as watching:
        process = processes.start(
            [sys.executable, "-c", program, endpoint], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout.readline() == "waiting\n"
        deadline = time.monotonic() + 30.0
        while not watching.describe().busy and time.monotonic() < deadline:
            time.sleep(0.02)
        time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        said, _ = process.communicate(timeout=30.0)
        assert (process.returncode, said) == (0, "1\n")
        while watching.describe().busy and time.monotonic() < deadline + 10.0:
            time.sleep(0.02)
        assert not watching.describe().busy


def test_an_interpreter_ends_although_a_thread_still_waits_and_nothing_was_closed(serving):
    with serving(Patient()) as endpoint, open_device(endpoint) as watching:
        began = time.monotonic()
        command = [sys.executable, "-c", LEFT_BEHIND, endpoint]
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
        assert done.returncode == 0, done.stderr
        assert time.monotonic() - began < 20.0
        deadline = time.monotonic() + 30.0
        while watching.describe().busy and time.monotonic() < deadline:
            time.sleep(0.02)
        assert not watching.describe().busy  # it said goodbye, and its job was cancelled


@pytest.mark.usefixtures("collectable")
def test_a_session_of_a_server_that_is_gone_is_collected_in_a_moment(serving):
    with serving(Annealer()) as endpoint:
        device = open_device(endpoint)
    began = time.monotonic()
    del device
    gc.collect()
    assert time.monotonic() - began < 30.0
    assert os.getpid()
