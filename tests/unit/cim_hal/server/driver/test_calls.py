"""Calls of a driver: every exception is an error, and each traceback is logged once."""

from __future__ import annotations

import logging
import pickle

import pytest
from cim_machines import Annealer

from cim_hal import Capabilities
from cim_hal.errors import DriverFaultError, LockLostError
from cim_hal.protocol.wire.errors import as_error, to_wire
from cim_hal.server.driver.calls import DriverCalls, RebuildableDriver


def _raise(error: BaseException) -> None:
    raise error


@pytest.mark.parametrize("error", [ValueError("x"), SystemExit(3), KeyboardInterrupt()])
def test_whatever_is_raised_is_a_fault_that_names_the_method(error):
    with pytest.raises(DriverFaultError, match=f"failed in run: {type(error).__name__}") as caught:
        DriverCalls()("run", lambda: _raise(error))
    assert not caught.value.retryable


def test_what_pydantic_refuses_is_told_in_one_line_with_every_field():
    fields = {"name": 3, "max_spins": "x", "coupling_bits": 1, "spins": 2}
    with pytest.raises(DriverFaultError) as caught:
        DriverCalls()("describe", lambda: Capabilities(**fields))
    message = caught.value.message
    assert "\n" not in message
    assert "https" not in message
    for told in ("name = 3: it should be a text", "max_spins = 'x'", "spins = 2: there is"):
        assert told in message


@pytest.mark.parametrize(
    "error", [BrokenPipeError("x"), TimeoutError("x"), EOFError("x"), FileNotFoundError("/dev/x")]
)
def test_errors_of_input_and_output_are_a_lost_connection(error):
    with pytest.raises(DriverFaultError) as caught:
        DriverCalls()("status", lambda: _raise(error))
    assert caught.value.details == {"exception": type(error).__name__, "retryable": True}
    for moved in (pickle.loads(pickle.dumps(caught.value)), as_error(to_wire(caught.value))):
        assert moved.retryable


def test_errors_of_the_contract_pass_as_they_are():
    with pytest.raises(LockLostError, match="lost"):
        DriverCalls()("run", lambda: _raise(LockLostError("lost")))


def test_a_traceback_is_logged_once_until_the_method_has_succeeded(caplog):
    calls = DriverCalls()

    def fail(times: int) -> None:
        for number in range(times):
            with pytest.raises(DriverFaultError):
                calls("status", lambda number=number: _raise(OSError(f"at {number} s")))

    fail(5)
    calls("run", lambda: None)
    fail(5)
    assert len(caplog.records) == 1
    calls("status", lambda: None)
    fail(1)
    assert len(caplog.records) == 2


def test_a_quiet_one_is_quiet_until_something_works(caplog):
    caplog.set_level(logging.INFO)
    calls = DriverCalls(is_quiet=True)
    calls("safe", lambda: None)
    for works in (False, True):
        if works:
            calls("status", lambda: None)
        with pytest.raises(DriverFaultError):
            calls("status", lambda: _raise(OSError("x")))
    assert len(caplog.records) == 1


def test_a_driver_made_anew_must_describe_the_same_machine():
    described = Annealer().describe()
    made: list[Annealer] = []

    class Changing(Annealer):
        def describe(self):
            return described.model_copy(update={"max_spins": 9 + len(made)})

    def make() -> Annealer:
        made.append(Changing())
        return made[-1]

    driver = RebuildableDriver(make)
    driver.describe()
    with pytest.raises(DriverFaultError, match="describes itself otherwise"):
        driver.rebuild("it is to be tried")
    assert made[0].n_closed == 1
