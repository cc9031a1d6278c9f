"""The discrete Gaussian model against identities of quantum optics."""

from __future__ import annotations

import numpy as np
import pytest

from emulator import Converter, MeasurementFeedback
from emulator.dynamics.round_trip import measured

IDEAL = Converter(full_scale=np.inf)
VACUUM = 0.5


def linear(**options: object) -> MeasurementFeedback:
    """A machine without converters, too large to saturate, without feedback unless asked."""
    options = {"coupling_gain": 0.0, "saturation": 1e9, **options}
    return MeasurementFeedback(adc=IDEAL, dac=IDEAL, precision="double", **options)


def attenuated(variance: float, transmission: float) -> float:
    return transmission * variance + (1 - transmission) / 2


def measure(
    sigma: float, R: float, efficiency: float = 1.0, electronic: float = 0.0, eta: float = 1.0
) -> float:
    """Variance of X after a loss and the out-coupler, given the record."""
    machine = linear(
        outcoupling=R, detector_efficiency=efficiency, electronic_noise=electronic, transmission=eta
    )
    _, after, _ = measured(0.0, sigma, 1.0, 0.0, machine.constants())
    return after


@pytest.mark.parametrize("R", [0.02, 0.2, 0.77])
@pytest.mark.parametrize("transmission", [0.1, 0.8, 1.0])
def test_vacuum_stays_vacuum_without_a_pump(start, R, transmission):
    # T12
    machine = linear(outcoupling=R, transmission=transmission, electronic_noise=0.3)
    block = start(machine, np.zeros((4, 4)), runs=8)
    for _ in range(50):
        block.advance(0.0)
        assert (block.variance == VACUUM).all()


def test_an_ideal_measurement_has_a_closed_form_and_conserves_purity():
    # T13: sigma / (1 + R (2 sigma - 1)), sigma pi = 1/4
    rng = np.random.default_rng(0)
    sigma, R = np.exp(rng.uniform(-3, 3, 300)), rng.uniform(0.01, 0.99, 300)
    pi = 0.25 / sigma
    after = np.array([measure(*pair) for pair in zip(sigma, R, strict=True)])
    np.testing.assert_allclose(after, sigma / (1 + R * (2 * sigma - 1)), rtol=1e-13)
    np.testing.assert_allclose(after * attenuated(pi, 1 - R), 0.25, rtol=1e-13)


def test_purity_is_conserved_over_many_lossless_round_trips():
    # T13 through the gain: sigma G^2, pi / G^2
    sigma, pi, R, gain = 0.5, 0.5, 0.1, 1.03
    for _ in range(200):
        sigma, pi = sigma * gain**2, pi / gain**2
        sigma, pi = measure(sigma, R), attenuated(pi, 1 - R)
        assert sigma * pi == pytest.approx(0.25, abs=1e-14)
    assert sigma > 0.55


def test_no_sequence_of_operations_beats_the_uncertainty_relation():
    # T14: sigma pi >= 1/4
    rng = np.random.default_rng(1)
    sigma = pi = 0.5
    for _ in range(300):
        gain, eta, R, efficiency = rng.uniform((0.7, 0.3, 0.01, 0.1), (1.5, 1, 0.9, 1))
        sigma, pi = sigma * gain**2, pi / gain**2
        sigma = measure(sigma, R, efficiency, rng.uniform(0, 1), eta)
        pi = attenuated(attenuated(pi, eta), 1 - R)
        assert sigma * pi >= 0.25 - 1e-12


@pytest.mark.parametrize("efficiency", [0.3, 1.0])
def test_what_records_tell_and_what_remains_add_up_to_the_unmonitored_variance(start, efficiency):
    # T15, the law of total variance
    pump, R, eta = 0.85, 0.1, 0.8
    machine = linear(outcoupling=R, transmission=eta, detector_efficiency=efficiency)
    block = start(machine, np.zeros((200, 200)), runs=128)
    unmonitored = VACUUM
    for _ in range(60):
        block.advance(pump)
        amplified = unmonitored * np.exp(2 * pump * machine.loss_exponent)
        lossy = eta * amplified + (1 - eta) / 2
        unmonitored = (1 - R) * lossy + R / 2
    told = np.var(block.mean)
    assert told > 0.05
    standard_error = told * np.sqrt(2 / block.mean.size)
    assert told + block.variance[0, 0] == pytest.approx(unmonitored, abs=4 * standard_error)


@pytest.mark.parametrize("electronic_noise", [0.0, 0.6])
def test_the_record_of_vacuum_is_shot_noise_plus_electronic_noise(start, electronic_noise):
    # T16, with a lossy detector
    machine = linear(electronic_noise=electronic_noise, detector_efficiency=0.7)
    block = start(machine, np.zeros((200, 200)), runs=128)
    block.advance(0.0)
    volts = np.sqrt(machine.outcoupling * 0.7) * machine.unit
    records = block.latest_codes * volts
    standard_error = np.sqrt(2 / records.size)
    assert np.var(records) == pytest.approx(0.5 + electronic_noise**2, rel=4 * standard_error)
    assert abs(records.mean()) < 4 * np.std(records) / np.sqrt(records.size)


@pytest.mark.parametrize(("delay", "growth"), [(0, 1.05), (1, 1.0437171)])
def test_a_delayed_mode_grows_with_the_largest_root(start, delay, growth):
    # T18: z^(d + 1) = a z^d + b, a = 0.9, b = 0.15
    a, b, R = 0.9, 0.15, 0.2
    L = linear(outcoupling=R).loss_exponent
    gain = b * np.sqrt(1 - R) / (a * L)
    machine = linear(outcoupling=R, delay=delay, coupling_gain=gain, saturation=1e15)
    block = start(machine, [[0.0, 1.0], [1.0, 0.0]])
    block.mean[:] = 1e9
    pump = 1 + np.log(a) / L
    for _ in range(80):
        block.advance(pump)
    before = block.mean.copy()
    block.advance(pump)
    np.testing.assert_allclose(block.mean / before, growth, rtol=1e-7)
    roots = np.roots([1, -a, -b] if delay else [1, -a - b])
    assert growth == pytest.approx(max(abs(roots)), abs=1e-7)


def continuous_variance(pump: float, j: float, efficiency: float) -> float:
    """Return sigma of the continuous limit, below threshold (T19)."""
    c = 1 + j - pump
    return 0.5 + (-c + np.sqrt(c**2 + 4 * j * efficiency * pump)) / (4 * j * efficiency)


def discrete_variance(dt: float, pump: float, j: float, efficiency: float) -> float:
    """Stationary sigma of round trips that last `dt` lifetimes each."""
    R, eta, sigma = 2 * j * dt, np.exp(-2 * dt), 0.5
    for _ in range(round(20 / dt)):
        amplified = sigma * np.exp(2 * pump * dt)
        sigma = measure(amplified, R, efficiency, eta=eta)
    return sigma


@pytest.mark.parametrize(
    ("efficiency", "j", "pump", "sigma"),
    [
        (0.5, 1.0, 0.5, 0.6513878189),
        (0.5, 1.0, 0.9, 0.8174675786),
        (0.5, 0.1, 0.9, 1.8452078799),
        (1.0, 1.0, 0.9, 0.7732928050),
    ],
)
def test_short_round_trips_approach_the_continuous_limit_to_first_order(efficiency, j, pump, sigma):
    # T19, T20
    assert continuous_variance(pump, j, efficiency) == pytest.approx(sigma, abs=1e-10)
    errors = [discrete_variance(dt, pump, j, efficiency) - sigma for dt in (0.01, 0.005)]
    assert errors[0] / errors[1] == pytest.approx(2, abs=0.1)
    assert abs(errors[1]) < 0.02


def test_a_lone_oscillator_settles_near_the_root_of_the_pump_excess(start):
    # x^2 = p - 1 up to O(L), here L = 0.02, and O(1 / A_s) noise
    options = {"transmission": 0.98, "outcoupling": 0.02, "saturation": 1e4}
    block = start(linear(**options), np.zeros((50, 50)), runs=16)
    for _ in range(2000):
        block.advance(1.5)
    np.testing.assert_allclose(np.abs(block.amplitudes()), np.sqrt(0.5), rtol=0.03)


def test_both_signs_are_equally_likely_without_couplings(start):
    block = start(MeasurementFeedback(), np.zeros((100, 100)), runs=100)
    for pump in np.linspace(0, 2, 200):
        block.advance(pump)
    up = np.mean(block.amplitudes() > 0)
    assert up == pytest.approx(0.5, abs=4 * 0.5 / np.sqrt(block.amplitudes().size))
