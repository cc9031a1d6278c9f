"""Integrators: the law they converge to, and the orders at which they do."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from emulator import (
    EulerMaruyama,
    Heun,
    LinearlyImplicitEuler,
    MeanField,
    PositiveP,
    RungeKutta4,
    StrangSplitting,
    TruncatedWigner,
)
from emulator.integrators import Equation
from emulator.noise import normals

ALONE = np.zeros((1, 1))
PAIR = np.array([[0.0, 1.0], [1.0, 0.0]])
SENSES = {EulerMaruyama(): "ito", Heun(): "stratonovich", RungeKutta4(): "stratonovich"}


def slow(*values: object):
    """Values for the slow tests."""
    return pytest.param(*values, marks=pytest.mark.slow)


def order(steps: list[float], errors: list[float]) -> float:
    return float(np.polyfit(np.log(steps), np.log(errors), 1)[0])


class Investment(Equation):
    """dx = a dt + b x dW along a given path, of which every step size has its own view."""

    a, b = 1.0, 0.8

    def __init__(self, path: np.ndarray, dt: float) -> None:
        self.state = np.ones((1, path.shape[1]))
        self.increments = iter(path.reshape(round(1 / dt), -1, path.shape[1]).sum(axis=1))
        self.dt = dt

    def draw(self) -> None:
        self.kick = next(self.increments)

    def increment(self, state, pump, out) -> None:
        out[:] = self.a * self.dt + self.b * self.kick * state

    @classmethod
    def solution(cls, path: np.ndarray, sense: str) -> np.ndarray:
        r"""Return :math:`E(1)(1 + a\int dt / E(t))`, where E solves the equation for a = 0."""
        times = np.linspace(0, 1, len(path) + 1)[:, None]
        walk = np.concatenate([np.zeros((1, path.shape[1])), np.cumsum(path, axis=0)])
        E = np.exp(cls.b * walk - (0.5 * cls.b**2 * times if sense == "ito" else 0.0))
        return E[-1] * (1 + cls.a * np.trapezoid(1 / E, times, axis=0))


@pytest.fixture(scope="module")
def brownian_path() -> np.ndarray:
    return np.random.default_rng(5).normal(scale=2.0**-5.5, size=(2**11, 1000))


def path_errors(integrator, path: np.ndarray, sense: str, steps: list[float]) -> list[float]:
    """Root mean square distances from the exact solution at time 1."""
    errors = []
    for dt in steps:
        equation = Investment(path, dt)
        for _ in range(round(1 / dt)):
            integrator.step(equation, 1.0)
        errors.append(np.sqrt(np.mean((equation.state - Investment.solution(path, sense)) ** 2)))
    return errors


@pytest.mark.parametrize("integrator", SENSES)
def test_paths_have_the_strong_order_and_the_sense_that_are_stated(integrator, brownian_path):
    steps = [2.0**-3, 2.0**-4, 2.0**-5, 2.0**-6]
    right = path_errors(integrator, brownian_path, integrator.interpretation, steps)
    assert integrator.interpretation == SENSES[integrator]
    assert order(steps, right) == pytest.approx(integrator.strong_order, abs=0.12)
    other = {"ito": "stratonovich", "stratonovich": "ito"}[integrator.interpretation]
    wrong = path_errors(integrator, brownian_path, other, steps[-1:])
    # the other sense is about a factor of e^(b^2 / 2) away
    assert wrong[0] > 5 * right[-1]


def closed_form(x0: float, net: float, t: float) -> float:
    return np.sqrt(net / (1 + (net / x0**2 - 1) * np.exp(-2 * net * t)))


def lone_error(start, integrator, dt: float) -> float:
    machine = MeanField(integrator=integrator, time_step=dt, precision="double")
    block = start(machine, ALONE)
    block.x[:] = 0.1
    for _ in range(round(4 / dt)):
        block.advance(1.7)
    return abs(block.amplitudes()[0, 0] - closed_form(0.1, 0.7, 4.0))


@pytest.mark.parametrize(
    ("integrator", "steps", "last"),
    [
        (LinearlyImplicitEuler(), [0.02, 0.01, 0.005], 2e-3),
        (EulerMaruyama(), [0.02, 0.01, 0.005], 2e-3),
        (Heun(), [0.08, 0.04, 0.02], 2e-4),
        (RungeKutta4(), [0.2, 0.1, 0.05], 1e-6),
    ],
)
def test_without_noise_the_order_is_the_one_stated(start, integrator, steps, last):
    # T1
    errors = [lone_error(start, integrator, dt) for dt in steps]
    assert order(steps, errors) == pytest.approx(integrator.deterministic_order, abs=0.1)
    assert errors[-1] < last


def test_runge_kutta_is_within_1e_9_at_a_step_of_a_hundredth(start):
    # T1
    assert lone_error(start, RungeKutta4(), 0.01) < 1e-9


def coupled_error(start, integrator, dt: float) -> float:
    """A bright uniform ferromagnet of 4 spins against a = p - 1 + 3 xi."""
    xi, J = 0.3, np.ones((4, 4)) - np.eye(4)
    machine = TruncatedWigner(
        saturation=1e12,
        ordering_corrections=False,
        coupling_gain=xi * np.sqrt(3),
        time_step=dt,
        interpretation=integrator.interpretation,
        integrator=integrator,
        precision="double",
    )
    block = start(machine, J)
    block.c[:] = 0.1
    for _ in range(round(3 / dt)):
        block.advance(1.2)
    return abs(block.c[0, 0] - closed_form(0.1, 0.2 + 3 * xi, 3.0))


@pytest.mark.parametrize("integrator", [*SENSES, StrangSplitting()])
def test_without_noise_coupled_waves_converge_at_the_order_stated(start, integrator):
    # below 1e-9 there would be noise of width 1 / A_s
    steps = [0.1, 0.05, 0.025] if integrator.deterministic_order == 4 else [0.02, 0.01, 0.005]
    errors = [coupled_error(start, integrator, dt) for dt in steps]
    assert order(steps, errors) == pytest.approx(integrator.deterministic_order, abs=0.12)


def bridges(dt: float, fine: float, counter: int, runs: int, rng):
    """Fine increments of two noises that add up to the machine's own of one step."""
    parts = round(dt / fine)
    kicks = normals(1, round_trip=counter, n_spins=2, n_runs=runs) * np.sqrt(dt)
    bridge = rng.normal(scale=np.sqrt(fine), size=(parts, 2, runs))
    bridge += (kicks - bridge.sum(axis=0)) / parts
    return bridge


def distance(x: np.ndarray, y: np.ndarray) -> float:
    return float(np.sqrt(np.mean((x - y) ** 2)))


def mean_field_drift(saturation: str, x: np.ndarray, drive: np.ndarray, pump: float):
    if saturation == "cubic":
        return (pump - 1 - x**2) * x + drive
    if saturation == "tanh":
        return np.tanh(pump * x + drive) - x
    if saturation == "sine":
        return np.cos(pump * x + drive - np.pi / 4) ** 2 - 0.5 - x
    return (pump - 1) * x + drive


def mean_field_error(start, integrator, saturation: str, dt: float) -> float:
    """Distance of noisy paths of a pair from Heun's on a fine grid of the same noise."""
    runs, pump, xi, noise, fine = 500, 1.3, 0.4, 0.5, 2.0**-10
    machine = MeanField(
        coupling_gain=xi,
        time_step=dt,
        noise=noise,
        saturation=saturation,
        integrator=integrator,
        precision="double",
    )
    block = start(machine, PAIR, runs=runs)
    block.x[:] = [[0.3], [-0.5]]
    x, rng = block.x.copy(), np.random.default_rng(1)
    bound = 1.0 if saturation == "clip" else np.inf

    def change(x, dw):
        return mean_field_drift(saturation, x, xi * x[::-1], pump) * fine + noise * dw

    for step in range(1, round(1 / dt) + 1):
        block.advance(pump)
        for dw in bridges(dt, fine, step, runs, rng):
            first = change(x, dw)
            second = change(np.clip(x + first, -bound, bound), dw)
            x = np.clip(x + 0.5 * (first + second), -bound, bound)
    return distance(block.x, x)


@pytest.mark.parametrize("saturation", ["cubic", slow("tanh"), slow("sine")])
@pytest.mark.parametrize("integrator", [LinearlyImplicitEuler(), *SENSES])
def test_with_additive_noise_every_integrator_has_its_order(start, integrator, saturation):
    steps = [2.0**-3, 2.0**-4, 2.0**-5, 2.0**-6]
    errors = [mean_field_error(start, integrator, saturation, dt) for dt in steps]
    assert order(steps, errors) == pytest.approx(integrator.additive_order, abs=0.1)


def test_at_walls_any_integrator_has_strong_order_one_half(start):
    # between two steps a path touches a wall that neither end shows
    steps = [2.0**-3, 2.0**-4, 2.0**-5, 2.0**-6]
    for integrator in (EulerMaruyama(), Heun()):
        errors = [mean_field_error(start, integrator, "clip", dt) for dt in steps]
        assert order(steps, errors) == pytest.approx(0.5, abs=0.12)


def wigner_error(start, integrator, dt: float) -> float:
    """Distance from Euler-Maruyama in Itô's sense on a fine grid of the same noise."""
    runs, pump, fine = 700, 1.2, 2.0**-12
    machine = TruncatedWigner(
        saturation=1.0,
        ordering_corrections=False,
        time_step=dt,
        interpretation=integrator.interpretation,
        integrator=integrator,
        precision="double",
    )
    block = start(machine, ALONE, runs=runs)
    block.c[:], block.s[:] = 0.7, -0.4
    c, s = block.c[0].copy(), block.s[0].copy()
    rng = np.random.default_rng(1)
    for step in range(1, round(0.5 / dt) + 1):
        block.advance(pump)
        for dc, ds in bridges(dt, fine, 2 * step, runs, rng):
            square = c * c + s * s
            width = np.sqrt(square + 0.5)
            c, s = (
                c + (pump - 1 - square) * c * fine + width * dc,
                s + (-pump - 1 - square) * s * fine + width * ds,
            )
    return distance(block.state.reshape(2, runs), np.stack([c, s]))


@pytest.mark.parametrize("integrator", [*map(slow, SENSES), StrangSplitting()])
def test_noises_of_two_quadratures_do_not_commute_and_leave_order_one_half(start, integrator):
    steps = [2.0**-5, 2.0**-6, 2.0**-7, 2.0**-8]
    errors = [wigner_error(start, integrator, dt) for dt in steps]
    assert order(steps, errors) == pytest.approx(0.5, abs=0.13)
    assert errors[-1] < 0.03


def positive_p_error(start, integrator, dt: float) -> float:
    """Distance from Euler for the angles, whose noise is additive, on a fine grid."""
    runs, g, pump, fine = 700, 0.6, 1.2, 2.0**-11
    machine = PositiveP(
        saturation=1 / g,
        time_step=dt,
        interpretation=integrator.interpretation,
        integrator=integrator,
    )
    block = start(machine, ALONE, runs=runs)
    angles, rng = np.tile([[0.5], [-0.2]], runs), np.random.default_rng(1)
    block.pump = pump
    block.u[:], block.v[:] = np.sin(angles)
    for step in range(round(1 / dt)):
        block.advance(pump)
        for kick in bridges(dt, fine, 2 * step, runs, rng):
            sines = np.sin(angles)
            gain = pump * sines[::-1] * np.cos(angles)
            angles += (gain - (1 - g**2 / 2) * np.tan(angles)) * fine + g * kick
    return distance(block.state.reshape(2, runs), np.sin(angles))


@pytest.mark.parametrize(
    ("integrator", "expected"),
    [
        (EulerMaruyama(), 0.5),
        slow(Heun(), 1.0),
        slow(RungeKutta4(), 1.0),
        (StrangSplitting(), 1.0),
    ],
)
def test_noises_of_the_positive_p_representation_commute(start, integrator, expected):
    steps = [2.0**-4, 2.0**-5, 2.0**-6, 2.0**-7]
    errors = [positive_p_error(start, integrator, dt) for dt in steps]
    assert order(steps, errors) == pytest.approx(expected, abs=0.15)


@pytest.mark.parametrize("integrator", [*SENSES, LinearlyImplicitEuler()])
def test_single_precision_stays_single_and_follows_double(start, integrator):
    J = np.triu(np.random.default_rng(2).normal(size=(9, 9)), 1)
    blocks = [
        start(MeanField(integrator=integrator, noise=0.1, precision=precision), J + J.T, runs=16)
        for precision in ("single", "double")
    ]
    for block in blocks:
        for pump in np.linspace(0.5, 1.2, 60):
            block.advance(pump)
    single, double = (block.amplitudes() for block in blocks)
    assert single.dtype == np.float32
    np.testing.assert_allclose(single, double, atol=2e-5)


@pytest.mark.parametrize("integrator", SENSES)
def test_a_run_does_not_depend_on_its_block(start, integrator):
    machine = TruncatedWigner(
        interpretation=integrator.interpretation, integrator=integrator, precision="double"
    )
    block = start(machine, PAIR, runs=12)
    late = machine.start(block._inputs, first_run=7, n_runs=5)
    for each in (block, late):
        for pump in np.linspace(0, 2, 50):
            each.advance(pump)
    np.testing.assert_allclose(late.c, block.c[:, 7:], rtol=1e-12)


def test_refined_steps_of_one_integrator_agree_with_those_of_another(start):
    # no noise: all solve the same equation, couplings and field included
    J, h = np.array([[0.0, 1.0, -2.0], [1.0, 0.0, 0.5], [-2.0, 0.5, 0.0]]), [0.3, -0.1, 0.2]
    ends = []
    for integrator, dt in ((RungeKutta4(), 0.05), (Heun(), 2e-3), (LinearlyImplicitEuler(), 1e-4)):
        machine = MeanField(
            integrator=integrator, time_step=dt, drive_limit=0.4, precision="double"
        )
        block = start(machine, J, h=h)
        block.x[:3, 0] = 0.1, -0.2, 0.3
        for _ in range(round(2 / dt)):
            block.advance(1.1)
        ends.append(block.amplitudes()[:, 0])
    for one, other in pairwise(ends):
        np.testing.assert_allclose(one, other, atol=1e-4)
