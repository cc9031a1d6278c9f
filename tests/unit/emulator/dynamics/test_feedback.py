"""Blocks that move a chunk at a time: where they are never depends on who looks."""

from __future__ import annotations

import numpy as np
import pytest

from cim_hal import IsingModel
from emulator import (
    AmplitudeHeterogeneityCorrection,
    ChaoticAmplitudeControl,
    ChaoticFeedbackControl,
    NoisyMeanFieldAnnealing,
    SeparatedFeedbackControl,
    SimCim,
    SimulatedBifurcation,
)
from emulator.dynamics.base import ChunkedBlock, JobInputs
from emulator.noise import NoiseKey
from emulator.products.coupling import CouplingMatrix

ALGORITHMS = [
    ChaoticAmplitudeControl(),
    ChaoticFeedbackControl(),
    SeparatedFeedbackControl(),
    AmplitudeHeterogeneityCorrection(),
    SimulatedBifurcation(variant="adiabatic"),
    SimulatedBifurcation(variant="ballistic"),
    SimulatedBifurcation(variant="discrete", heating=0.1),
    SimCim(),
    NoisyMeanFieldAnnealing(),
]


def start(dynamics, *, integer: bool, n_runs: int = 16):
    rng = np.random.default_rng(0)
    upper = np.triu(rng.integers(-9, 10, (23, 23)) if integer else rng.normal(size=(23, 23)), 1)
    model = IsingModel.from_couplings(upper + upper.T, rng.integers(-9, 10, 23))
    coupling = CouplingMatrix.of(
        model.J, model.h, largest_code=dynamics.largest_code, dtype=np.float32
    )
    inputs = JobInputs(coupling, NoiseKey.from_seed(1), round_trips=100)
    return dynamics.start(inputs, first_run=0, n_runs=n_runs)


@pytest.mark.parametrize("integer", [True, False], ids=["integers", "reals"])
@pytest.mark.parametrize("dynamics", ALGORITHMS, ids=str)
def test_a_block_moves_alike_whether_it_is_looked_at_or_not(dynamics, integer):
    watched, unwatched = (start(dynamics, integer=integer) for _ in range(2))
    for at, pump in enumerate(np.linspace(0, 1, 100)):
        watched.advance(pump)
        unwatched.advance(pump)
        if at % 7 in (0, 3):
            watched.amplitudes()
    np.testing.assert_array_equal(watched.amplitudes(), unwatched.amplitudes())
    assert np.ptp(watched.amplitudes()) > 0.1


@pytest.mark.parametrize("dynamics", ALGORITHMS, ids=str)
def test_any_number_of_runs_is_a_part_of_more(dynamics):
    few, many = start(dynamics, integer=False, n_runs=3), start(dynamics, integer=False, n_runs=80)
    for pump in np.linspace(0, 1, 60):
        few.advance(pump)
        many.advance(pump)
    assert few.amplitudes().shape == (23, 3)
    np.testing.assert_array_equal(few.amplitudes(), many.amplitudes()[:, :3])


class Counting(ChunkedBlock):
    """A block that only notes its chunks."""

    def __init__(self, n_spins: int) -> None:
        super().__init__(n_spins * 64)
        self.chunks: list[list[float]] = []

    def amplitudes(self) -> np.ndarray:
        self.catch_up()
        return np.zeros(0)

    def _advance_through(self, pumps: np.ndarray) -> None:
        self.chunks.append(pumps.tolist())


@pytest.mark.parametrize(("n_spins", "longest"), [(10, 128), (100, 81), (2000, 16)])
def test_chunks_end_at_a_look_or_when_they_are_long_enough(n_spins, longest):
    block, n_round_trips = Counting(n_spins), 2 * longest + 5
    for at in range(n_round_trips):
        block.advance(float(at))
    block.amplitudes()
    block.amplitudes()
    assert [len(chunk) for chunk in block.chunks] == [longest, longest, 5]
    assert [pump for chunk in block.chunks for pump in chunk] == list(range(n_round_trips))
