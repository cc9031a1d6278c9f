"""What leaves an oscillator below threshold, on a spectrum analyser: T7."""

from __future__ import annotations

import numpy as np
import pytest

from emulator import TruncatedWigner, squeezing_db
from emulator.dynamics.gaussian import GaussianFeedback
from emulator.noise import normals
from emulator.squeezing import noise_spectrum, squeezing_spectrum

ALONE = np.zeros((1, 1))
DT = 0.02
SEGMENT = 2048  # 41 lifetimes


def light_of_wigner(start, pump: float, *, runs: int, steps: int) -> np.ndarray:
    """Amplitudes that leave through the only mirror, vacuum being 1: (2, runs, steps), X and P.

    Input and output: the cavity is driven by the vacuum that comes in and out goes what leaks
    less what comes in, 2 sqrt(dt) X - dW / sqrt(dt).
    """
    machine = TruncatedWigner(saturation=1e5, time_step=DT, precision="double")
    block = start(machine, ALONE, runs=runs)
    photons = np.sqrt(2) * machine.saturation
    for _ in range(round(8 / (1 - pump) / DT)):
        block.advance(pump)
    light = np.empty((2, runs, steps))
    for step in range(steps):
        vacuum = normals(1, round_trip=2 * block._draw.round_trip, n_spins=2, n_runs=runs)
        before = np.concatenate([block.c, block.s])
        block.advance(pump)
        inside = photons * (before + np.concatenate([block.c, block.s])) / 2
        light[..., step] = 2 * np.sqrt(DT) * inside - vacuum
    return light


def detected(light: np.ndarray, efficiency: float) -> np.ndarray:
    """Light after a loss, with the vacuum it lets in."""
    vacuum = np.random.default_rng(5).normal(size=light.shape)
    return np.sqrt(efficiency) * light + np.sqrt(1 - efficiency) * vacuum


def check(records: np.ndarray, expected, *, bias: float, highest: float) -> None:
    """Compare a spectrum with `expected(frequency)`, one frequency at a time and on average."""
    frequency, power, error = noise_spectrum(records, time_step=DT, segment=SEGMENT)
    some = slice(1, int(np.searchsorted(frequency, highest)))
    ratio, width = (values[some] / expected(frequency[some]) for values in (power, error))
    assert (np.abs(ratio - 1) < 5 * width + bias).all()
    # Hann's window correlates neighbours: the variance of a mean is 35/18 of what it would be
    allowed = 5 * np.sqrt(35 / 18 * np.mean(width**2) / len(width)) + bias
    assert abs(np.mean(ratio) - 1) < allowed


def test_an_empty_cavity_sends_back_vacuum(start):
    for records in light_of_wigner(start, 0.0, runs=64, steps=4 * SEGMENT):
        check(records, np.ones_like, bias=1e-3, highest=100.0)


@pytest.mark.parametrize(
    ("pump", "efficiency"), [pytest.param(0.2, 0.6, marks=pytest.mark.slow), (0.5, 1.0)]
)
def test_the_output_of_the_wigner_model_has_the_textbook_spectrum(start, pump, efficiency):
    noisy, quiet = detected(light_of_wigner(start, pump, runs=192, steps=6 * SEGMENT), efficiency)

    def theory(frequency):
        return squeezing_spectrum(frequency, pump=pump, efficiency=efficiency)

    # a step averages over dt: (8 dt)^2 / 12 of the highest frequency
    check(noisy, lambda w: theory(w).antisqueezed, bias=2e-3, highest=8.0)
    check(quiet, lambda w: theory(w).squeezed, bias=2e-3, highest=8.0)


@pytest.mark.slow
def test_squeezing_at_the_line_centre_in_decibels(start):
    # 1 - 4 p / (1 + p)^2 = 1/9 at p = 1/2: -9.54 dB outside, where inside it is -1.76 dB
    segment = 4 * SEGMENT
    _, quiet = light_of_wigner(start, 0.5, runs=64, steps=8 * segment)
    frequency, power, error = noise_spectrum(quiet, time_step=DT, segment=segment)
    centre = slice(1, 6)  # up to 0.19 a lifetime
    expected = squeezing_spectrum(frequency[centre], pump=0.5).squeezed
    found = squeezing_db(0.5 * power[centre].mean())
    in_db = 10 / np.log(10) * np.mean(error[centre] / power[centre])
    assert in_db < 0.2
    assert found == pytest.approx(squeezing_db(0.5 * expected.mean()), abs=3 * in_db)
    assert -9.6 < found < -9.1


def _slow(*values: float):
    return pytest.param(*values, marks=pytest.mark.slow)


@pytest.mark.parametrize(
    ("j", "efficiency", "pump"),
    [_slow(1.0, 1.0, 0.6), (0.3, 0.5, 0.6), (4.0, 0.9, -0.7), _slow(1.0, 0.5, -0.3)],
)
def test_the_record_of_continuous_homodyning_shows_the_same_spectrum(start, j, efficiency, pump):
    # escape j / (1 + j) times detection, lifetimes 1 + j times as short; a pump in antiphase
    # squeezes X, so that a conditional model, without any vacuum coming in, has a record below it
    machine = GaussianFeedback(
        measurement_strength=j,
        detector_efficiency=efficiency,
        coupling_gain=0.0,
        saturation=1e9,
        time_step=DT / (1 + j),
        precision="double",
    )
    block = start(machine, np.zeros((8, 8)), runs=16)
    for _ in range(round(10 / DT)):
        block.advance(pump)
    shot = np.sqrt(4 * j * efficiency * machine.time_step) * machine.unit
    records = np.empty((8, 16, 4 * SEGMENT))
    for step in range(records.shape[-1]):
        block.advance(pump)
        records[..., step] = shot * block.codes
    share = efficiency * j / (1 + j)

    def theory(frequency):
        spectra = squeezing_spectrum(frequency, pump=abs(pump), efficiency=share)
        return spectra.antisqueezed if pump > 0 else spectra.squeezed

    # explicit Euler: (1 + |p|) dt
    check(records, theory, bias=0.03, highest=8.0)
    low = noise_spectrum(records, time_step=DT, segment=SEGMENT).power[1:5].mean()
    assert (low < 0.9) if pump < 0 else (low > 1.1)


def test_correlations_along_one_record_decay_with_the_two_rates(start):
    # e^-(1 - p) tau, e^-(1 + p) tau; standard errors of a first-order autoregression (Bartlett)
    pump, runs, steps = 0.5, 64, 6000
    block = start(
        TruncatedWigner(saturation=1e5, time_step=0.05, precision="double"), ALONE, runs=runs
    )
    for _ in range(400):
        block.advance(pump)
    path = np.empty((2, runs, steps))
    for step in range(steps):
        block.advance(pump)
        path[..., step] = block.c[0], block.s[0]
    for values, rate in zip(path, (1 - pump, 1 + pump), strict=True):
        for lag in (4, 20, 60):
            expected, a = np.exp(-rate * 0.05 * lag), np.exp(-rate * 0.05)
            found = np.mean(values[:, lag:] * values[:, :-lag]) / np.mean(values**2)
            b = expected**2
            variance = (1 + a * a) * (1 - b) / (1 - a * a) - 2 * lag * b
            assert found == pytest.approx(expected, abs=4 * np.sqrt(variance / values.size))
