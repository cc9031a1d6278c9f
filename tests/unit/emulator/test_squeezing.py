"""Spectra of noise whose spectrum is known, and the closed form of a squeezed one."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator import squeezing_db
from emulator.squeezing import noise_spectrum, squeezing_spectrum


def test_white_noise_has_a_flat_spectrum():
    records = np.random.default_rng(0).normal(size=(200, 1024))
    frequency, power, error = noise_spectrum(records, time_step=0.1, segment=128)
    assert frequency.shape == power.shape == error.shape == (65,)
    assert frequency[-1] == pytest.approx(np.pi / 0.1)
    assert (np.abs(power - 1) < 5 * error).all()
    # an exponential law: relative error 1 / sqrt(1600)
    assert np.median(error) == pytest.approx(1 / 40, rel=0.1)


def test_a_moving_average_has_its_closed_spectrum():
    # x_k = w_k + a w_(k-1): 1 + a^2 + 2 a cos w
    a, rng = 0.8, np.random.default_rng(1)
    w = rng.normal(size=(300, 2049))
    frequency, power, error = noise_spectrum(w[:, 1:] + a * w[:, :-1], time_step=1.0, segment=256)
    expected = 1 + a * a + 2 * a * np.cos(frequency)
    # Hann's window smooths by half the second derivative times 4 pi^2 / 3 segment^2
    assert (np.abs(power - expected) < 5 * error + 4 * np.pi**2 * a / 256**2).all()


@given(st.floats(0, 0.999), st.floats(0, 50))
def test_an_ideal_oscillator_makes_minimum_uncertainty_light_at_every_frequency(pump, frequency):
    noisy, quiet = squeezing_spectrum(frequency, pump=pump)
    assert noisy * quiet == pytest.approx(1, rel=1e-9)
    assert quiet <= 1 <= noisy


def test_loss_mixes_with_vacuum_and_half_of_it_leaves_3_db_at_most():
    noisy, quiet = squeezing_spectrum([0.0, 1.0], pump=0.4)
    lossy = squeezing_spectrum([0.0, 1.0], pump=0.4, efficiency=0.3)
    np.testing.assert_allclose(lossy.antisqueezed, 0.7 + 0.3 * noisy)
    np.testing.assert_allclose(lossy.squeezed, 0.7 + 0.3 * quiet)
    half = squeezing_spectrum(0.0, pump=1 - 1e-9, efficiency=0.5).squeezed
    assert squeezing_db(0.5 * half) == pytest.approx(-10 * np.log10(2), abs=1e-6)


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda: squeezing_spectrum(0.0, pump=1.0), "pump"),
        (lambda: squeezing_spectrum(0.0, pump=0.5, efficiency=1.1), "efficiency"),
        (lambda: noise_spectrum(np.ones(64), time_step=0.0, segment=8), "time_step"),
        (lambda: noise_spectrum(np.ones(64), time_step=1.0, segment=3), "segment"),
        (lambda: noise_spectrum(np.ones(64), time_step=1.0, segment=33), "segment"),
    ],
)
def test_parameters_out_of_range_are_refused(call, name):
    with pytest.raises(ValueError, match=name):
        call()


def test_squeezing_is_measured_from_vacuum():
    assert squeezing_db(0.5) == 0
    assert squeezing_db(0.25) == pytest.approx(-10 * math.log10(2), rel=1e-15)
    np.testing.assert_allclose(squeezing_db([0.05, 5.0]), [-10, 10], rtol=1e-15)


@pytest.mark.parametrize("variance", [0.0, -1.0, math.nan, [0.5, 0.0], math.inf])
def test_a_variance_that_is_none_is_refused(variance):
    with pytest.raises(ValueError, match="variance"):
        squeezing_db(variance)
