"""The positive-P representation against exact steady states of the master equation."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from emulator import PositiveP
from emulator.dynamics.base import JobInputs
from emulator.dynamics.positive_p import amplified, turned
from emulator.noise import NoiseKey
from emulator.products.coupling import CouplingMatrix
from emulator.reference import MasterEquation

ALONE = np.zeros((1, 1))
PAIR = np.array([[0.0, 1.0], [1.0, 0.0]])
MANY = 20_000
BATCHES, BATCH = 24, 1000


def averages(dynamics: PositiveP, J: np.ndarray, pump: float, *, settle: int, samples: int):
    """Means of the two moments over independent batches of runs, and their standard errors."""
    field = np.zeros(len(J))
    inputs = JobInputs(
        CouplingMatrix.of(J, field, largest_code=None, dtype=np.float64), NoiseKey.from_seed(1)
    )
    lifetime = round(1 / dynamics.time_step)
    batches = []
    for k in range(BATCHES):
        block = dynamics.start(inputs, first_run=k * BATCH, n_runs=BATCH)
        moments = []
        for step in range(1, (settle + samples) * lifetime + 1):
            block.advance(pump)
            if step > settle * lifetime and step % lifetime == 0:
                moments.append(np.stack(block.moments()))
        batches.append(np.mean(moments, axis=0))
    return np.mean(batches, axis=0), np.std(batches, axis=0, ddof=1) / np.sqrt(BATCHES)


# g^2 = 1 / A_s^2, p, levels of Fock space, lifetimes to settle; <n>, <a^2>
TABLE = [
    (0.01, 0.5, 50, 10, 0.16242639, 0.32800780),
    (0.01, 1.0, 80, 25, 3.27427120, 3.51212886),
    (0.1, 0.5, 40, 10, 0.13529792, 0.29273701),
    (0.1, 1.0, 50, 15, 0.96369281, 1.17853549),
    (0.1, 1.5, 60, 15, 4.40490411, 4.58822424),
    (1.0, 0.9, 30, 8, 0.18191430, 0.34138472),
    (1.0, 1.5, 30, 8, 0.50713731, 0.67643017),
]
FAST = ((0.01, 0.5), (0.1, 1.5))  # below and above threshold


@pytest.mark.parametrize(
    "row",
    [row if row[:2] in FAST else pytest.param(row, marks=pytest.mark.slow) for row in TABLE],
)
def test_moments_are_those_of_the_master_equation(row):
    # up to 5 standard errors of 24 batches, and dt^2
    g2, pump, _, settle, *expected = row
    machine = PositiveP(saturation=g2**-0.5, time_step=0.05)
    moments, errors = averages(machine, ALONE, pump, settle=settle, samples=10)
    assert (errors.ravel() < 0.005 * np.array(expected)).all()
    allowed = 5 * errors.ravel() + 0.05**2 * np.array(expected)
    assert (np.abs(moments.ravel() - expected) < allowed).all()


@pytest.mark.parametrize("xi", [pytest.param(0.2, marks=pytest.mark.slow), -0.3])
def test_a_coupled_pair_has_the_moments_of_its_master_equation(xi):
    # two modes of 9 levels each; couplings enter a step to first order, xi dt
    g2, pump, dt = 0.6, 0.8, 0.02
    optical = MasterEquation.optical(xi * PAIR, pump=pump, saturation=g2**-0.5, levels=9)
    exact, tail = optical.steady_state()
    assert tail < 1e-4
    machine = PositiveP(saturation=g2**-0.5, coupling_gain=abs(xi), time_step=dt)
    moments, errors = averages(machine, np.sign(xi) * PAIR, pump, settle=8, samples=8)
    expected = np.stack([exact.photons, exact.pairs])
    allowed = 5 * errors + abs(xi) * dt * np.abs(expected)
    assert (np.abs(moments - expected) < allowed).all()
    # the pair is correlated, with the sign of its coupling, by far more than the tolerance
    assert (np.abs(expected[:, 0, 1]) > 10 * allowed[:, 0, 1]).all()


def test_below_threshold_modes_have_their_closed_moments(start):
    # linear: loss G = 1 + j - xi lambda, <a^2> = p G / 2(G^2 - p^2), <n> = p^2 / 2(G^2 - p^2)
    loss, xi, pump, dt = 0.3, 0.25, 0.7, 0.02
    machine = PositiveP(saturation=1e4, coupling_gain=xi, coupling_loss=loss, time_step=dt)
    block = start(machine, PAIR, runs=MANY)
    for _ in range(600):
        block.advance(pump)
    photons, pairs = block.moments()
    for sign in (1, -1):
        mode = np.array([1, sign]) / np.sqrt(2)
        G = 1 + loss - sign * xi
        bias = 2 * xi * dt
        n, a2 = pump**2 / (2 * (G**2 - pump**2)), pump * G / (2 * (G**2 - pump**2))
        # both amplitudes are normal, of variance <a^2> and covariance <n>
        error = np.sqrt((a2**2 + n**2) / MANY)
        assert mode @ photons @ mode == pytest.approx(n, abs=4 * error + bias * n)
        assert mode @ pairs @ mode == pytest.approx(a2, abs=4 * np.sqrt(2) * a2 / MANY**0.5 + bias)


def test_a_raised_pump_starts_from_the_amplitudes_there_were(start):
    # linear: d<n +/- a^2>/dt = -2(1 -/+ p)<n +/- a^2> +/- p, from p = 0.3 to 0.8
    block = start(PositiveP(saturation=1e4, time_step=0.02), ALONE, runs=MANY)
    for pump, steps in ((0.3, 400), (0.8, 25)):
        for _ in range(steps):
            block.advance(pump)
    photons, pairs = (moment[0, 0] for moment in block.moments())
    for sign in (1, -1):
        before, after = (sign * p / (2 * (1 - sign * p)) for p in (0.3, 0.8))
        expected = after + (before - after) * np.exp(-2 * (1 - sign * 0.8) * 0.5)
        # the variance of alpha (beta +/- alpha), for normal amplitudes, is below 8 <a^2>^2
        error = np.sqrt(8 / MANY) * pairs
        assert photons + sign * pairs == pytest.approx(expected, abs=4 * error)
    assert pairs > 2 * 0.3 / (2 * (1 - 0.3**2))


def test_moments_converge_with_weak_order_two():
    g2, pump, *_, photons, pairs = TABLE[5]
    biases, errors = [], []
    for dt in (0.5, 0.25):
        machine = PositiveP(saturation=g2**-0.5, time_step=dt)
        moments, error = averages(machine, ALONE, pump, settle=8, samples=40)
        biases.append(moments.ravel() - (photons, pairs))
        errors.append(error.ravel())
    allowed = 4 * np.hypot(errors[0] / 4, errors[1])
    assert (np.abs(biases[1] - biases[0] / 4) < allowed).all()
    assert (np.abs(biases[1] - biases[0] / 2) > allowed).all()


def test_far_above_threshold_amplitudes_are_those_of_a_coherent_state(start):
    # c^2 = p - 1 up to 1 / A_s^2
    block = start(PositiveP(saturation=100.0), ALONE, runs=500)
    for _ in range(1200):
        block.advance(1.5)
    c = np.abs(block.amplitudes())
    assert c.mean() == pytest.approx(np.sqrt(0.5), rel=1e-3)
    assert block.moments().photons[0, 0] == pytest.approx(0.5 * 100**2, rel=2e-3)


def test_without_a_pump_there_is_no_light(start):
    block = start(PositiveP(coupling_gain=0.4), PAIR, runs=10)
    for _ in range(50):
        block.advance(0.0)
    assert (block.amplitudes() == 0).all()
    assert (block.moments().photons == 0).all()
    block.advance(0.5)
    assert 0 < np.abs(block.amplitudes()).max() < np.sqrt(0.5)


def test_amplitudes_never_leave_the_bounded_manifold(start):
    # the most noise there may be, and steps so long that kicks reach the edge
    machine = PositiveP(saturation=1.0, coupling_gain=1.0, coupling_loss=1.0, time_step=0.5)
    block = start(machine, PAIR, runs=5000)
    for pump in np.linspace(0, 20, 300):
        block.advance(pump)
        assert np.abs([block.u, block.v]).max() <= 1
    assert np.abs(block.u).max() > 0.99


@pytest.mark.parametrize(("angle", "kick"), [(0.3, 0.5), (1.4, 0.4), (-1.4, -0.4), (-1.4, 0.4)])
def test_a_kick_past_the_edge_comes_back(angle, kick):
    assert turned(np.sin(angle), kick) == pytest.approx(np.sin(angle + kick), abs=1e-15)


@pytest.mark.parametrize(("u", "v"), [(0.3, 0.8), (0.9, -0.95), (1.0, -0.2), (-0.5, -0.5)])
def test_gain_alone_is_exact(u, v):
    pump, time = 1.3, 0.7

    def slope(_: float, y: np.ndarray) -> np.ndarray:
        return pump * y[::-1] * (1 - y**2)

    after = amplified(u, v, np.cosh(pump * time), np.sinh(pump * time))
    expected = solve_ivp(slope, (0, time), (u, v), rtol=1e-10, atol=1e-12).y[:, -1]
    np.testing.assert_allclose(after, expected, rtol=1e-8)


def test_a_falling_pump_is_refused(start):
    block = start(PositiveP(), ALONE)
    block.advance(0.5)
    with pytest.raises(ValueError, match="only grows"):
        block.advance(0.4)


def test_couplings_stronger_than_their_loss_are_refused(start):
    signs = (-1.0) ** np.arange(6)  # in every row the two couplings cancel
    ring = np.diag(signs[:-1], 1) + np.diag(signs[:-1], -1)
    ring[0, -1] = ring[-1, 0] = signs[-1]
    gain = 0.5 * np.sqrt(2)  # rows of xi |J| add up to 1
    start(PositiveP(coupling_gain=gain, coupling_loss=0.02), ring)
    with pytest.raises(ValueError, match=r"loss allows 0\.99"):
        start(PositiveP(coupling_gain=gain), ring)


@pytest.mark.parametrize("options", [{"saturation": 0.9}, {"time_step": 0}, {"coupling_gain": -1}])
def test_options_out_of_range_are_refused(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        PositiveP(**options)
