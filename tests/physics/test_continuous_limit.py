"""The continuous machine against the published model, short round trips and fine steps."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from emulator import Converter, MeanField, MeasurementFeedback
from emulator.dynamics.base import Dynamics, JobInputs
from emulator.dynamics.gaussian import GaussianFeedback
from emulator.noise import NoiseKey, normals
from emulator.products.coupling import CouplingMatrix
from emulator.reference import master_equation

IDEAL = Converter(full_scale=np.inf)
PAIR = np.array([[0.0, 1.0], [1.0, 0.0]])


def circulant(n: int) -> np.ndarray:
    """Random couplings with rows of equal norm."""
    row = np.random.default_rng(n).normal(size=n)
    row[0] = 0
    J = np.array([np.roll(row, k) for k in range(n)])
    return J + J.T


def begin(dynamics: Dynamics, J: np.ndarray, *, runs: int, round_trips: int = 1) -> Any:
    """A block that knows how long its run is."""
    matrix = CouplingMatrix.of(
        J, np.zeros(len(J)), largest_code=dynamics.largest_code, dtype=np.float64
    )
    inputs = JobInputs(matrix, NoiseKey.from_seed(1), round_trips)
    return dynamics.start(inputs, first_run=0, n_runs=runs)


def advance(block, pump: float, *, steps: int) -> None:
    for _ in range(steps):
        block.advance(pump)


def literature(J: np.ndarray, *, xi: float, g2: float, j0: float, dt: float, steps: int, runs: int):
    """Published equations: mu = X / sqrt(2), Euler; pump at 1.1 thresholds, j falls as e^-3t/T."""
    mu, sigma = np.zeros((len(J), runs)), np.full((len(J), runs), 0.5)
    for step in range(steps):
        dW = np.sqrt(dt) * normals(1, round_trip=step, n_spins=len(J), n_runs=runs)
        j = j0 * np.exp(-3 * step / steps)
        p = 1.1 * (1 + j)
        mu_tilde = mu + np.sqrt(1 / (4 * j)) * dW / dt
        dmu = (-(1 + j) + p - g2 * mu**2) * mu + xi * J @ mu_tilde
        dsigma = 2 * (-(1 + j) + p - 3 * g2 * mu**2) * sigma
        dsigma += -2 * j * (sigma - 0.5) ** 2 + (1 + j) + 2 * g2 * mu**2
        mu, sigma = mu + dmu * dt + np.sqrt(j) * (sigma - 0.5) * dW, sigma + dsigma * dt
    return mu, sigma


def distance_from_the_literature(dt: float) -> tuple[float, float]:
    J, j0, A, time, runs = circulant(8), 1.5, 20.0, 4.0, 200
    norm, steps = np.sqrt((J[0] ** 2).sum()), round(time / dt)
    dynamics = GaussianFeedback(
        measurement_strength=j0,
        measurement_decay=3.0,
        detector_efficiency=0.5,
        saturation=A,
        coupling_gain=0.3,
        time_step=dt,
        precision="double",
    )
    block = begin(dynamics, J, runs=runs, round_trips=steps)
    advance(block, 1.1, steps=steps)
    xi, g2 = (1 + j0) * 0.3 / norm, (1 + j0) / A**2
    mu, sigma = literature(J, xi=xi, g2=g2, j0=j0, dt=dt, steps=steps, runs=runs)
    distances = block.mean - np.sqrt(2) * mu, block.variance - sigma
    return tuple(np.sqrt(np.mean(d**2)) for d in distances)


def test_half_an_efficiency_is_the_published_model_path_by_path():
    coarse, fine = (np.array(distance_from_the_literature(dt)) for dt in (0.01, 0.005))
    np.testing.assert_allclose(coarse / fine, 2, atol=0.25)
    # of X up to 28, and of a variance up to 1
    assert (fine < (0.2, 0.01)).all()


def pending(block) -> np.ndarray:
    """What a discrete machine has yet to inject of its last record."""
    dynamics, coupling = block._dynamics, block._inputs.coupling
    scale = dynamics.loss_exponent * dynamics.unit * dynamics.injection_scale(coupling.unit)
    return scale * coupling.matrix @ block.latest_codes


def distance_from_round_trips(dt: float, *, lit: bool) -> tuple[float, float]:
    """Relative distance of means and variances from those of `MeasurementFeedback`, same noise."""
    J, j, runs = circulant(10), 0.8, 400
    options = {
        "detector_efficiency": 0.7,
        "saturation": 1e6,
        "coupling_gain": 0.3,
        "precision": "double",
    }
    dynamics = GaussianFeedback(measurement_strength=j, time_step=dt, **options)
    continuous = begin(dynamics, J, runs=runs)
    round_trips = MeasurementFeedback(
        transmission=1 - 2 * dt, outcoupling=2 * j * dt, adc=IDEAL, dac=IDEAL, delay=0, **options
    )
    discrete = begin(round_trips, J, runs=runs)
    for block in (continuous, discrete):
        if lit:
            block.mean[:] = np.linspace(-0.2, 0.3, 10)[:, None] * dynamics.unit
        advance(block, 1.2 if lit else 0.7, steps=round(3 / dt))
    means = discrete.mean + pending(discrete) - continuous.mean
    size = np.sqrt(np.mean(continuous.mean**2))
    variances = np.abs(discrete.variance - continuous.variance).mean()
    return float(np.sqrt(np.mean(means**2)) / size), float(variances)


@pytest.mark.parametrize("lit", [False, True], ids=["noise", "light"])
def test_short_round_trips_become_the_continuous_machine_to_first_order(lit):
    # T20: R = 2 j dt and other loss 2 dt; fed-back noise below threshold, saturated light above
    steps = np.array([0.02, 0.01, 0.005, 0.0025])
    means, variances = np.transpose([distance_from_round_trips(dt, lit=lit) for dt in steps])
    assert np.polyfit(np.log(steps), np.log(means), 1)[0] == pytest.approx(1, abs=0.15)
    assert means[-1] < 0.02
    assert np.polyfit(np.log(steps), np.log(variances), 1)[0] == pytest.approx(1, abs=0.15)
    assert variances[-1] < 0.01


def test_the_bright_machine_is_the_mean_field_in_its_own_lifetimes():
    # time runs 1 + j times as fast
    j, J, dt = 1.5, circulant(6), 1e-3
    options = {"coupling_gain": 0.4, "precision": "double"}
    watched = GaussianFeedback(
        measurement_strength=j,
        saturation=1e9,
        time_step=dt,
        read_out="conditional_mean",
        **options,
    )
    pulses = begin(watched, J, runs=1)
    mean = begin(MeanField(time_step=dt * (1 + j), **options), J, runs=1)
    x = np.linspace(-0.2, 0.3, 6)[:, None]
    mean.x[:], pulses.mean[:] = x, x * np.sqrt(2) * 1e9
    for block in (pulses, mean):
        advance(block, 1.1, steps=2000)
    np.testing.assert_allclose(pulses.amplitudes(), mean.amplitudes(), atol=1e-6)
    assert np.abs(mean.amplitudes()).max() > 0.4


def strong_error(dt: float) -> float:
    """Root mean square distance from explicit Euler on a fine grid of the same noise."""
    runs, fine, j, r, g2, xi = 2000, 2.0**-11, 1.0, 2.6, 2.0, 0.5
    dynamics = GaussianFeedback(
        saturation=1.0, coupling_gain=xi / 2, time_step=dt, precision="double"
    )
    block = begin(dynamics, PAIR, runs=runs)
    X, sigma = np.zeros((2, runs)), np.full((2, runs), 0.5)
    rng, parts = np.random.default_rng(1), round(dt / fine)
    for step in range(round(1 / dt)):
        block.advance(r / (1 + j))
        kicks = normals(1, round_trip=step, n_spins=2, n_runs=runs) * np.sqrt(dt)
        # a Brownian bridge: fine increments that add up to the kick
        bridge = rng.normal(scale=np.sqrt(fine), size=(parts, 2, runs))
        bridge += (kicks - bridge.sum(axis=0)) / parts
        for dW in bridge:
            drift = (r - 1 - j - g2 / 2 * X**2) * X + xi * X[::-1]
            slope = 2 * (r - 1 - j - 1.5 * g2 * X**2) * sigma + 1 + j + g2 * X**2
            slope -= 4 * j * (sigma - 0.5) ** 2
            kick = 2 * np.sqrt(j) * (sigma - 0.5) * dW + xi * dW[::-1] / np.sqrt(4 * j)
            X, sigma = X + drift * fine + kick, sigma + slope * fine
    return float(np.sqrt(np.mean((block.mean - X) ** 2)))


def test_paths_converge_with_strong_order_one():
    steps = np.array([1 / 8, 1 / 16, 1 / 32, 1 / 64])
    errors = [strong_error(dt) for dt in steps]
    order = np.polyfit(np.log(steps), np.log(errors), 1)[0]
    assert order == pytest.approx(1, abs=0.15)


@pytest.mark.parametrize(
    ("pump", "levels", "time", "excess"),
    [(0.5, 40, 12, 0.006), pytest.param(1.2, 110, 100, 0.047, marks=pytest.mark.slow)],
)
def test_records_and_rest_add_up_to_the_variance_of_the_master_equation(pump, levels, time, excess):
    # the Gaussian equations leave out how saturation acts on the variance's share of X^2: they
    # are for many photons, and at A_s^2 = 100 find this much too much light
    A2, j, dt = 100.0, 1.0, 0.02
    lone = GaussianFeedback(
        measurement_strength=j, saturation=A2**0.5, coupling_gain=0.0, time_step=dt / (1 + j)
    )
    light = master_equation(lone, np.zeros((1, 1)), pump=pump, levels=levels).steady_state()
    expected = light.moments.x[0, 0]
    block = begin(lone, np.zeros((100, 100)), runs=200)
    advance(block, pump, steps=round(time / dt))
    squares = block.mean**2 + block.variance
    allowed = 4 * squares.std() / np.sqrt(squares.size) + expected * dt
    assert squares.mean() == pytest.approx((1 + excess) * expected, abs=allowed)
