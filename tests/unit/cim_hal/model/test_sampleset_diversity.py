"""How many different samples there are, and when many equal ones are worth a warning."""

from __future__ import annotations

import numpy as np
import pytest

from cim_hal import Capabilities, Driver, IsingModel, Program, Readout, StopToken, open_device
from cim_hal.model.sampleset import MANY


class Fixed(Driver):
    """Answers with given spins, as a machine without noise would."""

    def __init__(self, spins: np.ndarray) -> None:
        self._spins = spins

    def describe(self) -> Capabilities:
        return Capabilities(name="fixed", max_spins=100, coupling_bits=8, has_field=True)

    def run(self, program: Program, stop: StopToken) -> Readout:
        del stop
        return Readout(np.resize(self._spins, (program.n_runs, program.n_spins)))


def glass(n: int, *, field: bool = False) -> IsingModel:
    rng = np.random.default_rng(n)
    upper = np.triu(rng.integers(-9, 10, (n, n)), 1)
    return IsingModel.from_couplings(upper + upper.T, rng.integers(1, 5, n) if field else None)


def sampled(model: IsingModel, spins: np.ndarray, n_runs: int):
    with open_device(Fixed(np.atleast_2d(spins).astype(np.int8))) as session:
        return session.sample(model, n_runs=n_runs)


def test_runs_of_any_machine_are_counted_by_configuration():
    model, spins = glass(6), np.array([[1, 1, 1, -1, 1, 1], [1, -1, 1, 1, -1, 1]])
    samples = sampled(model, spins, 8)
    found = samples.diversity
    assert (found.configurations, found.energies, found.effective_runs) == (2, 2, 2.0)
    assert samples.record.diversity == found
    assert samples.lowest(4).diversity.configurations == 1
    assert samples.lowest(4).concat(samples).diversity.effective_runs == pytest.approx(12**2 / 80)


@pytest.mark.parametrize(("field", "expected"), [(False, 1), (True, 2)])
def test_a_configuration_and_its_negative_are_one_without_a_field(field, expected):
    spins = np.where(np.arange(6) % 2, 1, -1)
    samples = sampled(glass(6, field=field), np.array([spins, -spins]), 10)
    assert samples.diversity.configurations == expected
    assert samples.lowest(10).concat(samples).diversity.configurations == expected


def test_many_runs_with_one_configuration_are_a_warning():
    model, spins = glass(40), np.ones(40)
    assert sampled(model, spins, 64).warning(model) == (
        "64 runs gave 1 configuration: they may be copies of each other"
    )
    assert not sampled(model, spins, MANY - 1).warning(model)
    two = np.array([spins, np.where(np.arange(40) < 9, 1, -1)])
    assert not sampled(model, two, 64).warning(model)


def test_runs_at_a_proven_optimum_are_no_fault():
    ring = np.roll(np.eye(50), 1, 0) + np.roll(np.eye(50), -1, 0)
    unfrustrated = IsingModel.from_couplings(ring, np.full(50, 0.25))
    assert not sampled(unfrustrated, np.ones(50), 64).warning(unfrustrated)
    small = glass(9, field=True)
    states = 2 * (np.arange(2**9)[:, None] >> np.arange(9) & 1) - 1
    order = np.argsort(small.energy(states))
    assert not sampled(small, states[order[0]], 64).warning(small)
    assert sampled(small, states[order[-1]], 64).warning(small)
