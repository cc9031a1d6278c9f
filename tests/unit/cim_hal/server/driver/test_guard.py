"""A driver is called as its contract says."""

from __future__ import annotations

import threading
import time

import pytest
from cim_machines import Annealer, Faulty, Laboratory

from cim_hal import IsingModel, Program, PumpSchedule, StopToken, Telemetry, lower
from cim_hal.errors import (
    CapabilityError,
    DriverFaultError,
    InterlockError,
    UnavailableError,
)
from cim_hal.machine.faulty_driver import Fault, FaultScript, FaultyDriver
from cim_hal.machine.telemetry import DriverState
from cim_hal.server.driver.calls import Backoff, RebuildableDriver
from cim_hal.server.driver.guard import DriverGuard

PAIR = IsingModel.from_couplings([[0, 1], [1, 0]])


def _program(driver, lowering=None, *, seed: int = 9) -> Program:
    schedule = PumpSchedule.linear(0.0, 2.0, round_trips=3)
    return Program(lowering or lower(PAIR, driver.describe()), schedule, 2, seed)


@pytest.fixture
def laboratory() -> Laboratory:
    return Laboratory()


@pytest.fixture
def told() -> list[Telemetry]:
    return []


@pytest.fixture
def guard(laboratory, told) -> DriverGuard:
    return DriverGuard(laboratory, told.append)


def test_couplings_are_programmed_once_and_sampled_many_times(guard, laboratory):
    first, second = (lower(PAIR, laboratory.describe()) for _ in range(2))
    laboratory.calls.clear()
    for lowering in (first, first, first, second, second, first):
        guard.run(_program(laboratory, lowering), StopToken())
    runs = ["run", "run", "run"], ["run", "run"], ["run"]
    assert laboratory.calls == [call for part in runs for call in ("program", *part)]


def test_a_run_that_does_not_end_well_makes_safe_and_the_next_programs_again(guard, laboratory):
    program = _program(laboratory)
    guard.run(program, StopToken())
    laboratory.calls.clear()
    stop = StopToken()
    stop.set()
    with pytest.raises(Exception, match="stopped"):
        guard.run(program, stop)
    guard.run(program, StopToken())
    assert laboratory.calls == ["run", "safe", "program", "run"]


def test_the_machine_is_made_safe_at_the_start_and_before_it_is_let_go_of(guard, laboratory):
    guard.describe()
    guard.close()
    assert laboratory.calls == ["describe", "safe", "safe", "close"]


def test_an_open_interlock_refuses_a_run_before_the_driver_sees_it(guard, laboratory):
    program = _program(laboratory)
    laboratory.lid = False
    laboratory.calls.clear()
    with pytest.raises(InterlockError, match="lid"):
        guard.run(program, StopToken())
    assert laboratory.calls == []


def test_what_the_driver_reports_in_a_run_is_told_and_counts(guard, laboratory, told):
    guard.poll_status()
    stop = StopToken(guard.on_telemetry)
    laboratory.lid = False  # it opens after the last look, and the run reports it
    with pytest.raises(InterlockError, match="opened"):
        guard.run(_program(laboratory), stop)
    assert stop.is_set()
    assert [telemetry["runs"].value for telemetry in told] == [0, 1]
    with pytest.raises(InterlockError):
        guard.calibrate(StopToken())


def test_a_driver_without_telemetry_is_asked_once(told):
    asked = []

    class Silent(Annealer):
        def status(self) -> Telemetry:
            asked.append(1)
            return super().status()

    guard = DriverGuard(Silent(), told.append)
    for _ in range(3):
        guard.poll_status()
    assert (len(asked), told) == (1, [])


def test_a_driver_that_cannot_calibrate_says_so():
    with pytest.raises(CapabilityError, match="calibration"):
        DriverGuard(Annealer(), lambda _: None).calibrate(StopToken())


@pytest.mark.parametrize("method", ["status", "calibrate", "program"])
def test_a_method_that_raises_is_a_fault_that_names_it(laboratory, told, method):
    def broken(*_):
        raise OSError("the cable is out")

    program = _program(laboratory)
    setattr(laboratory, method, broken)
    guard = DriverGuard(laboratory, told.append)
    call = guard.calibrate if method == "calibrate" else lambda stop: guard.run(program, stop)
    with pytest.raises(DriverFaultError, match=f"failed in {method}: OSError: the cable is out"):
        call(StopToken())
    assert laboratory.calls[-1] == "safe"


@pytest.mark.parametrize("method", ["status", "calibrate"])
def test_a_method_that_returns_something_else_is_a_fault(laboratory, told, method):
    setattr(laboratory, method, lambda *_: {"valid_s": 3.0})
    guard = DriverGuard(laboratory, told.append)
    call = guard.calibrate if method == "calibrate" else guard.run
    arguments = (StopToken(),) if method == "calibrate" else (_program(laboratory), StopToken())
    with pytest.raises(DriverFaultError, match="returned a dict"):
        call(*arguments)


def test_a_driver_that_fails_to_make_safe_is_logged_and_closed(laboratory, told, caplog):
    def stuck() -> None:
        raise OSError("the relay is stuck")

    laboratory.safe = stuck
    DriverGuard(laboratory, told.append).close()
    assert laboratory.calls == ["close"]
    assert "failed to make the machine safe" in caplog.text


def test_a_wrong_readout_is_a_fault():
    driver = Faulty()
    with pytest.raises(DriverFaultError, match="shape"):
        DriverGuard(driver, lambda _: None).run(_program(driver, seed=1), StopToken())


# ---- interlocks that open in a call ---------------------------------------------------------


class Opening(Laboratory):
    """The lid opens in the midst of a call, which reports it or not, and heeds the stop or not."""

    reports, heeds = True, True

    def run(self, program, stop):
        self.calls.append("run")
        self._open(stop)
        return Annealer.run(self, program, StopToken() if not self.heeds else stop)

    def calibrate(self, stop):
        self._open(stop)
        return super().calibrate(stop)

    def _open(self, stop) -> None:
        self.lid = False
        if self.reports:
            stop.report(self.status())


@pytest.mark.parametrize("reports", [True, False])
@pytest.mark.parametrize("heeds", [True, False])
@pytest.mark.parametrize("what", ["run", "calibrate"])
def test_an_interlock_that_opens_in_a_call_ends_it_and_the_machine_is_safe(what, heeds, reports):
    driver = Opening()
    driver.heeds, driver.reports = heeds, reports
    guard = DriverGuard(driver, lambda _: None)
    guard.poll_status()
    stop, kept = StopToken(guard.on_telemetry), []
    program = _program(driver)
    driver.calls.clear()
    with pytest.raises(InterlockError, match="opened, and what ran was stopped: lid"):
        guard.run(program, stop, kept.append) if what == "run" else guard.calibrate(stop)
    assert stop.is_set()
    assert driver.calls[-1] == "safe"
    assert len(kept) == (what == "run" and not (heeds and reports))
    driver.calls.clear()
    with pytest.raises(InterlockError, match="may not run"):
        guard.run(program, StopToken())
    assert driver.calls == []


def test_a_run_that_does_not_heed_an_interlock_is_made_safe_from_beside_it():
    is_safe = threading.Event()

    class Deaf(Opening):
        def safe(self) -> None:
            super().safe()
            is_safe.set()

        def run(self, program, stop):
            is_safe.clear()
            self._open(stop)
            assert is_safe.wait(20)
            return Annealer.run(self, program, StopToken())

    driver = Deaf()
    guard = DriverGuard(driver, lambda _: None)
    guard.poll_status()
    with pytest.raises(InterlockError):
        guard.run(_program(driver), StopToken(guard.on_telemetry))


def test_an_interlock_that_opens_between_calls_makes_safe_once(guard, laboratory):
    guard.poll_status()
    laboratory.lid = False
    laboratory.calls.clear()
    for _ in range(3):
        guard.poll_status()
    assert laboratory.calls == ["safe"]


# ---- health ---------------------------------------------------------------------------------


class Fragile(Laboratory):
    """Its methods raise what `raises` has under their names."""

    def __init__(self) -> None:
        super().__init__()
        self.raises: dict[str, BaseException] = {}

    def status(self):
        self._perhaps("status")
        return super().status()

    def run(self, program, stop):
        self._perhaps("run")
        return super().run(program, stop)

    def safe(self) -> None:
        self._perhaps("safe")
        super().safe()

    def _perhaps(self, where: str) -> None:
        if where in self.raises:
            raise self.raises[where]


@pytest.fixture
def states() -> list[DriverState]:
    return []


@pytest.fixture
def fragile() -> Fragile:
    return Fragile()


@pytest.fixture
def watched(fragile, states) -> DriverGuard:
    """A guard of a fragile driver whose states are written down, and which is soon tried again."""

    def publish(update: object) -> None:
        if isinstance(update, DriverState):
            states.append(update)

    guard = DriverGuard(fragile, publish, Backoff(0.001, 0.001))
    guard.describe()
    guard.start()
    return guard


def _poll(guard: DriverGuard) -> None:
    time.sleep(0.005)
    guard.poll_status()


@pytest.mark.parametrize("where", ["status", "safe"])
def test_a_driver_whose_status_or_safe_fails_runs_nothing_until_it_works(
    watched, fragile, states, caplog, where
):
    program = _program(fragile)
    fragile.raises[where] = OSError("the cable is out")
    watched.poll_status() if where == "status" else watched.safe()
    for _ in range(5):
        _poll(watched)
        with pytest.raises(UnavailableError, match=f"in {where}: OSError: the cable is out"):
            watched.run(program, StopToken())
    assert states[-1].phase == "broken"
    assert "the cable is out" in states[-1].fault
    assert "run" not in fragile.calls
    fragile.raises.clear()
    _poll(watched)
    assert [state.phase for state in states][-1] == "ready"
    watched.run(program, StopToken())
    assert caplog.text.count("the driver is broken") == 1
    assert caplog.text.count("the driver works again") == 1
    assert caplog.text.count("Traceback") == 1


def test_a_connection_that_is_lost_in_a_run_is_a_retryable_error(watched, fragile, states):
    fragile.raises["run"] = TimeoutError("timed out")
    fragile.raises["safe"] = OSError("cannot read from timed out object")
    with pytest.raises(DriverFaultError, match="TimeoutError: timed out") as caught:
        watched.run(_program(fragile), StopToken())
    assert (caught.value.retryable, caught.value.code) == (True, "device.driver_fault")
    assert "its connection is renewed: try again" in caught.value.hint
    _poll(watched)  # fails too
    assert {state.fault for state in states} == {str(caught.value)}  # not what followed from it


def test_a_job_that_fails_now_and_then_breaks_nothing_and_many_in_a_row_do(
    watched, fragile, states
):
    program = _program(fragile)
    for _ in range(4):
        fragile.raises["run"] = ZeroDivisionError("a bug")
        for _ in range(2):
            with pytest.raises(DriverFaultError):
                watched.run(program, StopToken())
        fragile.raises.clear()
        watched.run(program, StopToken())
    assert [state.phase for state in states] == []
    fragile.raises["run"] = ZeroDivisionError("a bug")
    for _ in range(3):
        with pytest.raises(DriverFaultError):
            watched.run(program, StopToken())
    assert states[-1].phase == "broken"


@pytest.mark.parametrize("found", [None, {"readings": ()}, 3, "ok"])
def test_a_status_that_is_none_is_a_clear_fault(watched, fragile, states, found):
    fragile.status = lambda: found
    watched.poll_status()
    assert f"status: TypeError: it returned a {type(found).__name__}" in states[-1].fault


def test_a_driver_in_this_process_is_made_anew_by_its_factory(states):
    made: list[Fragile] = []

    def make() -> Fragile:
        if len(made) == 2:
            made.append(Fragile())
            raise ConnectionRefusedError("not yet")
        made.append(Fragile())
        return made[-1]

    guard = DriverGuard(RebuildableDriver(make), lambda _: None, Backoff(0.001, 0.001))
    guard.describe()
    guard.start()
    for _ in range(2):
        made[-1].raises["status"] = OSError("the cable is out")
        for _ in range(3):
            _poll(guard)
        guard.run(_program(Fragile()), StopToken())
    assert len(made) == 4
    assert [driver.calls[-1] for driver in made[:2]] == ["close", "close"]
    assert made[-1].calls[-2:] == ["program", "run"]


def test_a_driver_that_is_safe_no_more_in_an_emergency_is_broken(watched, fragile, states):
    fragile.raises["safe"] = OSError("the relay is stuck")
    thread = threading.Thread(target=watched.safe)
    thread.start()
    thread.join()
    assert states[-1].phase == "broken"
    assert watched.poll_s < 0.1


@pytest.mark.parametrize("kind", ["slow", "lost_lock"])
def test_an_interlock_counts_under_injected_faults_too(kind):
    more = {"seconds": 60.0} if kind == "slow" else {"at": 1.0}
    script = FaultScript(faults=(Fault(kind=kind, jobs=(1,), **more),))
    driver = Opening()
    driver.heeds = False
    guard = DriverGuard(FaultyDriver(driver, script), lambda _: None)
    guard.poll_status()
    with pytest.raises(InterlockError, match="opened"):
        guard.run(_program(driver), StopToken(guard.on_telemetry))
    assert driver.calls[-1] == "safe"
