"""Continuous measurement and feedback against closed forms."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from emulator import Converter
from emulator.dynamics.base import JobInputs
from emulator.dynamics.gaussian import GaussianFeedback, evolved_excess
from emulator.noise import NoiseKey
from emulator.products.coupling import CouplingMatrix

PAIR = np.array([[0.0, 1.0], [1.0, 0.0]])
VACUUM = 0.5
LINEAR = 1e9


def machine(**options: object) -> GaussianFeedback:
    """A double-precision machine, without feedback unless asked."""
    return GaussianFeedback(**{"precision": "double", "coupling_gain": 0.0, **options})


def alone(n: int) -> np.ndarray:
    return np.zeros((n, n))


def glass(n: int, seed: int = 0) -> np.ndarray:
    """Circulant random couplings: rows of equal norm."""
    row = np.random.default_rng(seed).normal(size=n)
    row[0] = 0
    J = np.array([np.roll(row, k) for k in range(n)])
    return J + J.T


def begin(dynamics: GaussianFeedback, J: np.ndarray, *, runs: int, round_trips: int = 1):
    """A block that knows how long its run is."""
    matrix = CouplingMatrix.of(
        J, np.zeros(len(J)), largest_code=dynamics.largest_code, dtype=np.float64
    )
    inputs = JobInputs(matrix, NoiseKey.from_seed(1), round_trips)
    return dynamics.start(inputs, first_run=0, n_runs=runs)


def advance(block, pump: float, *, steps: int) -> None:
    for _ in range(steps):
        block.advance(pump)


@pytest.mark.parametrize("efficiency", [0.3, 1.0])
@pytest.mark.parametrize("j", [0.1, 5.0])
def test_vacuum_stays_vacuum_without_a_pump(start, j, efficiency):
    dynamics = machine(measurement_strength=j, detector_efficiency=efficiency)
    block = start(dynamics, alone(4), runs=8)
    advance(block, 0.0, steps=50)
    assert (block.variance == VACUUM).all()
    assert (block.mean == 0).all()


# eta_d, j, rate of the pump in the literature's units, sigma
TABLE = [
    pytest.param(0.5, 1.0, 0.5, 0.6513878189, marks=pytest.mark.slow),
    (0.5, 1.0, 0.9, 0.8174675786),
    (0.5, 0.1, 0.9, 1.8452078799),
    pytest.param(1.0, 1.0, 0.9, 0.7732928050, marks=pytest.mark.slow),
]


@pytest.mark.parametrize(("efficiency", "j", "rate", "sigma"), TABLE)
def test_below_threshold_the_variance_settles_at_its_closed_form(start, efficiency, j, rate, sigma):
    # T19, at any step
    c, k = 1 + j - rate, 4 * j * efficiency
    expected = VACUUM + (-c + np.sqrt(c**2 + k * rate)) / k
    assert expected == pytest.approx(sigma, abs=1e-10)
    for dt in (0.01, 0.3):
        dynamics = machine(
            saturation=LINEAR, measurement_strength=j, detector_efficiency=efficiency, time_step=dt
        )
        block = start(dynamics, alone(2))
        advance(block, rate / (1 + j), steps=round(60 / dt))
        np.testing.assert_allclose(block.variance, expected, rtol=1e-12)


@pytest.mark.parametrize(("efficiency", "j", "rate", "sigma"), TABLE)
def test_records_tell_what_is_missing_of_the_unmonitored_variance(
    start, efficiency, j, rate, sigma
):
    # T15, T19: Var X + sigma = (1 + j) / 2 (1 + j - p); Euler makes Var X wider by c dt / 2
    c, dt = 1 + j - rate, 0.02
    dynamics = machine(
        saturation=LINEAR, measurement_strength=j, detector_efficiency=efficiency, time_step=dt
    )
    block = start(dynamics, alone(200), runs=100)
    advance(block, rate / (1 + j), steps=round(5 / c / dt))
    told = np.var(block.mean)
    allowed = told * (4 * np.sqrt(2 / block.mean.size) + c * dt / 2)
    assert told + sigma == pytest.approx((1 + j) / (2 * c), abs=allowed)


def test_variances_add_up_at_every_moment_of_a_ramp(start):
    # T15; the unmonitored variance obeys V' = 2 (r - 1 - j) V + 1 + j
    j, dt, steps, size = 0.7, 0.005, 800, 20_000
    dynamics = machine(
        saturation=LINEAR, measurement_strength=j, detector_efficiency=0.8, time_step=dt
    )
    block = start(dynamics, alone(200), runs=100)
    V = VACUUM
    for step, pump in enumerate(np.linspace(0, 1.2, steps)):
        block.advance(pump)
        decay = np.exp(2 * (1 + j) * (pump - 1) * dt)
        rest = 0.5 / (1 - pump) if pump != 1 else np.inf
        V = rest + (V - rest) * decay
        if step % 100 == 99:
            told = np.var(block.mean)
            allowed = 4 * told * np.sqrt(2 / size) + 2 * dt * told
            assert told + block.variance[0, 0] == pytest.approx(V, abs=allowed)
    assert V > 3


@pytest.mark.parametrize("xi", [0.6, -0.6])
@pytest.mark.parametrize("efficiency", [0.4, pytest.param(1.0, marks=pytest.mark.slow)])
def test_feedback_of_the_noise_changes_a_mode_as_its_master_equation_says(start, xi, efficiency):
    # Wiseman and Milburn: V = (1 + j - xi + xi^2 / 4 j eta_d) / 2 (1 + j - r - xi)
    j, r, dt = 1.0, 0.8, 0.005
    gain = abs(xi) / (1 + j)
    dynamics = machine(
        saturation=LINEAR,
        measurement_strength=j,
        detector_efficiency=efficiency,
        coupling_gain=gain,
        time_step=dt,
    )
    block = start(dynamics, np.sign(xi) * PAIR, runs=20_000)
    advance(block, r / (1 + j), steps=round(5 / dt))
    for sign in (1, -1):
        loss = 1 + j - r - sign * xi
        mode = (block.mean[0] + sign * block.mean[1]) / np.sqrt(2)
        told = np.var(mode)
        expected = (1 + j - sign * xi + xi**2 / (4 * j * efficiency)) / (2 * loss)
        allowed = told * (4 * np.sqrt(2 / mode.size) + loss * dt / 2)
        assert told + block.variance[0, 0] == pytest.approx(expected, abs=allowed)


def variance_constants(*, r: float, loss: float, j: float, efficiency: float, dt: float):
    """Scalars of a pulse whose loss need not contain any beside the detector."""
    constants = machine(detector_efficiency=efficiency, time_step=dt).move_constants(0.0, j)
    return constants._replace(pump=r, net_gain=r - loss)


def step_variance(sigma: float, depletion: float, constants) -> float:
    return VACUUM + evolved_excess.py_func(sigma - VACUUM, depletion, constants)


def test_at_constant_mean_the_variance_follows_its_riccati_equation(start):
    j, r, efficiency, time = 0.8, 1.7, 0.6, 0.25
    for depletion in (0.0, 0.4, 3.0):

        def slope(_: float, y: np.ndarray, depletion: float = depletion) -> np.ndarray:
            gain = 2 * (r - 1 - j - 3 * depletion) * y
            return gain + (1 + j) + 2 * depletion - 4 * j * efficiency * (y - VACUUM) ** 2

        options = {"r": r, "loss": 1 + j, "j": j, "efficiency": efficiency}
        expected = solve_ivp(slope, (0, time), [0.7], rtol=1e-11, atol=1e-13).y[0, -1]
        sigma = 0.7
        for _ in range(5):
            constants = variance_constants(dt=time / 5, **options)
            sigma = step_variance(sigma, depletion, constants)
        assert sigma == pytest.approx(expected, rel=1e-8)


def test_no_step_is_so_long_that_a_variance_is_not_positive():
    rng = np.random.default_rng(2)
    for _ in range(3000):
        j, r, dt, D = np.exp(rng.uniform((-4, -4, -4, -9), (4, 4, 6, 5)))
        constants = variance_constants(r=r, loss=1 + j, j=j, efficiency=rng.uniform(0.05, 1), dt=dt)
        assert step_variance(np.exp(rng.uniform(-6, 6)), D, constants) > 0


def test_an_ideal_detector_as_the_only_loss_keeps_a_pulse_pure():
    # T13 in continuous time: sigma_X sigma_P = 1/4, sigma_P' = -2 (r + j) sigma_P + j
    j, r, dt = 0.7, 0.5, 0.01
    constants = variance_constants(r=r, loss=j, j=j, efficiency=1.0, dt=dt)
    sigma, rest = VACUUM, j / (2 * (r + j))
    pi = VACUUM
    for _ in range(1000):
        sigma = step_variance(sigma, 0.0, constants)
        pi = rest + (pi - rest) * np.exp(-2 * (r + j) * dt)
        assert sigma * pi == pytest.approx(0.25, abs=1e-12)
    assert sigma == pytest.approx((r + j) / (2 * j), rel=1e-6)


def test_no_pulse_beats_the_uncertainty_relation():
    # T14, with loss beside the detector and an efficiency below 1
    rng = np.random.default_rng(3)
    for _ in range(200):
        j, r, efficiency, dt = rng.uniform((0.05, 0, 0.05, 0.001), (5, 6, 1, 0.3))
        constants = variance_constants(r=r, loss=1 + j, j=j, efficiency=efficiency, dt=dt)
        sigma, pi, rest = VACUUM, VACUUM, (1 + j) / (2 * (r + 1 + j))
        for _ in range(30):
            sigma = step_variance(sigma, 0.0, constants)
            pi = rest + (pi - rest) * np.exp(-2 * (r + 1 + j) * dt)
            assert sigma * pi >= 0.25 - 1e-9


@pytest.mark.parametrize("efficiency", [0.25, 1.0])
def test_the_record_of_vacuum_is_white_shot_noise(start, efficiency):
    # variance 1 / 4 j eta_d dt, and nothing from one step to the next
    j, dt = 2.0, 0.05
    dynamics = machine(
        measurement_strength=j, detector_efficiency=efficiency, time_step=dt, saturation=1.0
    )
    block = start(dynamics, alone(100), runs=200)
    records = []
    for _ in range(2):
        block.advance(0.0)
        records.append(block.codes.ravel() * dynamics.unit)
    shot = 1 / (4 * j * efficiency * dt)
    size = records[0].size
    assert np.var(records[0]) == pytest.approx(shot, rel=4 * np.sqrt(2 / size))
    assert abs(np.mean(records[0] * records[1])) < 4 * shot / np.sqrt(size)


def test_a_measurement_that_decays_leaves_noisier_records_and_the_threshold_where_it_was(start):
    dynamics = machine(measurement_strength=2.0, measurement_decay=3.0, saturation=LINEAR)
    steps, runs = 200, 5000
    block = begin(dynamics, alone(2), runs=runs, round_trips=steps)
    widths = []
    for _ in range(steps):
        before = block.mean.copy()
        block.advance(0.0)
        widths.append(np.std(block.codes))
        assert (block.mean == before).all()
    expected = np.exp(1.5 * (steps - 1) / steps)
    assert widths[-1] / widths[0] == pytest.approx(expected, rel=4 / np.sqrt(2 * runs))
    block.mean[:] = 1e3
    block.advance(1.0)  # at threshold light stays as it is
    np.testing.assert_allclose(block.mean, 1e3, rtol=1e-9)


def test_a_field_acts_like_one_more_spin_of_its_amplitude(start):
    # uniform light on a ring in a field h = 2: x^3 - (p - 1) x = xi (2 x + 2 a)
    n, gain, a, pump = 8, 0.3, 0.1, 1.2
    ring = np.roll(np.eye(n), 1, axis=1) + np.roll(np.eye(n), -1, axis=1)
    dynamics = machine(coupling_gain=gain, field_amplitude=a, saturation=1e8)
    block = start(dynamics, ring, h=[2.0] * n)
    advance(block, pump, steps=2000)
    xi = gain / np.sqrt(2)
    roots = np.roots([1, 0, -(pump - 1) - 2 * xi, -2 * xi * a])
    np.testing.assert_allclose(block.amplitudes(), max(roots.real), rtol=1e-5)


@pytest.mark.parametrize("precision", ["single", "double"])
def test_a_field_without_an_amplitude_follows_the_light(start, precision):
    h = np.array([1.0, -1.0, 0.5, -2.0, 1.0])
    dynamics = GaussianFeedback(precision=precision, saturation=1e3)
    block = start(dynamics, alone(5), h=h, runs=32)
    for pump in np.linspace(0, 1.2, 600):
        block.advance(pump)
    assert (np.sign(block.amplitudes()) == np.sign(h)[:, None]).all()
    assert block.amplitudes().shape == (5, 32)


def test_converters_of_32_bits_are_ideal_and_a_low_full_scale_clips(start):
    J = glass(10)

    def run(bits: int | None, full_scale: float) -> np.ndarray:
        converter = Converter(full_scale=full_scale, bits=bits)
        dynamics = machine(coupling_gain=0.5, adc=converter, dac=converter)
        block = start(dynamics, J, runs=16)
        for pump in np.linspace(0, 1.1, 1500):
            block.advance(pump)
        assert np.abs(block.codes).max() <= converter.top
        return block.amplitudes()

    ideal, fine = run(None, 1.5), run(32, 1.5)
    np.testing.assert_allclose(fine, ideal, atol=1e-6)
    bound = max(np.roots([1, 0, -0.1, -0.01]).real)  # x^3 - (p - 1) x <= 0.01
    assert np.abs(run(None, 0.01)).max() < bound + 0.01 < np.abs(ideal).max() - 0.1


def test_couplings_however_strong_leave_amplitudes_finite(start):
    J = np.ones((50, 50)) - np.eye(50)
    block = start(machine(coupling_gain=500.0, time_step=0.5), J, runs=16)
    advance(block, 1.5, steps=300)
    assert np.isfinite(block.mean).all()
    assert (block.variance > 0).all()


def test_both_signs_are_equally_likely(start):
    block = start(GaussianFeedback(), alone(100), runs=200)
    for pump in np.linspace(0, 2, 400):
        block.advance(pump)
    up = np.mean(block.amplitudes() > 0)
    assert up == pytest.approx(0.5, abs=4 * 0.5 / np.sqrt(block.amplitudes().size))


def test_a_lone_oscillator_settles_at_the_root_of_the_pump_excess(start):
    block = start(machine(saturation=1e4), alone(50), runs=16)
    for pump in (*np.linspace(0, 2, 500), *np.full(1000, 2.0)):
        block.advance(pump)
    # fluctuations of X are of order 1, its mean is sqrt(2) 1e4
    np.testing.assert_allclose(np.abs(block.amplitudes()), 1.0, atol=1e-3)


def test_a_run_does_not_depend_on_its_block_and_single_precision_follows_double(start):
    J = glass(9)
    block = start(machine(coupling_gain=0.4), J, runs=12)
    late = block._dynamics.start(block._inputs, first_run=7, n_runs=5)
    single = start(GaussianFeedback(coupling_gain=0.4), J, runs=12)
    for each in (block, late, single):
        for pump in np.linspace(0, 1.2, 150):
            each.advance(pump)
    np.testing.assert_allclose(late.mean, block.mean[:, 7:], rtol=1e-11)
    assert single.amplitudes().dtype == np.float32
    np.testing.assert_allclose(single.amplitudes(), block.amplitudes(), atol=2e-5)


@pytest.mark.parametrize(
    "options",
    [
        {"measurement_strength": 0.0},
        {"measurement_decay": -1.0},
        {"detector_efficiency": 1.1},
        {"saturation": 0.0},
        {"coupling_gain": -1.0},
        {"field_amplitude": np.inf},
        {"time_step": 0.0},
        {"precision": "half"},
    ],
)
def test_options_out_of_range_are_named(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        GaussianFeedback(**options)
