"""A driver is called as its contract says."""

from __future__ import annotations

import pytest
from cim_machines import Annealer, Faulty, Laboratory

from cim_hal import IsingModel, Program, PumpSchedule, StopToken, Telemetry, lower
from cim_hal.errors import CapabilityError, DriverFaultError, InterlockError
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
    guard.run(_program(laboratory), stop)
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
