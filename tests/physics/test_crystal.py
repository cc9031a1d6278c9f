"""The crystal against its coupled-wave equations, and the variance against their derivatives."""

from __future__ import annotations

import numpy as np
import pytest

from emulator import Converter, Imperfections, MeasurementFeedback
from emulator.dynamics.crystal import (
    COSH_SERIES,
    SINH_SERIES,
    amplified_variance,
    crystal_gain,
    gain_series,
    gain_table,
    pumped_gain,
)

IDEAL = Converter(full_scale=np.inf)
L = 0.4


def after_crystal(pump: float, signal: float, length: float) -> np.ndarray:
    """Signal and pump after E_s' = E_p E_s, E_p' = -E_s^2, by Runge-Kutta."""

    def slope(E: np.ndarray) -> np.ndarray:
        return np.array([E[1] * E[0], -(E[0] ** 2)])

    fields, steps = np.array([signal, pump]), 2000
    dz = length / steps
    for _ in range(steps):
        k1 = slope(fields)
        k2 = slope(fields + dz / 2 * k1)
        k3 = slope(fields + dz / 2 * k2)
        k4 = slope(fields + dz * k3)
        fields = fields + dz / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
    return fields


def both_gains(pump: float, signal: float):
    """The gain of the ideal kernel and that of the kernel with imperfections."""
    table = gain_table(np.array([pump]), L, float)
    theta_squared = L**2 * (pump**2 + signal**2)
    yield crystal_gain(theta_squared, tuple(table.series[0]))
    yield pumped_gain(theta_squared, pump * L, COSH_SERIES, SINH_SERIES, 0.5)


CASES = pytest.mark.parametrize(
    ("pump", "signal"), [(p, s) for p in (0.0, 0.3, 1.0, 2.5) for s in (1e-6, 0.5, 3.0)]
)


@CASES
def test_the_crystal_solves_the_coupled_wave_equations(pump, signal):
    expected = after_crystal(pump, signal, L)[0] / signal
    for g in both_gains(pump, signal):
        assert 1 / g.inverse == pytest.approx(expected, rel=1e-9)


def closed_form(pump: float, signal: float, length: float) -> float:
    """Signal after the crystal, by sech."""
    total = np.hypot(pump, signal)
    theta = length * total
    return signal / (np.cosh(theta) - pump / total * np.sinh(theta))


def slopes(pump: float, signal: float, length: float) -> tuple[float, float]:
    """Derivatives of the signal after the crystal by that before, and by the pump."""
    h = 1e-4 * np.hypot(pump, signal)
    by_signal = closed_form(pump, signal + h, length) - closed_form(pump, signal - h, length)
    by_pump = closed_form(pump + h, signal, length) - closed_form(pump - h, signal, length)
    return by_signal / (2 * h), by_pump / (2 * h)


@CASES
def test_a_variance_follows_the_slopes_of_the_crystal(pump, signal):
    # in the unit of the conserved E_s^2 + E_p^2, whatever it is
    exact = after_crystal(pump, signal, L)[0]
    assert closed_form(pump, signal, L) == pytest.approx(exact, rel=1e-9)
    kept, mixed = slopes(pump, signal, L)
    for g in both_gains(pump, signal):
        for sigma in (0.5, 3.0):
            found = amplified_variance(sigma, (L * signal) ** 2, g) / g.inverse**4
            assert found == pytest.approx(kept**2 * sigma + mixed**2, rel=1e-5)


def test_without_light_and_pump_a_variance_keeps_its_last_bit():
    for g in both_gains(0.0, 0.0):
        assert amplified_variance(0.5, 0.0, g) == 0.5


def linearized(pump: float, *, R: float, eta: float, A: float) -> tuple[float, float]:
    """Total variance of X of a lone pulse far above threshold, and the variance of its mean."""
    loss = -0.5 * np.log(eta * (1 - R))
    length = np.sqrt(loss) / A
    mean = np.sqrt(2) * A
    for _ in range(5000):
        mean = np.sqrt(eta * (1 - R)) * closed_form(pump * loss / length, mean, length)
    kept, mixed = slopes(pump * loss / length, mean, length)
    sigma = 0.5
    for _ in range(5000):
        lossy = eta * (kept**2 * sigma + mixed**2) + (1 - eta) / 2
        V = R * lossy + (1 - R) / 2
        kick = R * (1 - R) * (lossy - 0.5) ** 2 / V
        sigma = (1 - R) * lossy + R / 2 - kick
    told = kick / (1 - eta * (1 - R) * kept**2)
    return sigma + told, told


@pytest.mark.parametrize("imperfections", [Imperfections(), Imperfections(relock_round_trips=3)])
@pytest.mark.parametrize(("pump", "total"), [(1.5, 0.86), (2.0, 0.65)])
def test_far_above_threshold_variances_are_those_of_the_linearized_crystal(
    start, pump, total, imperfections
):
    R, eta, A = 0.2, 0.75, 300.0
    expected = linearized(pump, R=R, eta=eta, A=A)
    assert expected[0] == pytest.approx(total, abs=0.006)
    machine = MeasurementFeedback(
        adc=IDEAL,
        dac=IDEAL,
        coupling_gain=0.0,
        outcoupling=R,
        transmission=eta,
        saturation=A,
        imperfections=imperfections,
        precision="double",
    )
    block = start(machine, np.zeros((160, 160)), runs=160)
    block.mean[:] = np.sqrt(2) * A * np.sqrt(pump - 1)
    for _ in range(300):
        block.advance(pump)
    told = np.var(block.mean)
    error = told * np.sqrt(2 / block.mean.size)
    assert told == pytest.approx(expected[1], abs=4 * error)
    assert told + block.variance.mean() == pytest.approx(expected[0], abs=4 * error)
    assert 4 * error < 0.05 * expected[1]


@pytest.mark.parametrize("pump", [1.5, 2.0])
def test_short_round_trips_have_the_variance_of_the_continuous_crystal(pump):
    # (2p - 1) / 4(p - 1) without a detector: drift -2(p - 1), noise 1 and g^2 X^2 = 2(p - 1)
    total, _ = linearized(pump, R=0.005, eta=0.995, A=300.0)
    assert total == pytest.approx((2 * pump - 1) / (4 * (pump - 1)), rel=0.01)


def test_a_table_of_gains_has_a_row_for_each_pump():
    table = gain_table(np.array([0.0, 1.2]), L, np.float32)
    assert [part.dtype for part in table] == [np.float32] * 2
    np.testing.assert_allclose(table.series[:, :10], gain_series([0.0, 1.2], L), rtol=1e-6)
    np.testing.assert_allclose(table.pump_exponent, [0, 1.2 * L], rtol=1e-6)


@pytest.mark.parametrize("imperfections", [Imperfections(), Imperfections(pump_flicker=1.0)])
def test_no_light_and_no_pump_is_too_much_for_single_precision(start, imperfections):
    machine = MeasurementFeedback(transmission=0.1, imperfections=imperfections)
    block = start(machine, np.zeros((4, 4)), runs=16)
    block.mean[:] = np.logspace(0, 12, 16)
    for _ in range(60):
        block.advance(machine.largest_pump)
        assert np.isfinite(block.mean).all()
        assert (block.variance > 0).all()


def test_a_pump_beyond_the_series_is_refused():
    machine = MeasurementFeedback(transmission=0.1)
    with pytest.raises(ValueError, match=r"pL = 3\.03"):
        gain_table(np.array([1.01 * machine.largest_pump]), machine.loss_exponent, np.float32)
