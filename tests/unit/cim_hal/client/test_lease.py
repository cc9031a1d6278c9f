from __future__ import annotations

import gc
import pickle
import threading
import time

import pytest
from cim_machines import Annealer, Patient

from cim_hal import IsingModel, LocalTransport, ModelError, PumpSchedule, open_device
from cim_hal.client.options import ConnectionOptions
from cim_hal.errors import (
    ConflictError,
    EmergencyStopError,
    LeaseHeldError,
    LeaseLostError,
)
from cim_hal.protocol.jobs.state import JobState
from cim_hal.protocol.wire.limits import Limits

PAIR = IsingModel.from_couplings([[0, 1], [1, 0]])
LONG = PumpSchedule.constant(1.0, round_trips=60_000)


class Shared:
    """A transport that several sessions use; the last one to go closes it."""

    def __init__(self, driver, **limits) -> None:
        self._local = LocalTransport(driver, Limits(**limits))
        self.exchange, self.pipeline = self._local.exchange, self._local.pipeline
        self.subscribe = self._local.subscribe

    def close(self) -> None:
        pass

    def really_close(self) -> None:
        self._local.close()


@pytest.fixture
def lease_s() -> float:
    return 0.6


@pytest.fixture
def machine(lease_s):
    shared = Shared(Annealer(), lease_s=lease_s)
    yield shared
    shared.really_close()


@pytest.fixture
def slow_machine():
    shared = Shared(Patient())
    yield shared
    shared.really_close()


def _until(condition, timeout_s: float = 30.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_lock_keeps_others_out_and_is_given_back(machine):
    with open_device(machine) as mine, open_device(machine) as theirs:
        with mine.lock(note="aligning"):
            mine.sample(PAIR, seed=1)
            with pytest.raises(LeaseHeldError, match="aligning") as caught:
                theirs.sample(PAIR, seed=1)
            assert caught.value.details["note"] == "aligning"
            assert theirs.lock_info().holder == "local"
        theirs.sample(PAIR, seed=1)
        mine.sample(PAIR, seed=1)


@pytest.mark.parametrize("lease_s", [1.5])  # of which a renewal may be late by a second
def test_a_lock_is_renewed_while_it_is_held(machine):
    with open_device(machine) as mine, open_device(machine) as theirs, mine.lock() as lease:
        time.sleep(3.5)
        assert not lease.is_lost
        with pytest.raises(LeaseHeldError):
            theirs.lock()


@pytest.mark.usefixtures("collectable")
def test_a_lease_that_is_forgotten_runs_out(machine):
    with open_device(machine) as mine, open_device(machine) as theirs:
        lease = mine.lock()
        del lease
        gc.collect()
        with theirs.lock(wait_s=10.0):
            pass


def test_who_waits_for_a_lock_gets_it_when_it_is_given_back(machine):
    with open_device(machine) as mine, open_device(machine) as theirs:
        lease = mine.lock()
        got = []
        waiting = threading.Thread(target=lambda: got.append(theirs.lock(wait_s=20.0)))
        waiting.start()
        time.sleep(0.3)
        assert not got
        lease.release()
        waiting.join(timeout=20.0)
        assert got[0].epoch > lease.epoch


def test_a_broken_lock_is_noticed_and_of_no_use(machine):
    with open_device(machine) as mine, open_device(machine) as theirs:
        with mine.lock() as lease:
            theirs.break_lock(lease.epoch)
            with pytest.raises(LeaseLostError, match="the machine is free"):
                mine.sample(PAIR)
            _until(lambda: lease.is_lost)
        mine.sample(PAIR)  # and without a lock all is as ever


def test_a_lock_that_stands_serves_sessions_that_know_its_epoch(machine):
    with open_device(machine) as first:
        epoch = first.lock(for_s=60.0, stands=True).epoch
    with open_device(machine) as other, pytest.raises(LeaseHeldError):
        other.sample(PAIR)
    with open_device(machine, epoch=epoch) as mine:
        mine.sample(PAIR)
        assert mine.break_lock(epoch).epoch == 0


def test_a_session_that_travels_takes_its_epoch_along():
    options = pickle.loads(pickle.dumps(ConnectionOptions("tcp://127.0.0.1:5555", epoch=7)))
    assert options.epoch == 7


def test_releasing_twice_is_no_mistake(machine):
    with open_device(machine) as mine:
        lease = mine.lock()
        lease.release()
        lease.release()


@pytest.mark.parametrize(
    ("options", "sentence"),
    [({"for_s": 0.0}, "for_s = 0"), ({"note": "x" * 201}, "note = "), ({"for_s": 1e9}, "for_s")],
)
def test_a_lock_that_cannot_be_is_refused_in_the_words_of_the_caller(machine, options, sentence):
    with open_device(machine) as mine, pytest.raises(ModelError, match=sentence):
        mine.lock(**options)


def test_an_emergency_stop_ends_the_job_of_another_and_holds_the_queue(slow_machine):
    with open_device(slow_machine) as mine, open_device(slow_machine) as guard:
        job = mine.submit(PAIR, LONG)
        stopped = guard.estop("smoke")
        with pytest.raises(EmergencyStopError, match="local stopped the machine: smoke"):
            job.result(timeout_s=20.0)
        late = mine.submit(PAIR, PumpSchedule.constant(1.0, round_trips=1))
        assert late.state is JobState.QUEUED
        assert guard.safety().reason == "smoke"
        with pytest.raises(ConflictError):
            guard.reset(stopped.stop + 1)
        assert guard.reset(stopped.stop).stop == 0
        late.result(timeout_s=20.0)
