"""Energies depend on the spins alone, and what is compared with them scales with the model."""

from __future__ import annotations

import itertools
from fractions import Fraction

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

from cim_hal import IsingModel, RunRecord, SampleSet
from cim_hal.model.record import LoweringReport

REPORT = LoweringReport(
    bits=None, step=1.0, levels_used=None, max_error=0.0, rms_error=0.0, energy_error_bound=0.0,
    field_spin=False, gauge=False, machine_spins=1,
)  # fmt: skip
RECORD = RunRecord(
    device="d", job="j", coupling="c", seed=0, round_trips=1, device_s=0, lowering=REPORT
)
scales = st.floats(-12, 12).map(lambda exponent: 10.0**exponent)


@st.composite
def instances(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw couplings, a field, and spins in which some rows are equal."""
    n = draw(st.integers(1, 70))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    J, h = np.triu(rng.normal(size=(n, n)) * 10.0 ** rng.uniform(-3, 3, (n, n)), 1), np.zeros(n)
    J[rng.random((n, n)) < draw(st.sampled_from([0.0, 0.8]))] = 0.0
    if draw(st.booleans()):
        h = rng.normal(size=n)
    spins = rng.choice(np.array([-1, 1], np.int8), (draw(st.integers(1, 20)), n))
    return J + J.T, h, spins[rng.integers(0, len(spins), 40)]


def ranked(model: IsingModel, spins: np.ndarray) -> SampleSet:
    return SampleSet.rank(model, spins, None, RECORD)


@given(instances(), st.integers(1, 40))
def test_an_energy_does_not_depend_on_the_batch_the_storage_or_the_order(instance, size):
    J, h, spins = instance
    model = IsingModel.from_couplings(J, h, 0.5)
    energies = model.energy(spins)
    batches = [model.energy(spins[at : at + size]) for at in range(0, len(spins), size)]
    assert np.concatenate(batches).tolist() == energies.tolist()
    assert IsingModel.from_couplings(sp.csr_array(J), h, 0.5).energy(spins).tolist() == (
        energies.tolist()
    )
    order = np.random.default_rng(size).permutation(len(h))
    moved = IsingModel.from_couplings(J[np.ix_(order, order)], h[order], 0.5)
    assert moved.energy(spins[:, order]).tolist() == energies.tolist()
    flipped = IsingModel.from_couplings(J, -h, 0.5)
    assert flipped.energy(-spins).tolist() == energies.tolist()
    for row, energy in zip(spins, energies, strict=True):
        assert set(energies[(spins == row).all(axis=1)].tolist()) == {energy}


@given(instances(), scales)
def test_shares_and_counts_do_not_depend_on_the_unit(instance, scale):
    J, h, spins = instance
    own = ranked(IsingModel.from_couplings(J, h), spins)
    scaled = ranked(IsingModel.from_couplings(J * scale, h * scale), spins)
    assert scaled.n_best == own.n_best
    for energy in own.energies:
        assert scaled.success_probability(energy * scale) == own.success_probability(energy)


@given(instances())
def test_runs_at_the_best_are_all_that_have_its_spins(instance):
    J, h, spins = instance
    samples = ranked(IsingModel.from_couplings(J, h), spins)
    same = (samples.spins == samples.best).all(axis=1)
    assert samples.n_best >= same.sum()
    # energies summed elsewhere, in another order
    x = samples.best.astype(float)
    elsewhere = -sum(J[i] @ x * x[i] / 2 + h[i] * x[i] for i in reversed(range(len(h))))
    assert samples.success_probability(elsewhere) == samples.n_best / len(samples)


@given(instances())
def test_an_energy_is_the_exact_one_within_its_tolerance(instance):
    J, h, spins = instance
    model = IsingModel.from_couplings(J, h, -2.0)
    row = spins[0].tolist()
    exact = Fraction(-2)
    for i, j in itertools.combinations(range(len(h)), 2):
        exact -= Fraction(J[i, j]) * row[i] * row[j]
    exact -= sum(Fraction(h[i]) * row[i] for i in range(len(h)))
    assert abs(Fraction(float(model.energy(row))) - exact) <= Fraction(model.energy_tolerance)


@pytest.mark.parametrize("scale", [1e-299, 1e-150, 1e290, 2.0**-990, 2.0**1000])
@pytest.mark.filterwarnings("error")
def test_energies_of_extreme_units_neither_overflow_nor_vanish(scale):
    J = np.array([[0, 1.0, -3.0], [1.0, 0, 2.0], [-3.0, 2.0, 0]])
    model = IsingModel.from_couplings(J * scale)
    found = model.energy([[1, 1, 1], [1, -1, 1]])
    assert found == pytest.approx(np.array([0, 6]) * scale, abs=1e-15 * scale)


def test_integers_are_summed_exactly_beside_very_large_ones():
    n = 40
    J = np.zeros((n, n))
    J[0, 1:] = J[1:, 0] = 2.0**45
    J[1, 2] = J[2, 1] = 1.0
    spins = np.ones((1, n), np.int8)
    spins[0, 1::2] = -1
    assert IsingModel.from_couplings(J).energy(spins)[0] == 2.0**45 + 1
