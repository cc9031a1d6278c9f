"""Readouts keep the driver's contract or are refused."""

from __future__ import annotations

import numpy as np
import pytest

from cim_hal import Capabilities, IsingModel, Program, PumpSchedule, Readout, lower
from cim_hal.errors import DriverFaultError

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


def test_bare_spins_have_no_amplitudes():
    assert Readout(np.ones((4, 3), dtype=np.int8)).amplitudes is None


@pytest.mark.parametrize(
    ("values", "says"),
    [
        (np.zeros((3, 4)), r"shape \(3, 4\)"),
        (np.full((4, 3), np.nan), "not finite"),
        (np.zeros((4, 3), dtype=np.int8), "other than -1 and"),
        (np.zeros((4, 3), dtype=complex), "not an array of real"),
        ([[1.0]], "not an array of real"),
    ],
)
def test_a_readout_out_of_contract_is_a_driver_fault(values, says):
    with pytest.raises(DriverFaultError, match=says):
        Readout(values).check(PROGRAM)
