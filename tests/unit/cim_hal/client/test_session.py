from __future__ import annotations

import gc

import numpy as np
import pytest
from cim_machines import Annealer, Exhaustive, Faulty, Patient
from counting import Counting, glass

from cim_hal import (
    CapabilityError,
    IsingModel,
    JobCancelledError,
    JobTimeoutError,
    LocalTransport,
    ModelError,
    PumpSchedule,
    TargetError,
    open_device,
)
from cim_hal.errors import ClosedError, DriverFaultError, QueueFullError
from cim_hal.protocol.couplings.content import Couplings
from cim_hal.protocol.jobs.state import JobState
from cim_hal.protocol.wire.limits import Limits

LONG = PumpSchedule.constant(1.0, round_trips=60_000)
PAIR = IsingModel.from_couplings([[0, 1], [1, 0]])


def test_the_ground_state_of_an_exact_machine_is_found_with_the_energies_of_the_caller():
    model = glass(8)
    states = np.array(np.meshgrid(*[[-1, 1]] * 8)).reshape(8, -1).T
    with open_device(Exhaustive()) as device:
        samples = device.sample(model, n_runs=3, seed=0)
    assert samples.best_energy == pytest.approx(model.energy(states).min(), abs=1e-12)
    np.testing.assert_array_equal(samples.energies, model.energy(samples.spins))
    assert samples.amplitudes is None


def test_the_record_says_what_ran():
    with open_device(Annealer()) as device:
        schedule = PumpSchedule.linear(0.0, 1.0, round_trips=7)
        samples = device.sample(glass(5), schedule, n_runs=2, seed=11, coupling_bits=4)
    record = samples.record
    assert (record.device, record.seed, record.round_trips) == ("annealer", 11, 7)
    assert record.coupling == Couplings.of(glass(5)).digest
    assert (record.lowering.bits, record.lowering.field_spin) == (4, True)
    assert samples.spins.shape == samples.amplitudes.shape == (2, 5)
    assert (np.diff(samples.energies) >= 0).all()


def test_a_seed_that_is_not_given_is_drawn_and_recorded_and_repeats_the_run():
    with open_device(Annealer()) as device:
        first, second = device.sample(glass(9), n_runs=4), device.sample(glass(9), n_runs=4)
        assert first.record.seed != second.record.seed
        again = device.sample(glass(9), n_runs=4, seed=first.record.seed)
    np.testing.assert_array_equal(again.amplitudes, first.amplitudes)


def test_a_gauge_flips_the_machine_and_not_the_answer():
    model = glass(8, field=False)
    with open_device(Exhaustive()) as device:
        plain = device.sample(model, seed=0)
        gauged = device.sample(model, seed=0, gauge_seed=5)
    assert gauged.record.lowering.gauge
    assert gauged.best_energy == pytest.approx(plain.best_energy)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"n_runs": 2.5}, "n_runs = 2.5"),
        ({"n_runs": -1}, "n_runs = -1 .it must be 1 or more"),
        ({"n_runs": 0}, "n_runs = 0 .it must be 1 or more"),
        ({"seed": 2**63}, "seed = 9223372036854775808"),
        ({"seed": "7"}, "seed = '7'"),
        ({"coupling_bits": 1.5}, "coupling_bits"),
        ({"gauge_seed": -1}, "gauge_seed = -1"),
        ({"priority": 10}, "priority = 10"),
    ],
)
def test_values_wrong_for_any_machine_are_named_in_the_words_of_the_caller(options, sentence):
    with open_device(Annealer()) as device, pytest.raises(ModelError, match=sentence):
        device.sample(PAIR, **options)


@pytest.mark.parametrize(
    ("options", "what"),
    [({"n_runs": 10**6}, "max_runs"), ({"coupling_bits": 9}, "bits")],
)
def test_values_beyond_this_machine_are_capability_errors(options, what):
    with open_device(Annealer()) as device, pytest.raises(CapabilityError, match=what):
        device.sample(PAIR, **options)


def test_numpy_integers_are_integers():
    with open_device(Annealer()) as device:
        samples = device.sample(PAIR, n_runs=np.int64(2), seed=np.uint8(3))
    assert len(samples) == 2


# ---- jobs -----------------------------------------------------------------------------------


def test_a_job_can_be_waited_for_in_pieces_and_cancelled():
    with open_device(Patient()) as device:
        job = device.submit(PAIR, LONG)
        with pytest.raises(JobTimeoutError, match="still running"):
            job.result(timeout_s=0.05)
        assert job.state is JobState.RUNNING
        assert job.cancel() is JobState.STOPPING
        with pytest.raises(JobCancelledError):
            job.result(timeout_s=5.0)
        assert job.state is JobState.CANCELLED


def test_a_result_is_fetched_once_and_kept():
    transport = Counting(Annealer())
    with open_device(transport) as device:
        job = device.submit(PAIR, seed=0)
        first, asked = job.result(), len(transport.seen)
        assert job.result() is first
        assert len(transport.seen) == asked
        assert job.cancel() is JobState.DONE
    assert "job.result" not in transport.seen  # the rows came with the answer to the wait


def test_jobs_queue_and_a_full_queue_refuses():
    with open_device(LocalTransport(Patient(), Limits(queue_length=1))) as device:
        running, queued = device.submit(PAIR, LONG), device.submit(PAIR, LONG)
        with pytest.raises(QueueFullError):
            device.submit(PAIR, LONG, timeout_s=0.3)
        assert queued.cancel() is JobState.CANCELLED
        assert running.state is JobState.RUNNING


def test_a_driver_that_fails_says_why():
    with open_device(Faulty()) as device:
        with pytest.raises(DriverFaultError, match="the laser is off"):
            device.sample(PAIR, seed=0)
        assert len(device.sample(PAIR, seed=99)) == 1


def test_an_interrupt_cancels_the_job():
    class Interrupted(Counting):
        def exchange(self, request, *, timeout_s):
            if request.body.t == "job.wait" and "job.wait" not in self.seen:
                self.seen.append("job.wait")
                raise KeyboardInterrupt
            return super().exchange(request, timeout_s=timeout_s)

    transport = Interrupted(Patient())
    with open_device(transport) as device:
        job = device.submit(PAIR, LONG)
        with pytest.raises(KeyboardInterrupt):
            job.result()
        with pytest.raises(JobCancelledError):
            job.result()


# ---- opening and closing --------------------------------------------------------------------


def test_closing_ends_the_running_job_and_closes_the_driver_once():
    driver = Annealer()
    with open_device(driver) as device:
        device.submit(glass(50), PumpSchedule.constant(1.0, round_trips=100_000))
        device.close()
    assert driver.n_closed == 1
    with pytest.raises(ClosedError, match="closed"):
        device.sample(PAIR)


@pytest.mark.usefixtures("collectable")
def test_a_session_that_is_forgotten_closes_its_driver():
    driver = Annealer()
    device = open_device(driver)
    del device
    gc.collect()
    assert driver.n_closed == 1


@pytest.mark.parametrize("target", ["no such device", "os:getcwd", "nowhere:make", 5, None])
def test_what_is_no_device_is_refused(target):
    with pytest.raises(TargetError):
        open_device(target)


def test_a_name_of_the_form_module_and_factory_is_a_device():
    with open_device("cim_machines:Exhaustive") as device:
        assert device.capabilities.name == "exhaustive"


def test_the_record_tells_the_schedule_that_was_run():
    with open_device(Annealer()) as device:
        asked = device.sample(PAIR, PumpSchedule((0.5, 1.0, 2.0), 7), seed=1).record
        recommended = device.sample(PAIR, seed=1).record
    assert (asked.pump, asked.round_trips) == ((0.5, 1.0, 2.0), 7)
    assert (recommended.pump, recommended.round_trips) == (Annealer().describe().default_pump, 20)


def test_a_user_says_which_job_goes_first():
    first = PumpSchedule.constant(1.0, round_trips=200)
    with open_device(Patient()) as device:
        device.submit(PAIR, first, seed=1)
        late = device.submit(PAIR, LONG, seed=2)
        soon = device.submit(PAIR, first, seed=3, priority=2)
        soon.result(timeout_s=20.0)
        assert late.state in (JobState.QUEUED, JobState.RUNNING)
