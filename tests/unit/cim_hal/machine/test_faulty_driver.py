"""What each fault does to a driver, and that nothing happens without one."""

from __future__ import annotations

import logging
import threading
import time
from contextlib import suppress
from dataclasses import replace

import numpy as np
import pytest
from cim_machines import Annealer, Exhaustive
from delivering_machines import Delivering
from hypothesis import given, settings
from hypothesis import strategies as st

from cim_hal import (
    Driver,
    IsingModel,
    JobCancelledError,
    Program,
    PumpSchedule,
    Readout,
    StopToken,
    TargetError,
    lower,
)
from cim_hal.errors import DriverFaultError, LockLostError
from cim_hal.machine.faulty_driver import Fault, FaultScript, FaultyDriver

MODEL = IsingModel.from_couplings([[0, 1, -2], [1, 0, 3], [-2, 3, 0]])
ROUND_TRIPS = 20
AT_ONCE = ("lost_lock", "exception", "wrong_shape", "wrong_dtype", "nan")


class Noting(Driver):
    """Passes everything to an annealer, and notes the schedules it was given."""

    def __init__(self) -> None:
        self.inner = Annealer()
        self.schedules: list[PumpSchedule] = []

    def describe(self):
        return self.inner.describe()

    def run(self, program: Program, stop: StopToken) -> Readout:
        self.schedules.append(program.schedule)
        return self.inner.run(program, stop)


def program(driver: Driver, *, seed: int = 1, pump: PumpSchedule | None = None) -> Program:
    pump = pump or PumpSchedule.through([0.0, 1.5, 0.5], round_trips=ROUND_TRIPS)
    return Program(lower(MODEL, driver.describe()), pump, n_runs=4, seed=seed)


def faulty(driver: Driver, *faults: Fault, **options) -> FaultyDriver:
    return FaultyDriver(driver, FaultScript(faults=faults), **options)


def fault(kind: str, **options) -> Fault:
    return Fault(kind=kind, jobs=(1,), **options)


def run(driver: Driver, stop: StopToken | None = None) -> Readout:
    return driver.run(program(driver), stop or StopToken())


# ---- where nothing strikes ------------------------------------------------------------------


@settings(max_examples=25)
@given(
    kind=st.sampled_from(AT_ONCE),
    every=st.integers(1, 5),
    seed=st.integers(0, 2**63 - 1),
)
def test_a_job_without_a_fault_is_the_wrapped_drivers_to_the_bit(kind, every, seed):
    plain, driver = Annealer(), faulty(Annealer(), Fault(kind=kind, every=every))
    for job in range(1, 7):
        work = program(plain, seed=(seed + job) % 2**63)
        expected = plain.run(work, StopToken()).values
        if job % every:
            np.testing.assert_array_equal(driver.run(work, StopToken()).values, expected)
        else:
            with pytest.raises((LockLostError, RuntimeError, DriverFaultError)):
                driver.run(work, StopToken()).check(work)


def test_every_public_method_of_a_driver_reaches_the_wrapped_one():
    methods = {name for name in vars(Driver) if not name.startswith("_")}
    assert methods <= set(vars(FaultyDriver))
    inner = Annealer()
    faulty(inner, fault("nan")).close()
    assert inner.n_closed == 1


def test_the_description_says_that_faults_are_injected():
    plain, driver = Annealer().describe(), faulty(Annealer(), fault("nan"))
    told = driver.describe()
    assert told.description == "FAULTS ARE INJECTED (nan; seed 0)."
    assert told.model_copy(update={"description": plain.description}) == plain


def test_a_description_that_becomes_too_long_is_cut():
    class Talkative(Annealer):
        def describe(self):
            return super().describe().model_copy(update={"description": "x" * 1000})

    told = faulty(Talkative(), fault("nan")).describe()
    assert len(told.description) == 1000
    assert type(told).model_validate(told.model_dump()) == told


# ---- faults that end a run ------------------------------------------------------------------


@pytest.mark.parametrize(("at", "done"), [(0.0, 0), (0.01, 1), (0.5, 10), (1.0, 20), (None, 20)])
def test_lost_lock_strikes_after_its_share_of_the_round_trips(at, done):
    inner = Noting()
    driver = faulty(inner, fault("lost_lock", at=at))
    with pytest.raises(LockLostError, match="injected: the cavity lost lock") as caught:
        run(driver)
    assert caught.value.retryable
    assert caught.value.details["at_round_trip"] == done
    assert [schedule.round_trips for schedule in inner.schedules] == [done] * (done > 0)
    run(driver)


def test_an_exception_is_one_that_no_driver_should_raise():
    with pytest.raises(RuntimeError, match="injected: the driver raised at round trip 10"):
        run(faulty(Annealer(), fault("exception", at=0.5)))


def test_a_run_that_is_cancelled_before_the_fault_is_cancelled():
    stop = StopToken()
    stop.set()
    with pytest.raises(JobCancelledError, match="between two round trips"):
        run(faulty(Annealer(), fault("lost_lock", at=0.5)), stop)


def test_a_crash_must_be_allowed():
    with pytest.raises(TargetError, match="may_crash=True"):
        faulty(Annealer(), fault("crash"))
    faulty(Annealer(), fault("crash"), may_crash=True)


def test_a_driver_that_does_not_describe_itself_raises():
    with pytest.raises(RuntimeError, match="does not describe itself"):
        faulty(Annealer(), Fault(kind="no_description")).describe()


# ---- readouts -------------------------------------------------------------------------------


@pytest.mark.parametrize("machine", [Annealer, Exhaustive])
@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("wrong_shape", r"shape \(4, 2\)"),
        ("wrong_dtype", "not an array of real"),
        ("nan", "not finite"),
    ],
)
def test_a_damaged_readout_is_refused_for_the_damage_that_was_asked_for(machine, kind, says):
    driver = faulty(machine(), fault(kind))
    with pytest.raises(DriverFaultError, match=says):
        run(driver).check(program(driver))


def test_a_nan_is_one_value_and_the_others_are_right():
    expected = run(Annealer()).values
    damaged = run(faulty(Annealer(), fault("nan"))).values
    assert np.argwhere(np.isnan(damaged)).tolist() == [[3, 2]]
    np.testing.assert_array_equal(damaged.ravel()[:-1], expected.ravel()[:-1])


@pytest.mark.parametrize("round_trips", [7, 20, 900])
def test_a_run_cut_short_is_the_run_with_the_head_of_the_schedule(round_trips):
    plain, driver = Annealer(), faulty(Annealer(), fault("cut_short", at=0.5))
    pump = PumpSchedule.through([0.0, 1.5, 0.5], round_trips=round_trips)
    done = -(-round_trips // 2)
    head = PumpSchedule.through(pump.sample()[:done], round_trips=done)
    whole = program(plain, pump=pump)
    readout = driver.run(whole, StopToken())
    readout.check(whole)
    expected = plain.run(replace(whole, schedule=head), StopToken())
    np.testing.assert_array_equal(readout.values, expected.values)


def test_the_head_of_a_long_schedule_follows_it():
    inner = Noting()
    pump = PumpSchedule.through([0.0, 2.0, 0.0], round_trips=5000)
    driver = faulty(inner, fault("lost_lock", at=0.8))
    with pytest.raises(LockLostError):
        driver.run(program(driver, pump=pump), StopToken())
    # 1024 knots on 4000 round trips: off by at most a quarter of the corner's change of slope
    slope, spacing = 2.0 / 2499.5, 3999 / 1023
    np.testing.assert_allclose(
        inner.schedules[0].sample(), pump.sample()[:4000], atol=2 * slope * spacing / 4
    )


# ---- waits ----------------------------------------------------------------------------------


def _stopped_after(driver: Driver, seconds: float) -> tuple[object, float]:
    stop = StopToken()
    timer = threading.Timer(seconds, stop.set)
    timer.start()
    started = time.monotonic()
    try:
        outcome = run(driver, stop)
    except JobCancelledError as error:
        outcome = error
    timer.join()
    return outcome, time.monotonic() - started


def test_a_hang_does_not_look_at_stop_and_then_answers_right():
    readout, took_s = _stopped_after(faulty(Annealer(), fault("hang", seconds=0.4)), 0.1)
    assert took_s >= 0.4
    np.testing.assert_array_equal(readout.values, run(Annealer()).values)


def test_a_slow_answer_heeds_stop():
    outcome, took_s = _stopped_after(faulty(Annealer(), fault("slow", seconds=30.0)), 0.1)
    assert isinstance(outcome, JobCancelledError)
    assert took_s < 10.0


def test_a_slow_answer_is_late_and_right():
    started = time.monotonic()
    readout = run(faulty(Annealer(), fault("slow", seconds=0.3)))
    assert time.monotonic() - started >= 0.3
    np.testing.assert_array_equal(readout.values, run(Annealer()).values)


# ---- the log --------------------------------------------------------------------------------


def test_each_strike_is_in_the_log_with_its_job_and_kind(caplog):
    driver = faulty(Annealer(), Fault(kind="nan", every=2), Fault(kind="wrong_shape", jobs=(3,)))
    with caplog.at_level(logging.WARNING, logger="cim_hal.faults"):
        for _ in range(4):
            run(driver)
    assert caplog.messages == ["job 2: nan", "job 3: wrong_shape", "job 4: nan"]
    assert {record.name for record in caplog.records} == {"cim_hal.faults"}


def test_runs_of_a_job_that_was_cut_short_are_not_delivered():
    parts: list[np.ndarray] = []
    for kind, options, n_delivered in (
        ("lost_lock", {"at": 0.5}, 0),
        ("slow", {"seconds": 0.01}, 4),
    ):
        driver = faulty(Delivering(), fault(kind, **options))
        stop = StopToken(take=parts.append)
        with suppress(LockLostError):
            driver.run(program(driver), stop)
        assert sum(map(len, parts)) == n_delivered
        assert stop.last_progress == (4, 4, "runs")
