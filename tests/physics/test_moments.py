"""Two coupled pulses: every dynamics with quantum noise against exact answers."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from emulator import (
    Converter,
    GaussianFeedback,
    MeanField,
    MeasurementFeedback,
    PositiveP,
    TruncatedWigner,
)
from emulator.moments import Moments, sampled_moments
from emulator.reference import master_equation

PAIR = np.array([[0.0, 1.0], [1.0, 0.0]])
IDEAL = Converter(full_scale=np.inf)


def slow(value: object):
    """A value for the slow tests."""
    return pytest.param(value, marks=pytest.mark.slow)


SIGNS = pytest.mark.parametrize("sign", [slow(1), -1])


def wigner(A2: float, **options: float) -> TruncatedWigner:
    return TruncatedWigner(saturation=A2**0.5, time_step=0.02, precision="double", **options)


def positive_p(A2: float, **options: float) -> PositiveP:
    return PositiveP(saturation=A2**0.5, time_step=0.02, **options)


def gaussian(A2: float, **options: float) -> GaussianFeedback:
    return GaussianFeedback(saturation=A2**0.5, time_step=0.01, precision="double", **options)


def round_trips(continuous: GaussianFeedback, dt: float) -> MeasurementFeedback:
    """The machine whose round trips last `dt` lifetimes of the field without its detector."""
    return MeasurementFeedback(
        transmission=1 - 2 * dt,
        outcoupling=2 * continuous.measurement_strength * dt,
        adc=IDEAL,
        dac=IDEAL,
        delay=0,
        coupling_gain=continuous.coupling_gain,
        saturation=continuous.saturation,
        precision="double",
    )


@cache
def exact(dynamics, sign: int, pump: float, levels: int) -> Moments:
    moments, tail = master_equation(dynamics, sign * PAIR, pump=pump, levels=levels).steady_state()
    assert tail < 2e-4
    return moments


def relative(sampled, expected: Moments, name: str, place: tuple[int, int]) -> tuple[float, float]:
    """Deviation of a sampled moment over the exact one, and its standard error."""
    value = getattr(expected, name)[place]
    found, error = (getattr(part, name)[place] for part in sampled)
    return found / value - 1, abs(error / value)


def check(sampled, expected: Moments, bias: dict[str, float], *, step: float = 0.0) -> None:
    """Compare <X^2>, <X1 X2> and <X1^2 X2^2>: model errors up to `bias`, samples to 3 %."""
    for name, place in (("x", (0, 0)), ("x", (0, 1)), ("x_fourth", (0, 1))):
        off, error = relative(sampled, expected, name, place)
        assert error < 0.03, (name, place)
        assert abs(off) < bias[f"{name}{place[1]}"] + step + 4 * error, (name, place, off, error)


EXACT = {"x0": 0.0, "x1": 0.0, "x_fourth1": 0.0}


# ---- below, at and above the threshold 1 - xi of the coupled mode -----------------------


@pytest.mark.slow
@SIGNS
@pytest.mark.parametrize("pump", [0.4, 0.7, 1.0])
def test_light_coupled_by_splitters_is_that_of_the_master_equation(pump, sign):
    A2, xi, options = 6.0, 0.3, {"settle": 800, "samples": 6, "spacing": 100}
    expected = exact(wigner(A2, coupling_gain=xi), sign, pump, 13 if pump < 1 else 20)
    sampled = sampled_moments(wigner(A2, coupling_gain=xi), sign * PAIR, pump=pump, **options)
    # what truncation costs at 1 / A_s^2 = 1 / 6
    check(sampled, expected, {"x0": 0.03, "x1": 0.06, "x_fourth1": 0.1}, step=0.01)
    sampled = sampled_moments(positive_p(A2, coupling_gain=xi), sign * PAIR, pump=pump, **options)
    check(sampled, expected, EXACT, step=0.01)


@pytest.mark.slow
@SIGNS
@pytest.mark.parametrize("pump", [0.4, 0.7])
def test_light_under_measurement_and_feedback_is_near_that_of_its_master_equation(pump, sign):
    # the model's own error, which the docs state: it leaves the variance out of saturation
    machine = gaussian(24.0, coupling_gain=0.2)
    expected = exact(machine, sign, pump, 16 if pump < 0.5 else 24)
    bias = {"x0": 0.02, "x1": 0.05, "x_fourth1": 0.07}
    if pump > 0.5:
        bias = {"x0": 0.09, "x1": 0.2, "x_fourth1": 0.3}
    options = {"pump": pump, "samples": 6}
    sampled = sampled_moments(machine, sign * PAIR, settle=800, spacing=100, **options)
    check(sampled, expected, bias, step=0.02)
    discrete = round_trips(machine, 0.01)
    sampled = sampled_moments(discrete, sign * PAIR, settle=800, spacing=100, **options)
    check(sampled, expected, bias, step=0.05)


# ---- invariants -------------------------------------------------------------------------


@SIGNS
def test_without_a_pump_splitters_keep_vacuum_and_a_detector_adds_what_it_feeds_back(sign):
    options = {"pump": 0.0, "settle": 300}
    for loss in (0.0, 0.4):
        machine = wigner(50.0, coupling_gain=0.5, coupling_loss=loss)
        moments, errors = sampled_moments(machine, sign * PAIR, **options)
        for name in ("x", "p"):
            found, error = getattr(moments, name), getattr(errors, name)
            assert (np.abs(found - 0.5 * np.eye(2)) < 4 * error + 0.01).all()
    exact_vacuum = sampled_moments(positive_p(50.0, coupling_gain=0.5), sign * PAIR, **options)
    np.testing.assert_array_equal(exact_vacuum.mean.x, 0.5 * np.eye(2))
    machine = gaussian(1e6, coupling_gain=0.25)
    xi = sign * machine.loss * 0.25
    for some in (machine, round_trips(machine, 0.01)):
        moments, errors = sampled_moments(some, sign * PAIR, **options)
        for side in (1, -1):
            mode, loss = np.array([1, side]) / np.sqrt(2), 2 - side * xi
            expected = (loss + xi**2 / 4) / (2 * loss)
            allowed = 4 * mode @ errors.x @ mode + 4 * errors.x[0, 1] + 0.02 * (expected - 0.5)
            assert mode @ moments.x @ mode == pytest.approx(expected, abs=allowed)


@pytest.mark.slow
@SIGNS
@pytest.mark.parametrize("loss", [0.0, 0.4])
def test_no_normal_mode_has_less_than_its_uncertainty(sign, loss):
    for make in (wigner, positive_p):
        machine = make(1e4, coupling_gain=0.3, coupling_loss=loss)
        for pump in (0.2, 0.6):
            moments, errors = sampled_moments(machine, sign * PAIR, pump=pump, settle=600)
            for side in (1, -1):
                mode = np.array([1, side]) / np.sqrt(2)
                x, p = mode @ moments.x @ mode, mode @ moments.p @ mode
                allowed = 8 * max(errors.x.max() / x, errors.p.max() / p)
                assert x * p > 0.25 * (1 - allowed), (make.__name__, pump, side)


@SIGNS
@pytest.mark.parametrize("electronic_noise", [0.0, 1.0])
def test_records_and_what_remains_add_up_for_a_pair_with_feedback(sign, electronic_noise):
    # the law of total variance, round trip by round trip: X and the record m of a mode
    R, eta, pump, gain = 0.1, 0.8, 0.5, 0.3
    machine = MeasurementFeedback(
        outcoupling=R,
        transmission=eta,
        electronic_noise=electronic_noise,
        adc=IDEAL,
        dac=IDEAL,
        delay=0,
        coupling_gain=gain,
        saturation=1e9,
        precision="double",
    )
    L, steps = machine.loss_exponent, 60
    moments, errors = sampled_moments(machine, sign * PAIR, pump=pump, settle=steps)
    for side in (1, -1):
        feedback = sign * side * L * gain / np.sqrt(R)
        kept = np.sqrt(eta) * np.exp(pump * L) * np.array([1.0, feedback])
        move = np.outer([np.sqrt(1 - R), np.sqrt(R)], kept)
        lost = (1 - eta) / 2 * np.outer([np.sqrt(1 - R), np.sqrt(R)], [np.sqrt(1 - R), np.sqrt(R)])
        split = 0.5 * np.outer([-np.sqrt(R), np.sqrt(1 - R)], [-np.sqrt(R), np.sqrt(1 - R)])
        added = lost + split + np.diag([0.0, electronic_noise**2])
        S = np.diag([0.5, 0.0])
        for _ in range(steps):
            S = move @ S @ move.T + added
        mode = np.array([1, side]) / np.sqrt(2)
        allowed = 4 * (errors.x[0, 0] + errors.x[0, 1])
        assert mode @ moments.x @ mode == pytest.approx(S[0, 0], abs=allowed)


@pytest.mark.parametrize("make", [slow(wigner), slow(positive_p), slow(gaussian)])
def test_a_gauge_flip_changes_no_more_than_the_sign_of_correlations(make):
    machine = make(8.0, coupling_gain=0.2)
    options = {"pump": 0.7, "settle": 600, "samples": 4, "spacing": 50}
    # independent noise: other seeds
    one = sampled_moments(machine, PAIR, seed=1, **options)
    other = sampled_moments(machine, -PAIR, seed=2, **options)
    for name in ("x", "x_fourth"):
        flip = np.array([[1, -1], [-1, 1]]) if name == "x" else 1
        ours, theirs = getattr(one.mean, name), flip * getattr(other.mean, name)
        errors = np.hypot(getattr(one.error, name), getattr(other.error, name))
        assert (np.abs(ours - theirs) < 4.5 * errors).all(), name
    assert one.mean.x[0, 1] > 10 * one.error.x[0, 1]


def test_moments_are_sampled_of_quantum_noise_alone():
    with pytest.raises(TypeError, match="MeanField has no quantum noise"):
        sampled_moments(MeanField(), PAIR, pump=0.5, settle=1)
    with pytest.raises(ValueError, match="20 batches need 40"):
        sampled_moments(wigner(10.0), PAIR, pump=0.5, settle=1, n_runs=30)


@pytest.mark.parametrize(
    "odd",
    [
        {"pump": np.nan},
        {"pump": -0.1},
        {"J": np.nan * PAIR},
        {"J": [[0, 1], [0, 0]]},
        {"settle": -1},
        {"samples": 0},
        {"spacing": 0},
        {"seed": -1},
    ],
)
def test_numbers_that_mean_nothing_are_refused(odd):
    with pytest.raises(ValueError, match="must be"):
        sampled_moments(wigner(10.0), **({"J": PAIR, "pump": 0.5, "settle": 1, "n_runs": 40} | odd))
