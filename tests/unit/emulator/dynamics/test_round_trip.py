"""The gain of the crystal, by definition, and how often a run computes it."""

from __future__ import annotations

import math

import numpy as np

from cim_hal import Capabilities, IsingModel
from emulator import EmulatedCim, MeasurementFeedback
from emulator.dynamics import measurement_feedback
from emulator.dynamics.crystal import GAIN_TERMS, gain_series, gain_table


def by_definition(pump: float, loss: float) -> list[float]:
    p_l = pump * loss
    return [(1 - p_l / (2 * k + 1)) / math.factorial(2 * k) for k in range(GAIN_TERMS)]


def test_the_gain_series_of_many_pumps_is_that_of_each_to_the_last_bit():
    pumps, loss = np.linspace(0.0, 1.5, 301), 0.2554128118829953
    expected = [by_definition(pump, loss) for pump in pumps.tolist()]
    np.testing.assert_array_equal(gain_series(pumps, loss), expected)
    np.testing.assert_array_equal(gain_series(0.7, loss), by_definition(0.7, loss))


def test_a_run_computes_the_gain_once_a_chunk_and_not_once_a_round_trip(monkeypatch, amplitudes_of):
    calls = []

    def counted(pumps, loss, dtype):
        calls.append(np.size(pumps))
        return gain_table(pumps, loss, dtype)

    monkeypatch.setattr(measurement_feedback, "gain_table", counted)
    capabilities = Capabilities(name="test", max_spins=10, coupling_bits=8, default_pump=(0, 1))
    machine = EmulatedCim(MeasurementFeedback(), capabilities=capabilities, threads=1)
    pair = IsingModel.from_couplings([[0, 1], [1, 0]])
    amplitudes_of(machine, pair, n_runs=4, round_trips=1000)
    assert sum(calls) == 1000
    assert len(calls) == -(-1000 // 128)
