"""Many users on one machine: locks, fair turns and emergency stops, with sockets and processes."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress

import numpy as np
import pytest
from cim_machines import Annealer, Patient, Roomy

from cim_hal import IsingModel, PumpSchedule, TransportError, open_device, open_device_async
from cim_hal.errors import EmergencyStopError, LeaseHeldError, LeaseLostError
from cim_hal.protocol.jobs.state import JobState
from cim_hal.protocol.wire.limits import Limits
from cim_hal.server.storage.journal import DiskJournal

PAIR = IsingModel.from_couplings([[0, 1], [1, 0]])
LONG = PumpSchedule.constant(1.0, round_trips=60_000)
SHORT = PumpSchedule.constant(1.0, round_trips=1)


@pytest.fixture
def sleeper(tmp_path):
    """Starts a client in a process of its own that locks the machine."""
    started = []

    def start(endpoint: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "cim_sleeper", endpoint],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ,
        )
        started.append(process)
        assert process.stdout
        assert process.stdout.readline().startswith("locked")
        return process

    yield start
    for process in started:
        process.send_signal(signal.SIGCONT)
        process.kill()
        process.communicate()


def _say(process: subprocess.Popen[str]) -> str:
    assert process.stdin
    assert process.stdout
    process.stdin.write("\n")
    process.stdin.flush()
    return process.stdout.readline().strip()


@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="needs SIGSTOP")
@pytest.mark.parametrize(
    ("lease_s", "sleep_s"), [(0.6, 0.0), pytest.param(5.0, 20.0, marks=pytest.mark.slow)]
)
def test_a_client_that_was_stopped_cannot_use_the_machine_of_another(
    serving, sleeper, lease_s, sleep_s
):
    with serving(Annealer(), limits=Limits(lease_s=lease_s)) as endpoint:
        process = sleeper(endpoint)
        with open_device(endpoint) as device:
            with pytest.raises(LeaseHeldError, match="the sleeper"):
                device.sample(PAIR)
            process.send_signal(signal.SIGSTOP)
            stopped_at = time.monotonic()
            with device.lock(wait_s=30.0) as lease:
                device.sample(PAIR, seed=1)
                time.sleep(max(stopped_at + sleep_s - time.monotonic(), 0.0))
                process.send_signal(signal.SIGCONT)
                assert _say(process) == "session.lease_lost"
                device.sample(PAIR, seed=2)
                assert device.lock_info().epoch == lease.epoch


def test_a_client_that_was_killed_frees_the_machine_in_time(serving, sleeper):
    with serving(Annealer(), limits=Limits(lease_s=0.6)) as endpoint:
        process = sleeper(endpoint)
        process.kill()
        with open_device(endpoint) as device, device.lock(wait_s=30.0):
            device.sample(PAIR)


def test_a_client_that_lives_keeps_the_machine(serving, sleeper):
    with serving(Annealer(), limits=Limits(lease_s=1.5)) as endpoint:
        process = sleeper(endpoint)
        with open_device(endpoint) as device:
            time.sleep(3.5)  # more than two leases
            with pytest.raises(LeaseHeldError):
                device.lock()
        assert _say(process) == "sampled"


def test_epochs_grow_over_a_restart_of_the_server(serving):
    epochs = []
    for _ in range(2):
        with (
            serving(Annealer()) as endpoint,
            open_device(endpoint) as device,
            device.lock() as lease,
        ):
            epochs.append(lease.epoch)
    assert epochs[0] < epochs[1]


def _upload(endpoint: str, is_over: threading.Event) -> None:
    """Bring one model after another, 18 MB each."""
    rng = np.random.default_rng(1)
    with open_device(endpoint) as device:
        while not is_over.is_set():
            upper = np.triu(rng.normal(size=(1500, 1500)), k=1)
            with suppress(TransportError):  # late on a busy machine: it is there to be in the way
                device.load(IsingModel.from_couplings(upper + upper.T))


def test_an_emergency_stop_is_answered_in_the_midst_of_uploads_and_a_job(serving):
    with serving(Roomy()) as endpoint, open_device(endpoint) as busy:
        job = busy.submit(PAIR, LONG)
        is_over = threading.Event()
        uploading = threading.Thread(target=_upload, args=(endpoint, is_over))
        uploading.start()
        try:
            with open_device(endpoint) as guard:
                time.sleep(0.5)
                stopped = guard.estop("smoke")
                assert stopped.by == "anonymous"
                with pytest.raises(EmergencyStopError, match="smoke"):
                    job.result(timeout_s=20.0)
                late = busy.submit(PAIR, SHORT)
                time.sleep(0.3)
                assert late.state is JobState.QUEUED
                guard.reset(stopped.stop)
                late.result(timeout_s=20.0)
        finally:
            is_over.set()
            uploading.join()


def test_a_stopped_machine_stays_stopped_over_a_restart(serving, tmp_path):
    before, after = (lambda: serving(Patient(), journal=DiskJournal(tmp_path)) for _ in range(2))
    with before() as endpoint, open_device(endpoint) as device:
        epoch = device.lock().epoch
        stopped = device.estop("smoke")
    assert stopped.stop > epoch
    with after() as endpoint, open_device(endpoint) as device:
        assert device.safety().reason == "smoke"
        job = device.submit(PAIR, SHORT)
        time.sleep(0.3)
        assert job.state is JobState.QUEUED
        assert device.reset(stopped.stop).stop == 0
        job.result(timeout_s=20.0)
        assert device.lock().epoch > stopped.stop


def test_an_event_loop_locks_renews_and_gives_back(serving):
    async def work(endpoint: str) -> None:
        async with open_device_async(endpoint) as mine, open_device_async(endpoint) as theirs:
            async with mine.lock(note="aligning") as lease:
                await asyncio.sleep(3.5)  # more than two leases
                await mine.sample(PAIR)
                with pytest.raises(LeaseHeldError, match="aligning"):
                    await theirs.sample(PAIR)
                assert (await theirs.lock_info()).epoch == lease.epoch
            assert not lease.is_lost
            async with theirs.lock() as lease:
                await mine.break_lock(lease.epoch)
                with pytest.raises(LeaseLostError):
                    await theirs.sample(PAIR)
                while not lease.is_lost:
                    await asyncio.sleep(0.01)
            await theirs.sample(PAIR)
            stopped = await mine.estop("smoke")
            assert (await theirs.safety()).reason == "smoke"
            await mine.reset(stopped.stop)

    with serving(Annealer(), limits=Limits(lease_s=1.5)) as endpoint:
        asyncio.run(work(endpoint))


# ---- commands -------------------------------------------------------------------------------


def test_the_machine_is_locked_used_and_given_back_by_commands(serving, run, monkeypatch):
    with serving(Annealer()) as endpoint, open_device(endpoint) as device:
        status, out, _ = run("lock", endpoint, "--note", "lunch", "--for", "5m", "--json")
        state = json.loads(out)
        assert (status, state["note"], state["stands"]) == (0, "lunch", True)
        assert state["expires_in_s"] == pytest.approx(300.0, abs=60.0)
        with pytest.raises(LeaseHeldError, match="lunch"):
            device.sample(PAIR)
        status, _, err = run("lock", endpoint)
        assert status == 1
        assert err.startswith("error: anonymous has locked the machine (lunch), for ")
        assert (
            "you have locked the machine (lunch), for 5 min" in run("lock", endpoint, "--show")[1]
        )
        monkeypatch.setenv("CIM_HAL_EPOCH", str(state["epoch"]))
        with open_device(endpoint) as mine:
            mine.sample(PAIR)
        monkeypatch.delenv("CIM_HAL_EPOCH")
        assert run("unlock", endpoint) == (0, "the machine is free\n", "")
        device.sample(PAIR)


def test_the_machine_is_stopped_and_reset_by_commands(serving, run):
    with serving(Patient()) as endpoint, open_device(endpoint) as device:
        job = device.submit(PAIR, LONG)
        status, out, _ = run("estop", endpoint, "--reason", "smoke")
        assert (status, out) == (0, "anonymous stopped the machine 0 s ago: smoke\n")
        with pytest.raises(EmergencyStopError):
            job.result(timeout_s=20.0)
        state = json.loads(run("reset", endpoint, "--show", "--json")[1])
        assert (state["by"], state["reason"]) == ("anonymous", "smoke")
        status, out, _ = run("reset", endpoint)
        assert status == 0
        assert out.endswith("the machine is not stopped\n")
        device.sample(PAIR, SHORT)


def test_limits_of_a_server_are_set_by_its_command(cim_hal, tmp_path):
    file = tmp_path / "patient.toml"
    file.write_text(
        'driver = "cim_machines:Patient"\n[limits]\nuser_queue_length = 1\nlease_s = 5\n'
    )
    process = cim_hal("serve", str(file), "--limit", "slice_s=1")
    endpoint = process.stdout.readline().split()[-1]
    with open_device(endpoint) as device:
        limits = device.open()._client.welcome.limits
        assert (limits.user_queue_length, limits.lease_s, limits.slice_s) == (1, 5.0, 1.0)
    process.send_signal(signal.SIGTERM)


def test_a_limit_that_is_none_is_said(run):
    status, _, err = run("serve", "emulator", "--limit", "lease=5")
    assert (status, err.count("\n")) == (2, 1)
    assert "did you mean lease_s?" in err
