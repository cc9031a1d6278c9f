"""Statistics of amplitudes and energies against closed forms."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chi2, norm

from cim_hal import IsingModel
from emulator.observables import amplitude_histogram, energy_progress, heterogeneity

SPREADS = {
    "equal": (lambda rng, n: 0.3 * rng.choice([-1, 1], n), 0.0),
    "normal": (lambda rng, n: rng.normal(size=n), math.sqrt(math.pi / 2 - 1)),
    "uniform": (lambda rng, n: rng.uniform(-1, 1, n), math.sqrt(1 / 3)),
    "exponential": (lambda rng, n: rng.exponential(size=n), 1.0),
}


@pytest.mark.parametrize("law", SPREADS)
def test_the_heterogeneity_of_known_laws_is_their_closed_form(law):
    draw, expected = SPREADS[law]
    n = 200_000
    found = heterogeneity(draw(np.random.default_rng(0), n))
    # the largest relative error of a variance is the exponential law's: kurtosis 9
    assert found == pytest.approx(expected, abs=4 * math.sqrt((9 - 1) / 4 / n))


@given(st.integers(0, 2**32 - 1), st.floats(1e-6, 1e6))
def test_heterogeneity_knows_neither_signs_nor_units(seed, unit):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(3, 4, 7))
    turned = unit * x * rng.choice([-1, 1], x.shape)
    assert heterogeneity(x).shape == (3, 4)
    np.testing.assert_allclose(heterogeneity(turned), heterogeneity(x), rtol=1e-9)


@pytest.mark.parametrize("n", [2, 5, 50])
def test_one_bright_spin_among_n_is_the_most_heterogeneous(n):
    # <x^2> = 1 / n, <|x|> = 1 / n
    x = np.zeros(n)
    x[0] = -3.0
    assert heterogeneity(x) == pytest.approx(math.sqrt(n - 1), rel=1e-14)
    assert np.isnan(heterogeneity(np.zeros(n)))


def test_the_energy_of_equal_amplitudes_is_that_of_the_spins():
    # what heterogeneity spoils: with unequal amplitudes the order of energies changes
    rng = np.random.default_rng(3)
    J = np.triu(rng.normal(size=(8, 8)), 1)
    model = IsingModel.from_couplings(J + J.T)
    spins = np.array(list(itertools.product((-1, 1), repeat=8)))
    energies = model.energy(spins)

    def of_light(x):
        return -np.einsum("ri,ij,rj->r", x, J, x)

    even, uneven = 0.4 * spins, spins * rng.uniform(0.1, 1, 8)
    assert heterogeneity(even).max() < 1e-15
    np.testing.assert_allclose(of_light(even), 0.16 * energies, atol=1e-12)
    assert (np.argsort(of_light(uneven)) != np.argsort(energies)).any()


def test_a_histogram_of_normal_amplitudes_has_their_density():
    n, bins = 100_000, 40
    x = np.random.default_rng(1).normal(size=(n // 100, 100))
    histogram = amplitude_histogram(x, bins=bins, limit=4.0)
    shares = np.diff(norm.cdf(histogram.edges))
    shares[[0, -1]] += norm.sf(4.0)
    square = np.sum((histogram.counts - n * shares) ** 2 / (n * shares))
    assert chi2.sf(square, bins - 1) > 1e-3
    np.testing.assert_allclose(histogram.density * 8 / bins, histogram.counts / n, rtol=1e-12)


@given(st.lists(st.floats(-10, 10), min_size=1, max_size=50), st.integers(1, 9))
def test_a_histogram_counts_every_amplitude_and_is_symmetric(values, bins):
    for limit in (None, 0.7):
        histogram = amplitude_histogram(values, bins=bins, limit=limit)
        assert histogram.counts.sum() == len(values)
        np.testing.assert_allclose(histogram.edges, -histogram.edges[::-1], atol=1e-12)


def test_progress_of_three_runs_in_four_frames():
    energies = [[4, 2, 0], [1, 1, 1], [-3, 0, 3], [0, -2, 2]]
    mean, error, lowest, best = energy_progress(energies)
    np.testing.assert_array_equal(mean, [2, 1, 0, 0])
    np.testing.assert_allclose(error, np.sqrt([4 / 3, 0, 9 / 3, 4 / 3]))
    np.testing.assert_array_equal(lowest, [0, 1, -3, -2])
    np.testing.assert_array_equal(best, [0, 0, -3, -3])


def test_a_single_run_has_no_error():
    progress = energy_progress([[1.0], [0.0]])
    assert np.isnan(progress.error).all()
    np.testing.assert_array_equal(progress.mean, progress.lowest)


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda: heterogeneity(1.0), "amplitudes"),
        (lambda: heterogeneity(np.empty((3, 0))), "amplitudes"),
        (lambda: amplitude_histogram([]), "amplitudes"),
        (lambda: amplitude_histogram([math.inf]), "amplitudes"),
        (lambda: amplitude_histogram([1.0], bins=0), "bins"),
        (lambda: amplitude_histogram([1.0], limit=0.0), "limit"),
        (lambda: energy_progress([1.0]), "energies"),
        (lambda: energy_progress(np.empty((3, 0))), "energies"),
    ],
)
def test_what_has_no_statistics_is_refused(call, name):
    with pytest.raises(ValueError, match=name):
        call()
