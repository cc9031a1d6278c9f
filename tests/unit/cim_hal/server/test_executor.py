from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from cim_machines import Adjustable, Annealer, Faulty, Laboratory, Patient

from cim_hal import (
    Capabilities,
    Driver,
    IsingModel,
    JobCancelledError,
    Program,
    PumpSchedule,
    Readout,
    StopToken,
    Telemetry,
    TraceRequest,
    lower,
)
from cim_hal.errors import CapabilityError, CimError, DriverFaultError
from cim_hal.protocol.couplings.content import Couplings, LoweredCouplings
from cim_hal.protocol.effects import Calibrate, Done, Lower, MakeSafe, Run, Stop
from cim_hal.protocol.wire.messages import CouplingRef
from cim_hal.protocol.wire.results import Result, unpack_spins
from cim_hal.server import executor as executor_module
from cim_hal.server.collector import ResultCollector
from cim_hal.server.driver.guard import EMERGENCY_S
from cim_hal.server.executor import Executor

if TYPE_CHECKING:
    from collections.abc import Iterator

MODEL = IsingModel.from_couplings([[0, 1], [1, 0]], [0.0, -1.0])


class Announced:
    """Counts announcements, and waits for one."""

    def __init__(self) -> None:
        self._heard = threading.Semaphore(0)

    def __call__(self) -> None:
        self._heard.release()

    def wait(self) -> None:
        assert self._heard.acquire(timeout=10.0)


@contextmanager
def _executing(driver: Driver) -> Iterator[tuple[Executor, Announced]]:
    announced = Announced()
    executor = Executor(driver, announced)
    try:
        yield executor, announced
    finally:
        executor.close()


def _program(capabilities: Capabilities, *, seed: int = 1, round_trips: int = 20) -> Program:
    schedule = PumpSchedule.linear(0.0, 2.0, round_trips=round_trips)
    return Program(lower(MODEL, capabilities), schedule, 3, seed)


def test_a_run_gives_spins_of_the_caller_and_not_of_the_machine():
    with _executing(Annealer()) as (executor, announced):
        program = _program(executor.capabilities)
        assert program.n_spins == 3
        executor.perform(Run("job", program))
        announced.wait()
        (done,) = executor.outcomes()
    outcome = done.result
    assert isinstance(done.effect, Run)
    assert isinstance(outcome, Result)
    assert outcome.n_spins == 2
    spins = unpack_spins(outcome.spins, 2)
    np.testing.assert_array_equal(np.sign(outcome.amplitudes), spins)
    assert outcome.device_s > 0


def test_a_trace_is_in_the_spins_of_the_caller_and_its_last_frame_is_the_readout():
    with _executing(Adjustable()) as (executor, announced):
        trace = TraceRequest(every=7, runs=2)
        program = replace(_program(executor.capabilities), trace=trace)
        executor.perform(Run("job", program))
        executor.perform(Run("another", replace(program, trace=None)))
        announced.wait()
        announced.wait()
        outcome, untraced = (done.result for done in executor.outcomes())
    assert program.n_spins == 3
    assert outcome.trace.amplitudes.shape == (3, 2, 2)
    assert outcome.trace.amplitudes.dtype == np.float32
    assert outcome.trace.round_trips.tolist() == [7, 14, 20]
    np.testing.assert_array_equal(outcome.trace.amplitudes[-1], outcome.amplitudes[:2])
    assert outcome.notes == {"width_mm": 1.0, "relocks": 3, "door": "open"}
    assert untraced.trace is None


@pytest.mark.parametrize(
    ("seed", "sentence"),
    [
        (0, "ZeroDivisionError: the laser is off"),
        (1, "shape"),
        (2, "finite"),
        (3, "-1 and"),
        (4, "NoneType, not Readout"),
        (5, "SystemExit"),
    ],
)
def test_whatever_a_driver_does_wrong_is_a_fault_and_the_next_run_works(seed, sentence):
    with _executing(Faulty()) as (executor, announced):
        for number in (seed, 99):
            executor.perform(Run(f"job {number}", _program(executor.capabilities, seed=number)))
            announced.wait()
        fault, good = (done.result for done in executor.outcomes())
    assert isinstance(fault, DriverFaultError)
    assert sentence in str(fault)
    assert isinstance(good, Result)


def test_a_stop_reaches_the_driver():
    with _executing(Patient()) as (executor, announced):
        executor.perform(Run("job", _program(executor.capabilities, round_trips=60_000)))
        executor.perform(Stop("job"))
        executor.perform(Stop("a job long gone"))
        announced.wait()
        (done,) = executor.outcomes()
    assert isinstance(done.result, JobCancelledError)


def test_closing_stops_the_running_job_and_closes_the_driver_exactly_once():
    driver = Annealer()
    with _executing(driver) as (executor, _):
        executor.perform(Run("job", _program(executor.capabilities, round_trips=100_000)))
        executor.close()
        assert driver.n_closed == 1
    assert driver.n_closed == 1
    executor.perform(Run("too late", _program(executor.capabilities)))
    assert [done.effect.job for done in executor.outcomes()] == ["job"]


def test_the_driver_is_touched_by_one_thread_only():
    threads = []

    class Watched(Annealer):
        def describe(self) -> Capabilities:
            threads.append(threading.current_thread())
            return super().describe()

        def run(self, program, stop) -> Readout:
            threads.append(threading.current_thread())
            return super().run(program, stop)

        def close(self) -> None:
            threads.append(threading.current_thread())

    with _executing(Watched()) as (executor, announced):
        for job in "ab":
            executor.perform(Run(job, _program(executor.capabilities)))
            announced.wait()
    assert len(threads) == 4
    assert len(set(threads)) == 1
    assert threads[0] is not threading.current_thread()


def test_a_driver_that_does_not_describe_itself_is_closed_and_refused():
    class Mute(Annealer):
        def describe(self):
            return {"name": "mute"}

    driver = Mute()
    with pytest.raises(DriverFaultError, match="returned a dict"):
        Executor(driver, lambda: None)
    assert driver.n_closed == 1


def test_a_driver_that_fails_to_close_does_no_harm(caplog):
    class Stuck(Annealer):
        def close(self) -> None:
            raise OSError("the door is stuck")

    with _executing(Stuck()):
        pass
    assert "the driver failed to close" in caplog.text


def test_couplings_are_prepared_while_the_machine_is_busy():
    payload = Couplings.of(MODEL).payload
    ref = CouplingRef(digest=payload.digest())
    with _executing(Patient()) as (executor, announced):
        executor.perform(Run("job", _program(executor.capabilities, round_trips=60_000)))
        executor.perform(Lower(ref, payload))
        executor.perform(Lower(ref.model_copy(update={"bits": 16}), payload))
        announced.wait()
        announced.wait()
        good, bad = (done.result for done in executor.outcomes())
    assert isinstance(good, LoweredCouplings)
    assert isinstance(bad, CapabilityError)


def test_telemetry_arrives_at_the_start_and_while_nothing_runs():
    with _executing(Laboratory()) as (executor, announced):
        announced.wait()
        announced.wait()
        first, second = list(executor.updates())[:2]
    assert isinstance(first, Telemetry)
    assert first["pump_power"].unit == "mW"
    assert second.taken_at > first.taken_at


def test_a_calibration_is_an_outcome():
    with _executing(Laboratory()) as (executor, announced):
        announced.wait()
        executor.perform(Calibrate("key"))
        announced.wait()
        (done,) = executor.outcomes()
    assert done.effect.key == "key"
    assert done.result.facts == {"gain": 3, "by": "hand"}


def test_in_an_emergency_what_runs_ends_and_the_machine_is_made_safe():
    driver = Laboratory()
    with _executing(driver) as (executor, announced):
        announced.wait()
        executor.perform(Run("job", _program(executor.capabilities, round_trips=1_000_000)))
        announced.wait()  # the driver reports from within the run
        executor.perform(MakeSafe())
        announced.wait()
        (done,) = executor.outcomes()
    assert isinstance(done.result, JobCancelledError)
    assert driver.calls[:5] == ["describe", "safe", "program", "run", "safe"]


def test_a_driver_that_heeds_no_token_is_made_safe_from_another_thread():
    made_safe = threading.Event()

    class Deaf(Laboratory):
        def run(self, program, stop) -> Readout:
            stop.report(self.status())
            made_safe.wait(60.0)
            return Readout(np.ones((program.n_runs, program.n_spins), dtype=np.int8))

        def safe(self) -> None:
            if threading.current_thread().name != "cim-hal driver":
                made_safe.set()

    with _executing(Deaf()) as (executor, announced):
        announced.wait()
        executor.perform(Run("job", _program(executor.capabilities)))
        announced.wait()
        executor.perform(MakeSafe())
        assert made_safe.wait(30.0)


def test_a_machine_that_cannot_be_made_safe_takes_one_thread_however_many_stops_come():
    class Stuck(Laboratory):
        hangs = threading.Event()

        def safe(self) -> None:
            self.hangs.wait(30.0)

    Stuck.hangs.set()
    with _executing(Stuck()) as (executor, announced):
        announced.wait()
        Stuck.hangs.clear()
        for _ in range(200):
            executor.perform(MakeSafe())
        time.sleep(2 * EMERGENCY_S)
        n_threads = [each.name for each in threading.enumerate()].count("cim-hal emergency")
        Stuck.hangs.set()
    assert n_threads == 1


def test_nonsense_of_a_driver_about_its_progress_is_a_fault_or_is_logged(caplog):
    class Lost(Patient):
        def run(self, program, stop) -> Readout:
            stop.progress(1, 2, "x" * 1000)
            return super().run(program, stop)

    with _executing(Lost()) as (executor, _):
        executor.perform(Run("job", _program(executor.capabilities, round_trips=60_000)))
        deadline = time.monotonic() + 30
        while "is no progress" not in caplog.text and time.monotonic() < deadline:
            assert list(executor.progress()) == []
        assert "is no progress of a driver" in caplog.text
    token = StopToken()
    token.progress(np.int64(3), np.uint8(9))
    assert token.last_progress == (3, 9, "round trips")
    with pytest.raises(DriverFaultError, match="done = 'half'"):
        token.progress("half", 9)


# ---- one operation, one outcome -------------------------------------------------------------

ERRORS = [MemoryError, OSError, KeyError, RecursionError, RuntimeWarning]


def _failing_once(error: type[Exception], function):
    """Return `function` with a first call that raises, and the list of what was raised."""
    raised: list[Exception] = []

    def call(*args, **options):
        if not raised:
            raised.append(error("once"))
            raise raised[0]
        return function(*args, **options)

    return call, raised


class Delivering(Laboratory):
    """Delivers its first run, and then the readout."""

    def run(self, program, stop) -> Readout:
        spins = np.ones((program.n_runs, program.n_spins), dtype=np.int8)
        stop.deliver(spins[:1])
        return Readout(spins)


def _outcome(executor: Executor, effect) -> Done:
    """Perform an operation; return its outcome, after a while in which no second one came."""
    executor.perform(effect)
    deadline, found = time.monotonic() + 30.0, []
    while not found and time.monotonic() < deadline:
        found += executor.outcomes()
        time.sleep(0.001)
    (done,) = found
    assert done.effect is effect
    return done


def _operation(kind: str, executor: Executor):
    payload = Couplings.of(MODEL).payload
    if kind == "lower":
        return Lower(CouplingRef(digest=payload.digest()), payload)
    return Calibrate("key") if kind == "calibrate" else Run("job", _program(executor.capabilities))


@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize(
    ("kind", "part", "name"),
    [
        ("run", "_guard", "run"),
        ("run", "_journal", "keep_result"),
        ("run", ResultCollector, "begin"),
        ("run", ResultCollector, "add"),
        ("run", ResultCollector, "complete"),
        ("run", "_driver", "program"),
        ("run", "_driver", "run"),
        ("calibrate", "_guard", "calibrate"),
        ("calibrate", "_driver", "calibrate"),
        ("lower", executor_module, "lower_encoded"),
        ("lower", "_journal", "keep_couplings"),
    ],
)
def test_any_exception_is_the_one_outcome_of_its_operation_and_the_next_works(
    monkeypatch, error, kind, part, name
):
    driver = Delivering()
    with _executing(driver) as (executor, _):
        target = {"_driver": driver}.get(part) or (
            getattr(executor, part) if isinstance(part, str) else part
        )
        failing, raised = _failing_once(error, getattr(target, name))
        monkeypatch.setattr(target, name, failing)
        failed = _outcome(executor, _operation(kind, executor))
        again = _outcome(executor, _operation(kind, executor))
        assert not executor._tokens
    assert len(raised) == 1
    assert isinstance(failed.result, CimError)
    assert error.__name__ in str(failed.result)
    assert not isinstance(again.result, Exception)


@pytest.mark.parametrize("error", ERRORS)
def test_couplings_that_the_journal_cannot_read_are_the_outcome(monkeypatch, error):
    with _executing(Annealer()) as (executor, _):
        content = Couplings.of(MODEL)
        failing, _ = _failing_once(error, lambda _: content)
        monkeypatch.setattr(executor._journal, "couplings", failing, raising=False)
        effect = Lower(CouplingRef(digest=content.payload.digest()), None)
        failed, again = _outcome(executor, effect), _outcome(executor, effect)
    assert error.__name__ in str(failed.result)
    assert isinstance(again.result, LoweredCouplings)


def test_a_failed_run_keeps_its_error_where_its_partial_results_cannot_be_kept(monkeypatch):
    class Smoking(Delivering):
        def run(self, program, stop) -> Readout:
            super().run(program, stop)
            raise DriverFaultError("smoke")

    with _executing(Smoking()) as (executor, announced):
        announced.wait()
        failing, raised = _failing_once(OSError, executor._journal.keep_result)
        monkeypatch.setattr(executor._journal, "keep_result", failing)
        done = _outcome(executor, Run("job", _program(executor.capabilities)))
        partial = [each for each in executor.updates() if isinstance(each, ResultCollector)]
    assert len(raised) == 1
    assert str(done.result) == "smoke"
    assert len(partial[-1].partial().spins) == 1


def test_operations_that_were_accepted_before_the_end_end_as_cancelled():
    with _executing(Patient()) as (executor, _):
        program = _program(executor.capabilities, round_trips=60_000)
        for job in "abc":
            executor.perform(Run(job, program))
        executor.perform(Calibrate("key"))
        executor.close()
        outcomes = list(executor.outcomes())
    assert len({id(done.effect) for done in outcomes}) == len(outcomes) == 4
    assert all(isinstance(done.result, JobCancelledError) for done in outcomes)
