"""The master equations in Fock space against closed forms, and against another program."""

from __future__ import annotations

import numpy as np
import pytest

from emulator import GaussianFeedback, MeanField, PositiveP, TruncatedWigner
from emulator.reference import MasterEquation, master_equation

ALONE = np.zeros((1, 1))
PAIR = np.array([[0.0, 1.0], [1.0, 0.0]])
LINEAR = 1e4

# g^2 = 1 / A_s^2, p, levels of Fock space; <n>, <a^2>
TABLE = [
    (0.01, 0.5, 50, 0.16242639, 0.32800780),
    (0.01, 1.0, 80, 3.27427120, 3.51212886),
    (0.1, 0.5, 40, 0.13529792, 0.29273701),
    (0.1, 1.0, 50, 0.96369281, 1.17853549),
    (0.1, 1.5, 60, 4.40490411, 4.58822424),
    (1.0, 0.9, 30, 0.18191430, 0.34138472),
    (1.0, 1.5, 30, 0.50713731, 0.67643017),
]


@pytest.mark.parametrize(("g2", "pump", "levels", "photons", "pairs"), TABLE)
def test_one_oscillator_has_its_tabulated_steady_state(g2, pump, levels, photons, pairs):
    exact = MasterEquation.optical(ALONE, pump=pump, saturation=g2**-0.5, levels=levels)
    moments, tail = exact.steady_state()
    assert tail < 1e-11
    assert moments.photons[0, 0] == pytest.approx(photons, abs=1e-7)
    assert moments.pairs[0, 0] == pytest.approx(pairs, abs=1e-7)


@pytest.mark.parametrize("xi", [0.3, -0.3])
@pytest.mark.parametrize("loss", [0.0, 0.4])
def test_coupled_modes_below_threshold_have_their_closed_moments(xi, loss):
    # G / 2 (G -/+ p) of X and P, with the loss G = 1 + j - xi lambda
    pump = 0.2
    exact = MasterEquation.optical(
        xi * PAIR, pump=pump, saturation=LINEAR, levels=14, coupling_loss=loss
    )
    moments, tail = exact.steady_state()
    for sign in (1, -1):
        mode, G = np.array([1, sign]) / np.sqrt(2), 1 + loss - sign * xi
        assert mode @ moments.x @ mode == pytest.approx(G / (2 * (G - pump)), abs=1e-7 + 300 * tail)
        assert mode @ moments.p @ mode == pytest.approx(G / (2 * (G + pump)), abs=1e-7 + 300 * tail)
    # a Gaussian state: <X1^2 X2^2> = <X1^2><X2^2> + 2 <X1X2>^2
    wick = moments.x[0, 0] * moments.x[1, 1] + 2 * moments.x[0, 1] ** 2
    assert moments.x_fourth[0, 1] == pytest.approx(wick, abs=1e-6 + 1000 * tail)
    assert moments.x_fourth[0, 0] == pytest.approx(3 * moments.x[0, 0] ** 2, abs=1e-6 + 1000 * tail)
    assert tail < 1e-5


@pytest.mark.parametrize("xi", [0.3, -0.3])
@pytest.mark.parametrize("efficiency", [0.6, 1.0])
def test_measured_modes_below_threshold_have_their_closed_moments(xi, efficiency):
    # (1 + j - xi + xi^2 / 4 j eta_d) / 2 (1 + j - r - xi); P knows nothing of the feedback
    j, pump = 0.8, 0.2
    r, options = (1 + j) * pump, {"measurement_strength": j, "detector_efficiency": efficiency}
    exact = MasterEquation.measured(xi * PAIR, pump=pump, saturation=LINEAR, levels=13, **options)
    moments, tail = exact.steady_state()
    for sign in (1, -1):
        mode, loss = np.array([1, sign]) / np.sqrt(2), 1 + j - r - sign * xi
        expected = (1 + j - sign * xi + xi**2 / (4 * j * efficiency)) / (2 * loss)
        assert mode @ moments.x @ mode == pytest.approx(expected, abs=1e-7 + 300 * tail)
        assert mode @ moments.p @ mode == pytest.approx(
            (1 + j) / (2 * (1 + j + r)), abs=1e-7 + 300 * tail
        )
    assert tail < 1e-5


def test_without_a_pump_splitters_keep_the_vacuum_and_feedback_makes_light():
    moments, tail = MasterEquation.optical(
        0.7 * PAIR, pump=0.0, saturation=2.0, levels=5
    ).steady_state()
    np.testing.assert_allclose([moments.x, moments.p], [0.5 * np.eye(2)] * 2, atol=1e-9)
    assert tail < 1e-12
    moments, _ = MasterEquation.measured(
        0.7 * PAIR, pump=0.0, saturation=2.0, levels=8
    ).steady_state()
    assert moments.x[0, 0] > 0.51
    assert moments.p[0, 0] >= 0.5 - 1e-9


@pytest.mark.parametrize("make", [MasterEquation.optical, MasterEquation.measured])
def test_a_gauge_flip_of_one_oscillator_flips_its_correlations_alone(make):
    options = {"pump": 0.6, "saturation": 2.0, "levels": 9}
    one, other = (make(xi * PAIR, **options).steady_state().moments for xi in (0.3, -0.3))
    flip = np.array([[1, -1], [-1, 1]])
    np.testing.assert_allclose(one.x, flip * other.x, atol=1e-7)
    np.testing.assert_allclose(one.p, flip * other.p, atol=1e-7)
    np.testing.assert_allclose(one.x_fourth, other.x_fourth, atol=1e-6)
    assert one.x[0, 1] > 0.02


@pytest.mark.parametrize("make", [MasterEquation.optical, MasterEquation.measured])
def test_vacuum_becomes_the_steady_state(make):
    exact = make(0.2 * PAIR, pump=0.5, saturation=1.5, levels=8)
    early, late = exact.at([0.3, 15.0])
    steady = exact.steady_state()
    np.testing.assert_allclose(late.moments, steady.moments, atol=1e-5)
    assert abs(early.moments.x[0, 0] - steady.moments.x[0, 0]) > 0.01


def test_the_weight_of_the_highest_levels_tells_how_far_moments_are_off():
    exact, *rest = (
        MasterEquation.optical(ALONE, pump=1.2, saturation=3.0, levels=n).steady_state()
        for n in (60, 14, 20, 28)
    )
    errors = [abs(some.moments.x[0, 0] - exact.moments.x[0, 0]) for some in rest]
    tails = [some.tail for some in rest]
    assert tails == sorted(tails, reverse=True)
    assert all(e < 300 * t for e, t in zip(errors, tails, strict=True))
    assert errors[-1] < 0.01 * errors[0]


def test_a_dynamics_has_the_master_equation_of_its_units():
    # |J| = 3, and the loss 1 + j of a measured oscillator
    optical = TruncatedWigner(saturation=2.0, coupling_gain=0.3, coupling_loss=0.2)
    measured = GaussianFeedback(saturation=2.0, coupling_gain=0.3, measurement_strength=0.5)
    plain = {"pump": 0.5, "saturation": 2.0, "levels": 8}
    pairs = (
        (optical, MasterEquation.optical(0.3 * PAIR, coupling_loss=0.2, **plain)),
        (
            PositiveP(saturation=2.0, coupling_gain=0.3, coupling_loss=0.2),
            MasterEquation.optical(0.3 * PAIR, coupling_loss=0.2, **plain),
        ),
        (measured, MasterEquation.measured(0.45 * PAIR, measurement_strength=0.5, **plain)),
    )
    for dynamics, expected in pairs:
        found = master_equation(dynamics, 3 * PAIR, pump=0.5, levels=8).steady_state()
        np.testing.assert_allclose(found.moments, expected.steady_state().moments, atol=1e-9)
    with pytest.raises(TypeError, match="MeanField has no master equation"):
        master_equation(MeanField(), PAIR, pump=0.5, levels=8)


@pytest.mark.parametrize(
    ("J", "levels", "message"),
    [
        (PAIR, 31, "2 oscillators of 31 levels: one or two, of 3 to 30 levels"),
        (PAIR, 2, "3 to 30 levels"),
        (np.zeros((3, 3)), 9, "3 oscillators of 9 levels: one or two"),
        ([[0, 1], [0, 0]], 5, "must be symmetric"),
        (np.nan * PAIR, 5, "must be symmetric and finite"),
        (np.zeros((0, 0)), 5, "must be symmetric"),
        (1.1 * PAIR, 5, "splitters cannot amplify"),
    ],
)
def test_what_cannot_be_solved_is_refused(J, levels, message):
    with pytest.raises(ValueError, match=message):
        MasterEquation.optical(J, pump=0.5, saturation=2.0, levels=levels)


@pytest.mark.parametrize("times", [[], [-1.0], [np.nan], [np.inf], [1.0, 0.5]])
def test_times_that_do_not_increase_from_vacuum_on_are_refused(times):
    with pytest.raises(ValueError, match="must increase"):
        MasterEquation.optical(PAIR / 2, pump=0.5, saturation=2.0, levels=5).at(times)


def test_qutip_finds_the_same_state():
    qutip = pytest.importorskip("qutip", reason="qutip is an extra check of the reference")
    levels, xi, pump, A, j, efficiency = 7, 0.3, 0.6, 1.5, 0.8, 0.7
    one, a = qutip.qeye(levels), qutip.destroy(levels)
    modes = [qutip.tensor(a, one), qutip.tensor(one, a)]
    P = [(b - b.dag()) / (1j * np.sqrt(2)) for b in modes]

    def moments(H, jumps, extra=0) -> list[float]:
        rho = qutip.steadystate(qutip.liouvillian(H, jumps) + extra)
        X = [(b + b.dag()) / np.sqrt(2) for b in modes]
        return [qutip.expect(X[0] * X[k], rho) for k in (0, 1)]

    rates, vectors = np.linalg.eigh(np.eye(2) - xi * PAIR)
    H = sum(0.5j * pump * (b.dag() ** 2 - b**2) for b in modes)
    jumps = [
        np.sqrt(2 * rate) * sum(v * b for v, b in zip(vector, modes, strict=True))
        for rate, vector in zip(rates, vectors.T, strict=True)
    ]
    jumps += [b * b / A for b in modes]
    ours = MasterEquation.optical(xi * PAIR, pump=pump, saturation=A, levels=levels)
    np.testing.assert_allclose(ours.steady_state().moments.x[0], moments(H, jumps), atol=1e-6)
    # feedback, by the superoperators of Wiseman and Milburn
    H = sum(0.5j * (1 + j) * pump * (b.dag() ** 2 - b**2) for b in modes)
    jumps = [np.sqrt(1 + j) * b * b / A for b in modes]
    jumps += [np.sqrt(2) * b for b in modes] + [np.sqrt(2 * j) * b for b in modes]
    extra = 0
    for b, moved in zip(modes, reversed(P), strict=True):
        M, c = xi * moved / (2 * np.sqrt(j * efficiency)), np.sqrt(2 * j) * b
        both = qutip.spre(c) + qutip.spost(c.dag())
        extra += -1j * np.sqrt(efficiency) * (qutip.spre(M) - qutip.spost(M)) * both
        extra += qutip.lindblad_dissipator(M)
    ours = MasterEquation.measured(
        xi * PAIR,
        pump=pump,
        saturation=A,
        levels=levels,
        measurement_strength=j,
        detector_efficiency=efficiency,
    )
    np.testing.assert_allclose(
        ours.steady_state().moments.x[0], moments(H, jumps, extra), atol=1e-6
    )
