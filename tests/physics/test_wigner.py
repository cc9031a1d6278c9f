"""The Wigner model against closed forms, its exact stationary law and the master equation."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from emulator import EulerMaruyama, Heun, MeanField, TruncatedWigner
from emulator.noise import Draw, fill_two_noises, normals
from emulator.reference import MasterEquation

ALONE = np.zeros((1, 1))
PAIR = np.array([[0.0, 1.0], [1.0, 0.0]])
MANY = 20_000


def slow(*values: float):
    """Values for the slow tests."""
    return pytest.param(*values, marks=pytest.mark.slow)


def double(**options: object) -> TruncatedWigner:
    return TruncatedWigner(precision="double", **options)


def c_number(**options: object) -> TruncatedWigner:
    return double(ordering_corrections=False, **options)


def settled(start, dynamics: TruncatedWigner, J: np.ndarray, pump: float, *, time: float):
    """A block of many runs that has been at a pump rate for a time."""
    block = start(dynamics, J, runs=MANY)
    for _ in range(round(time / dynamics.time_step)):
        block.advance(pump)
    return block


def test_runs_start_from_vacuum_and_stay_there_without_a_pump(start):
    A = 30.0
    block = start(double(saturation=A), ALONE, runs=MANY)
    for time in (0.0, 2.0):
        for quadrature in (block.c, block.s):
            variance = np.mean(quadrature**2) * 4 * A**2
            assert variance == pytest.approx(1, rel=4 * np.sqrt(2 / MANY)), time
        for _ in range(40):
            block.advance(0.0)


@pytest.mark.parametrize("pump", [slow(0.5), slow(0.9), 1.0])
@pytest.mark.parametrize("loss", [0.0, 0.6])
def test_below_threshold_one_quadrature_is_squeezed_and_the_other_noisy(start, pump, loss):
    # T7 with splitters: (1 + j) / 4A^2 (1 + j -/+ p); j = 0, p = 1: half of vacuum, -3.01 dB
    A = 1e4
    block = settled(start, double(saturation=A, coupling_loss=loss), ALONE, pump, time=40)
    for quadrature, rate in ((block.s, 1 + loss + pump), (block.c, 1 + loss - pump)):
        if rate == 0:
            continue  # at threshold the noisy quadrature never settles
        bias = (rate * 0.05) ** 2 / 6  # of a step between halves of exact decay
        expected = (1 + loss) / (4 * A**2 * rate)
        allowed = 4 * np.sqrt(2 / MANY) + bias
        assert np.mean(quadrature**2) == pytest.approx(expected, rel=allowed)


@pytest.mark.parametrize("lag", [0.5, 2.0])
def test_correlations_decay_with_the_rates_of_the_two_quadratures(start, lag):
    # T7: e^-(1 - p) tau, e^-(1 + p) tau
    pump = 0.6
    block = settled(start, double(saturation=1e4), ALONE, pump, time=20)
    before = block.c.copy(), block.s.copy()
    for _ in range(round(lag / 0.05)):
        block.advance(pump)
    for old, new, rate in zip(before, (block.c, block.s), (1 - pump, 1 + pump), strict=True):
        correlation = np.corrcoef(old[0], new[0])[0, 1]
        expected = np.exp(-rate * lag)
        standard_error = (1 - expected**2) / np.sqrt(MANY)
        assert correlation == pytest.approx(expected, abs=4 * standard_error)


@pytest.mark.parametrize("sign", [slow(1), -1])
def test_a_coupled_mode_has_its_own_threshold(start, sign):
    # linear: G / 4A^2 (G - p) with G = 1 -/+ xi in the two modes of a pair; a kick is O(xi dt) off
    A, xi, pump, dt = 1e4, 0.2, 0.5, 0.02
    machine = double(saturation=A, coupling_gain=xi, time_step=dt)
    block = settled(start, machine, PAIR, pump, time=15)
    mode = (block.c[0] + sign * block.c[1]) / np.sqrt(2)
    expected = (1 - sign * xi) / (4 * A**2 * (1 - pump - sign * xi))
    assert np.mean(mode**2) == pytest.approx(expected, rel=4 * np.sqrt(2 / MANY) + xi * dt)


def stationary_square(A2: float, pump: float, *, corrected: bool) -> float:
    r"""Return E[c^2] of :math:`(c^2 + v)^k e^{-A_s^2c^2}` by quadrature."""
    v = 0.5 * (1 - corrected / A2)
    k = A2 * (pump - 0.5) - (0.5 if corrected else 1.0)
    c = np.linspace(0, np.sqrt(max(pump - 1, 0)) + 4 * A2**-0.25 + 4 * A2**-0.5, 200_001)
    log_law = k * np.log(c**2 + v) - A2 * c**2
    law = np.exp(log_law - log_law.max())
    return float(np.trapezoid(c**2 * law, c) / np.trapezoid(law, c))


@pytest.mark.parametrize(
    ("A2", "pump", "expected"),
    [
        (10, 0.5, 0.0430148),
        (10, 1.0, 0.109497),
        (10, 1.5, 0.392121),
        (10, 2.0, 0.915272),
        (100, 0.5, 0.00490466),
        (100, 0.9, 0.0175506),
        (100, 1.0, 0.0340912),
        (100, 1.1, 0.0813626),
        (100, 1.5, 0.489660),
        (100, 2.0, 0.992442),
        (1e4, 0.5, 4.99900e-5),
        (1e4, 1.0, 3.38296e-3),
        (1e4, 2.0, 0.999925),
    ],
)
def test_the_stationary_law_has_its_tabulated_moments(A2, pump, expected):
    # T8, the reference itself
    assert stationary_square(A2, pump, corrected=False) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(
    ("A2", "pump", "expected", "integrator"),
    [(10, 1.0, 0.109497, Heun()), slow(10, 2.0, 0.915272, EulerMaruyama())],
)
def test_both_senses_have_the_same_stationary_law(start, integrator, A2, pump, expected):
    # T8; without the 1 / 2A^2 that Stratonovich's equation loses more, c^2 would be 5 % off
    dt = 0.02
    machine = c_number(
        saturation=np.sqrt(A2),
        time_step=dt,
        interpretation=integrator.interpretation,
        integrator=integrator,
    )
    block = start(machine, ALONE, runs=MANY)
    squares = np.zeros(MANY)
    for step in range(2000):
        block.s[:] = 0
        block.advance(pump)
        if step >= 800 and step % 40 == 0:
            squares += block.c[0] ** 2 / 30
    # the quadrature's noise re-enters the width, dt / A^2 of it in a step of two stages
    bias = expected * dt if integrator.deterministic_order == 1 else 0.0
    allowed = 4 * squares.std() / np.sqrt(MANY) + bias + expected * dt / A2
    assert squares.mean() == pytest.approx(expected, abs=allowed)


@pytest.mark.parametrize("corrected", [False, True])
@pytest.mark.parametrize(
    ("A2", "pump"), [slow(10, 0.5), slow(10, 1.0), (10, 2.0), slow(100, 1.0), slow(100, 1.5)]
)
def test_without_the_other_quadrature_c_follows_its_exact_law(start, A2, pump, corrected):
    # T8; the weak error is of first order with a factor of about 1 / A_s^2
    dt = 0.05
    machine = double(saturation=np.sqrt(A2), ordering_corrections=corrected, time_step=dt)
    block = start(machine, ALONE, runs=MANY)
    squares = np.zeros(MANY)
    for step in range(1000):
        block.s[:] = 0
        block.advance(pump)
        if step >= 400 and step % 20 == 0:
            squares += block.c[0] ** 2 / 30
    expected = stationary_square(A2, pump, corrected=corrected)
    allowed = 4 * squares.std() / np.sqrt(MANY) + expected * dt / A2
    assert squares.mean() == pytest.approx(expected, abs=allowed)


def test_far_above_threshold_amplitudes_scatter_about_the_root_of_the_excess(start):
    # T9: sqrt(p - 1), variance (p - 1/2) / 4A^2 (p - 1)
    A, pump, dt = 300.0, 1.5, 0.05
    c = np.abs(settled(start, c_number(saturation=A, time_step=dt), ALONE, pump, time=60).c)
    assert np.mean(c) == pytest.approx(np.sqrt(pump - 1), rel=1e-4)
    expected = (pump - 0.5) / (4 * A**2 * (pump - 1))
    bias = (2 * (pump - 1) * dt) ** 2 / 6 + 20 / A**2
    assert np.var(c) == pytest.approx(expected, rel=4 * np.sqrt(2 / MANY) + bias)


def ramp(block, *, steps: int = 400) -> None:
    for pump in np.linspace(0, 2, steps):
        block.advance(pump)


def test_both_signs_are_equally_likely(start):
    # T10
    block = start(TruncatedWigner(), ALONE, runs=MANY)
    ramp(block)
    up = np.mean(block.amplitudes() > 0)
    assert up == pytest.approx(0.5, abs=4 * 0.5 / np.sqrt(MANY))


def test_reversed_noise_gives_exactly_reversed_amplitudes(start):
    # T10
    J = np.random.default_rng(0).choice([-1.0, 1.0], (10, 10))
    J = np.triu(J, 1) + np.triu(J, 1).T
    machine = double(saturation=10.0, coupling_loss=0.5)
    one, other = (start(machine, J, runs=16) for _ in range(2))
    other.c[:], other.s[:] = -one.c, -one.s
    other._kick = one._kick._replace(noise=-one._kick.noise)
    for block in (one, other):
        ramp(block, steps=200)
    assert np.abs(one.c).min() > 0
    assert (one.c == -other.c).all()
    assert (one.s == -other.s).all()


def coupled_amplitude(start, dt: float, *, time: float = 3.0) -> float:
    J = np.ones((4, 4)) - np.eye(4)
    machine = c_number(saturation=1e9, coupling_gain=0.3, time_step=dt)
    block = start(machine, J)
    block.c[:] = 0.1
    for _ in range(round(time / dt)):
        block.advance(1.2)
    return float(block.c[0, 0])


def test_without_noise_coupled_oscillators_follow_the_closed_form_to_first_order(start):
    # a = p - 1 + xi lambda, and rows of norm sqrt(3)
    net = 0.2 + 0.3 * np.sqrt(3)
    expected = np.sqrt(net / (1 + (net / 0.1**2 - 1) * np.exp(-2 * net * 3)))
    errors = [coupled_amplitude(start, dt) - expected for dt in (0.04, 0.02, 0.01)]
    assert abs(errors[-1]) < 2e-3
    assert errors[0] / errors[1] == pytest.approx(2, abs=0.1)
    assert errors[1] / errors[2] == pytest.approx(2, abs=0.05)


@pytest.mark.parametrize("pump", [0.6, 1.0, 1.7])
def test_a_lone_oscillator_without_noise_is_exact_at_any_step(start, pump):
    block = start(c_number(saturation=1e12, time_step=1.5), ALONE)
    block.c[:], block.s[:] = 0.1, 0.9
    block.advance(pump)

    def slope(_: float, y: np.ndarray) -> np.ndarray:
        return (np.array([pump, -pump]) - 1 - y @ y) * y

    expected = solve_ivp(slope, (0, 1.5), (0.1, 0.9), rtol=1e-10, atol=1e-12).y[:, -1]
    np.testing.assert_allclose((block.c[0, 0], block.s[0, 0]), expected, rtol=1e-8)


def test_couplings_however_strong_leave_amplitudes_finite(start):
    J = np.ones((50, 50)) - np.eye(50)
    block = start(double(coupling_gain=500.0, coupling_loss=3600.0), J, runs=16)
    for _ in range(300):
        block.advance(1.5)
    assert np.isfinite(block.c).all()


def test_the_bright_machine_is_the_mean_field(start):
    machine = c_number(saturation=1e12, coupling_gain=0.3, time_step=1e-3)
    J = np.triu(np.random.default_rng(2).normal(size=(6, 6)), 1)
    J = J + J.T
    waves = start(machine, J)
    mean = start(MeanField(coupling_gain=0.3, time_step=1e-3, precision="double"), J)
    waves.s[:] = 0
    waves.c[:] = mean.x[:, :1] = np.linspace(-0.2, 0.3, 6)[:, None]
    for _ in range(4000):
        waves.advance(1.1)
        mean.advance(1.1)
    np.testing.assert_allclose(waves.amplitudes(), mean.amplitudes(), atol=2e-3)
    assert np.abs(mean.amplitudes()).max() > 0.4


def test_a_run_does_not_depend_on_its_block(start):
    block = start(double(), PAIR, runs=12)
    late = TruncatedWigner(precision="double").start(block._inputs, first_run=7, n_runs=5)
    for each in (block, late):
        ramp(each, steps=50)
    np.testing.assert_allclose(late.c, block.c[:, 7:], rtol=1e-12)


def test_single_precision_follows_double(start):
    J = np.triu(np.random.default_rng(2).normal(size=(9, 9)), 1)
    J = J + J.T
    one, other = TruncatedWigner(coupling_loss=1.0), double(coupling_loss=1.0)
    blocks = start(one, J, runs=32), start(other, J, runs=32)
    for block in blocks:
        ramp(block, steps=100)
    single, reference = (block.amplitudes() for block in blocks)
    assert single.dtype == np.float32
    np.testing.assert_allclose(single, reference, atol=2e-4)


def test_spins_beyond_a_counter_go_on_in_the_next():
    waves = np.empty((2**16 + 2, 2))
    fill_two_noises(Draw.of_seed(3), waves)
    for round_trip in (0, 1):
        expected = normals(3, round_trip=round_trip, n_spins=4, n_runs=1).reshape(2, 2)
        np.testing.assert_array_equal(waves[2**16 * round_trip :][:2], expected)


@pytest.mark.parametrize(
    "options",
    [{"saturation": 0.5}, {"saturation": 0.0}, {"time_step": 0.0}, {"coupling_loss": -0.1}],
)
def test_options_out_of_range_are_refused(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        TruncatedWigner(**options)


def test_coupling_loss_makes_room_for_stronger_saturation():
    assert TruncatedWigner(saturation=0.8, coupling_loss=1.0).passive_loss == pytest.approx(0.4375)
    assert TruncatedWigner(saturation=0.5, ordering_corrections=False).passive_loss == 1.0


def variances_of_light(start, dynamics: TruncatedWigner, pump: float, *, time: float):
    """Var X and Var P of photons, each with its standard error."""
    block = start(dynamics, ALONE, runs=MANY)
    squares, samples = np.zeros((2, MANY)), 20
    for step in range(round((time + samples) / dynamics.time_step)):
        block.advance(pump)
        beyond = (step + 1) * dynamics.time_step - time
        if beyond > 0 and step % round(1 / dynamics.time_step) == 0:
            squares += 2 * dynamics.saturation**2 * np.stack([block.c[0], block.s[0]]) ** 2
    squares /= samples
    return squares.mean(axis=1), squares.std(axis=1) / np.sqrt(MANY)


def light_of(g2: float, pump: float, levels: int):
    """The exact moments of one oscillator."""
    exact = MasterEquation.optical(ALONE, pump=pump, saturation=g2**-0.5, levels=levels)
    return exact.steady_state().moments


@pytest.mark.parametrize(
    ("g2", "pump", "levels", "bias"),
    [
        slow(0.01, 0.5, 40, 0.003),
        slow(0.01, 1.0, 80, 0.008),
        slow(0.1, 0.5, 40, 0.02),
        (0.1, 1.0, 50, 0.025),
    ],
)
def test_the_corrected_model_is_close_to_the_master_equation(start, g2, pump, levels, bias):
    # `bias` is what truncation may cost for 1 / A_s^2 <= 0.1
    exact = light_of(g2, pump, levels)
    expected = np.array([exact.x[0, 0], exact.p[0, 0]])
    options = {"saturation": g2**-0.5, "time_step": 0.05}
    corrected, error = variances_of_light(start, double(**options), pump, time=40)
    assert (np.abs(corrected / expected - 1) < bias + 4 * error / expected).all()
    plain, error = variances_of_light(start, c_number(**options), pump, time=40)
    # the c-number model misses the noise of X by several times as much
    assert plain[0] / expected[0] < 1 - 1.5 * bias


@pytest.mark.slow
@pytest.mark.parametrize(("g2", "pump", "levels"), [(0.1, 1.5, 60), (0.01, 1.2, 110)])
def test_the_corrected_model_is_close_above_threshold_too(start, g2, pump, levels):
    exact = light_of(g2, pump, levels)
    expected = exact.x[0, 0]
    machine = double(saturation=g2**-0.5, time_step=0.02)
    variances, error = variances_of_light(start, machine, pump, time=100)
    assert variances[0] == pytest.approx(expected, abs=4 * error[0] + 0.01 * expected)
