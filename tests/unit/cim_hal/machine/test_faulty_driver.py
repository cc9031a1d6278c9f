"""What each fault does to a driver, when it strikes, and what a script may say."""

from __future__ import annotations

import logging
import math
import threading
import time
from contextlib import suppress
from dataclasses import replace
from typing import get_args

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
from cim_hal.machine.faulty_driver import (
    ACCEPTED_BY,
    MAX_FILE_BYTES,
    NEEDED_BY,
    Fault,
    FaultScript,
    FaultyDriver,
    Kind,
)
from cim_hal.machine.wrapped_driver import WrappedDriver

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
    assert methods <= set(vars(FaultyDriver)) | set(vars(WrappedDriver))  # none is Driver's own
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


EXAMPLE = """
seed = 7

[[fault]]
kind = "lost_lock"
jobs = [3, 7]
at = 0.5

[[fault]]
kind = "slow"
every = 5
seconds = 30

[[fault]]
kind = "nan"
probability = 0.02
"""
JOBS = range(1, 61)


@pytest.fixture
def write(tmp_path):
    def write(content: str | bytes):
        path = tmp_path / "faults.toml"
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return write


def struck(script: FaultScript, jobs=JOBS) -> set[int]:
    return {job for job in jobs if script.fault_in(job)}


def drawn(probability: float, seed: int, jobs=JOBS) -> set[int]:
    fault = Fault(kind="nan", probability=probability)
    return struck(FaultScript(seed=seed, faults=(fault,)), jobs)


certain = st.one_of(
    st.builds(lambda jobs: {"jobs": tuple(jobs)}, st.lists(st.integers(1, 70), min_size=1)),
    st.builds(lambda every: {"every": every}, st.integers(1, 70)),
)
faults = st.builds(
    lambda kind, when: Fault(kind=kind, **when),
    st.sampled_from(["lost_lock", "hang", "nan"]),
    certain,
)


def test_a_script_is_what_its_file_says(write):
    script = FaultScript.read(write(EXAMPLE))
    assert script == FaultScript(
        seed=7,
        faults=(
            Fault(kind="lost_lock", jobs=(3, 7), at=0.5),
            Fault(kind="slow", every=5, seconds=30.0),
            Fault(kind="nan", probability=0.02),
        ),
    )
    assert script.summary == "lost_lock, slow, nan; seed 7"


@given(script=st.lists(faults, min_size=1, max_size=4).map(tuple))
def test_a_script_strikes_the_jobs_it_names_and_no_other(script):
    for job in JOBS:
        named = [
            fault
            for fault in script
            if (fault.jobs and job in fault.jobs) or (fault.every and job % fault.every == 0)
        ]
        assert FaultScript(faults=script).fault_in(job) is (named[0] if named else None)


@given(
    probability=st.floats(0.0, 1.0, exclude_min=True),
    less=st.floats(0.01, 1.0),
    seed=st.integers(0, 2**63 - 1),
)
def test_chance_is_a_function_of_the_seed_and_grows_with_the_probability(probability, less, seed):
    jobs = drawn(probability, seed)
    assert jobs == drawn(probability, seed)
    if probability * less > 0:
        assert drawn(probability * less, seed) <= jobs


def test_the_draws_of_a_seed_never_change():
    assert drawn(0.1, 7) == {18, 23, 40, 47, 54, 58}
    assert drawn(0.1, 8) != drawn(0.1, 7)


@pytest.mark.parametrize("probability", [0.02, 0.5])
def test_a_fault_strikes_as_often_as_its_probability_says(probability):
    n = 20_000
    count = len(drawn(probability, seed=3, jobs=range(1, n + 1)))
    assert abs(count - n * probability) < 4 * math.sqrt(n * probability * (1 - probability))


def test_a_certain_fault_strikes_every_job():
    assert drawn(1.0, seed=0) == set(JOBS)


def test_two_faults_of_one_script_strike_independently():
    half = Fault(kind="nan", probability=0.5)
    n = 4000
    second = FaultScript(seed=3, faults=(Fault(kind="hang", jobs=(n + 1,)), half))
    both = drawn(0.5, seed=3, jobs=range(1, n + 1)) & struck(second, range(1, n + 1))
    assert abs(len(both) - n / 4) < 4 * math.sqrt(n * 3 / 16)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "fault: it is missing"),
        ("sed = 1\n" + EXAMPLE, "no key 'sed'; did you mean seed"),
        (EXAMPLE.replace("seed = 7", "seed = -7"), "seed.*: .*greater than or equal to 0"),
        (EXAMPLE.replace("seed = 7", "seed = 7.5"), "seed.*: .*whole number"),
        (
            EXAMPLE.replace("[[fault]]", "[fault]", 1).partition("[[")[0],
            "fault: it should be a list",
        ),
        (EXAMPLE.replace("[[fault]]", "[[fault]", 1), r"not TOML: .* \(at line 4"),
        (
            EXAMPLE.replace("lost_lock", "lost_look"),
            r"\[\[fault\]\] number 1: kind.*: .*'lost_lock'",
        ),
        (
            EXAMPLE.replace("[3, 7]", "[3, 0]"),
            r"number 1: jobs\[1\].*: .*greater than or equal to 1",
        ),
        (EXAMPLE.replace("[3, 7]", '["3"]'), r"number 1: jobs\[0\].*: .*whole number"),
        (EXAMPLE.replace("[3, 7]", "[]"), "number 1: jobs.*: .*at least 1"),
        (EXAMPLE.replace("[3, 7]", "3"), "number 1: jobs.*: .*a list"),
        (EXAMPLE.replace("0.5", "1.5"), "number 1: at.*: .*less than or equal to 1"),
        (
            EXAMPLE.replace("every = 5", "evry = 5"),
            "number 2: there is no key 'evry'; did you mean every",
        ),
        (EXAMPLE.replace("every = 5", ""), "number 2: slow needs exactly one of jobs, every and"),
        (EXAMPLE.replace("every = 5", "every = 5\njobs = [1]"), "not jobs and every"),
        (EXAMPLE.replace("every = 5", "every = true"), "number 2: every.*: .*whole number"),
        (EXAMPLE.replace("seconds = 30", ""), "number 2: slow needs seconds"),
        (EXAMPLE.replace("30", "inf"), "number 2: seconds.*: .*finite"),
        (EXAMPLE.replace("0.02", "0.0"), "number 3: probability.*: .*greater than 0"),
        (EXAMPLE + "at = 0.1", "number 3: nan takes no at"),
        ('[[fault]]\nkind = "cut_short"\njobs = [1]', "number 1: cut_short needs at"),
        ('[[fault]]\nkind = "no_description"\njobs = [1]', "it takes no jobs"),
        ("a = " + "[" * 20_000, "not TOML"),
        (b"\xff\xfe", "not TOML: .*utf-8"),
        ("#" * (MAX_FILE_BYTES + 1), "too large .*65536"),
    ],
)
def test_a_wrong_script_is_an_error_that_says_where_and_what_would_be_right(write, content, says):
    path = write(content)
    with pytest.raises(TargetError, match=says) as caught:
        FaultScript.read(path)
    assert str(path) in str(caught.value)


def test_what_is_not_a_file_is_an_error(tmp_path):
    with pytest.raises(TargetError, match="No such file"):
        FaultScript.read(tmp_path / "absent.toml")
    with pytest.raises(TargetError, match="is not a file"):
        FaultScript.read(tmp_path)


@pytest.mark.parametrize("kind", get_args(Kind))
@pytest.mark.parametrize("name", ["at", "seconds"])
def test_a_kind_takes_what_the_table_says(kind, name):
    options = {} if kind == "no_description" else {"jobs": (1,)}
    options |= {needed: 0.5 for needed, by in NEEDED_BY.items() if by == kind}
    if kind in ACCEPTED_BY[name]:
        assert getattr(Fault(kind=kind, **options | {name: 0.5}), name) == 0.5
    else:
        with pytest.raises(ValueError, match=f"{kind} takes no {name}"):
            Fault(kind=kind, **options | {name: 0.5})
