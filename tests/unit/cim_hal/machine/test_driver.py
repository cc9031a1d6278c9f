"""Readouts keep the contract or are refused; targets become drivers, or a helpful error."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from cim_hal import (
    Capabilities,
    IsingModel,
    Program,
    PumpSchedule,
    Readout,
    Trace,
    TraceRequest,
    lower,
)
from cim_hal.errors import DriverFaultError
from cim_hal.machine.driver import PartialReadouts

MODEL = IsingModel.from_couplings([[0, 1], [1, 0]], [1, 0])
MACHINE = Capabilities(name="bench", max_spins=8, coupling_bits=8)
PROGRAM = Program(lower(MODEL, MACHINE), PumpSchedule.constant(1, round_trips=1), n_runs=4, seed=0)


def test_a_program_knows_its_size_and_levels():
    assert PROGRAM.n_spins == 3
    assert PROGRAM.dense_coupling().dtype == np.int16
    assert PROGRAM.field.tolist() == [0, 0, 0]


def test_signs_of_amplitudes_are_the_spins_and_zero_is_up():
    readout = Readout(np.array([[0.5, -0.5, 0.0]]))
    assert readout.spins.tolist() == [[1, -1, 1]]
    assert readout.amplitudes is not None


def test_spins_are_the_signs_of_the_amplitudes_that_are_delivered():
    readout = Readout(np.array([[-1e-60, -1e-40, 3e38]]))  # the first is too small for float32
    assert readout.spins.tolist() == [[1, -1, 1]]
    assert np.where(readout.amplitudes < 0, -1, 1).tolist() == readout.spins.tolist()


@pytest.mark.parametrize("values", [np.full((2, 3), 1e39), np.full((2, 3), np.nan)])
def test_a_partial_readout_out_of_contract_is_a_driver_fault(values):
    readouts = PartialReadouts(PROGRAM)
    readouts.check(np.ones((1, 3)))
    with pytest.raises(DriverFaultError, match="not finite in float32"):
        readouts.check(values)
    assert readouts.n_runs == 1


def test_partial_readouts_are_at_most_the_runs_of_the_program_and_of_one_kind():
    readouts = PartialReadouts(PROGRAM)
    readouts.check(np.ones((3, 3)))
    with pytest.raises(DriverFaultError, match="2 runs, where 1 are left"):
        readouts.check(np.ones((2, 3)))
    with pytest.raises(DriverFaultError, match="bare spins"):
        readouts.check(np.ones((1, 3), np.int8))
    readouts.check(np.ones((1, 3)))
    with pytest.raises(DriverFaultError, match="0 are left"):
        readouts.check(np.ones((1, 3)))


def test_bare_spins_have_no_amplitudes():
    assert Readout(np.ones((4, 3), dtype=np.int8)).amplitudes is None


@pytest.mark.parametrize(
    ("values", "says"),
    [
        (np.zeros((3, 4)), r"shape \(3, 4\)"),
        (np.full((4, 3), np.nan), "not finite"),
        (np.full((4, 3), 1e39), "not finite in float32"),
        (np.full((4, 3), -1e39, np.longdouble), "not finite in float32"),
        (np.zeros((4, 3), dtype=np.int8), "other than -1 and"),
        (np.zeros((4, 3), dtype=complex), "not an array of real"),
        ([[1.0]], "not an array of real"),
    ],
)
def test_a_readout_out_of_contract_is_a_driver_fault(values, says):
    with pytest.raises(DriverFaultError, match=says):
        Readout(values).check(PROGRAM)


# ---- traces and notes -----------------------------------------------------------------------

TRACED = replace(
    PROGRAM,
    schedule=PumpSchedule.constant(1, round_trips=10),
    trace=TraceRequest(every=4, runs=2),
)
GOOD = Trace(np.array([4, 8, 10]), np.ones(3), np.ones((3, 2, 3), np.float32))
VALUES = np.ones((4, 3))


def test_a_trace_as_it_was_asked_for_or_with_fewer_frames_is_fine():
    Readout(VALUES, GOOD).check(TRACED)
    Readout(VALUES, Trace(np.array([5]), np.ones(1), np.ones((1, 2, 3)))).check(TRACED)
    Readout(VALUES, None).check(PROGRAM)


def test_a_trace_of_more_runs_than_there_are_is_one_of_all():
    program = replace(TRACED, trace=TraceRequest(every=4, runs=99))
    Readout(VALUES, replace(GOOD, amplitudes=np.ones((3, 4, 3)))).check(program)


@pytest.mark.parametrize(
    ("trace", "says"),
    [
        (None, "has none"),
        (replace(GOOD, amplitudes=np.ones((3, 3, 2))), r"must have \(3, 2, 3\)"),
        (replace(GOOD, pump=np.ones(4)), "a pump rate for each frame"),
        (replace(GOOD, pump=np.full(3, np.nan)), "not finite"),
        (replace(GOOD, amplitudes=np.full((3, 2, 3), np.inf)), "not finite"),
        (replace(GOOD, amplitudes=np.full((3, 2, 3), 1e39)), "not finite in float32"),
        (replace(GOOD, round_trips=np.array([4, 4, 10])), "do not rise within 1 to 10"),
        (replace(GOOD, round_trips=np.array([0, 4, 10])), "do not rise within 1 to 10"),
        (replace(GOOD, round_trips=np.array([4, 8, 11])), "do not rise within 1 to 10"),
        (Trace(np.arange(1, 5), np.ones(4), np.ones((4, 2, 3))), "has 4 frames"),
        (Trace(np.array([], int), np.ones(0), np.ones((0, 2, 3))), "has 0 frames"),
    ],
)
def test_a_trace_out_of_contract_is_a_driver_fault(trace, says):
    with pytest.raises(DriverFaultError, match=says):
        Readout(VALUES, trace).check(TRACED)


@pytest.mark.parametrize(
    "notes",
    [{"x": None}, {"x": [1]}, {3: 1}, {"x": float("nan")}, {f"note {i}": i for i in range(33)}],
)
def test_notes_that_are_none_are_a_driver_fault(notes):
    Readout(VALUES, notes={"relocks": 2, "drift": 0.5, "ok": True, "door": "open"}).check(PROGRAM)
    with pytest.raises(DriverFaultError, match="notes"):
        Readout(VALUES, notes=notes).check(PROGRAM)


# ---- drivers by name ------------------------------------------------------------------------


# ---- broken parts ---------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.longdouble])
@pytest.mark.parametrize("value", [0.0, -0.0, 1e-60])
def test_a_readout_of_zeros_as_delivered_is_a_fault_unless_it_is_meant(dtype, value):
    zeros = np.full((4, 3), value, dtype)
    with pytest.raises(DriverFaultError, match="exactly 0 everywhere"):
        Readout(zeros).check(PROGRAM)
    meant = Readout(zeros, notes={"zero_amplitudes": True})
    meant.check(PROGRAM)
    assert meant.findings == {"constant_amplitude": 0.0}


def test_deliveries_of_nothing_but_zeros_are_a_fault_once_they_are_many():
    partial = PartialReadouts(replace(PROGRAM, n_runs=9))
    partial.check(np.zeros((2, 3)))
    with pytest.raises(DriverFaultError, match="exactly 0 everywhere"):
        partial.check(np.zeros((1, 3)))
    partial = PartialReadouts(replace(PROGRAM, n_runs=9))
    partial.check(np.array([[0.0, 0.0, 1e-3]]))
    partial.check(np.zeros((8, 3)))


def test_parts_that_may_be_broken_are_noted():
    assert Readout(np.ones((4, 3), np.int8)).findings == {}
    assert Readout(VALUES * [[1], [-1], [1], [1]]).findings == {}
    assert Readout(np.full((4, 3), 0.7)).findings == {"constant_amplitude": np.float32(0.7)}
    values = np.random.default_rng(1).normal(size=(4, 20))
    values[:, [2, 17]] = 0.0
    assert Readout(values).findings == {"dead_spins": "2, 17: exactly 0 in all 4 runs"}
    assert Readout(values[:3]).findings == {}  # an ADC may read 0 now and then
    dark = replace(GOOD, amplitudes=np.zeros_like(GOOD.amplitudes))
    assert Readout(VALUES[:2], dark).findings == {"dead_trace": True}


@pytest.mark.parametrize(
    "change",
    [
        {"round_trips": np.array([1.2, 1.7, 9.0])},
        {"pump": np.array([1j, 1, 1])},
        {"amplitudes": np.full((3, 2, 3), 1e39)},
        {"pump": np.full(3, np.longdouble("1e400"))},
    ],
)
def test_a_trace_is_checked_as_it_is_handed_out(change):
    with pytest.raises(DriverFaultError, match=r"not of numbers|not finite"):
        Readout(VALUES, replace(GOOD, **change)).check(TRACED)
