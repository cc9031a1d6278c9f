from __future__ import annotations

import threading

import numpy as np
import pytest
from cim_machines import Annealer

from cim_hal import Readout, open_device
from cim_hal.conformance.machine_under_test import CheckFailed, MachineUnderTest, NotApplicable
from cim_hal.conformance.suite import CHECKS, Check, Report, conform
from cim_hal.errors import DeviceError


def _ends_with(error):
    def run(_machine):
        raise error

    return run


def _check(name, run):
    return Check(name, "basic", "It keeps its promise.", run)


CHECKED = (
    _check("silent", lambda _machine: None),
    _check("talks", lambda machine: f"seed {machine.seed}"),
    _check("breaks", _ends_with(CheckFailed("upside down"))),
    _check("lacks", _ends_with(NotApplicable("no field"))),
    _check("faults", _ends_with(DeviceError("smoke"))),
)


def test_every_check_gets_its_verdict_and_no_failure_ends_the_loop():
    with open_device(Annealer()) as session:
        verdicts = list(conform(MachineUnderTest(session, seed=5), CHECKED))
    assert [(each.name, each.outcome, each.said) for each in verdicts] == [
        ("silent", "passed", ""),
        ("talks", "passed", "seed 5"),
        ("breaks", "failed", "upside down"),
        ("lacks", "skipped", "no field"),
        ("faults", "failed", f"{DeviceError.code}: smoke"),
    ]
    report = Report("annealer", 5, tuple(verdicts))
    assert [report.count(each) for each in ("passed", "failed", "skipped")] == [2, 2, 1]


def test_after_a_driver_that_ignores_stop_no_check_is_made():
    class Hanging(Annealer):
        goes_on = threading.Event()

        def run(self, program, stop):
            self.goes_on.wait()
            return super().run(program, stop)

    checks = [check for check in CHECKS if check.name in {"smallest-program", "gauges"}]
    with open_device(Hanging()) as session:
        machine = MachineUnderTest(session, timeout_s=0.2, cancel_s=0.1)
        first, second = conform(machine, checks)
        Hanging.goes_on.set()
    assert (first.outcome, second.outcome) == ("failed", "skipped")
    assert first.said.endswith("goes on: the driver ignores stop")
    assert second.said == "not made: the driver ignores stop since smallest-program"


def test_gauges_cannot_be_told_apart_where_no_ground_state_is_found():
    class AllUp(Annealer):
        def run(self, program, _stop):
            return Readout(np.ones((program.n_runs, program.n_spins), np.int8))

    (gauges,) = (check for check in CHECKS if check.name == "gauges")
    with open_device(AllUp()) as session:
        (verdict,) = conform(MachineUnderTest(session, n_runs=64), [gauges])
    assert (verdict.outcome, verdict.said) == (
        "skipped",
        "the ground state was never found in 64 runs each",
    )


@pytest.mark.parametrize(
    ("names", "conforms"),
    [(("silent", "lacks"), True), (("silent", "breaks"), False), (("lacks",), False), ((), False)],
)
def test_a_machine_conforms_if_nothing_failed_and_something_passed(names, conforms):
    checks = [each for each in CHECKED if each.name in names]
    with open_device(Annealer()) as session:
        verdicts = tuple(conform(MachineUnderTest(session), checks))
    assert Report("annealer", 0, verdicts).conforms is conforms


def test_checks_have_names_of_their_own_and_a_promise_in_words():
    assert len({check.name for check in CHECKS}) == len(CHECKS)
    for check in CHECKS:
        assert check.promise[0].isupper()
        assert check.promise.endswith(".")
