"""The mean field against its closed forms: one oscillator, pairs, rings, fields, symmetry."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy.optimize import brentq

from emulator import EulerMaruyama, Heun, MeanField, RungeKutta4

ALONE = np.zeros((1, 1))
SATURATIONS = ["cubic", "tanh", "sine", "clip"]


def ideal(xi: float, J: np.ndarray, **options: object) -> MeanField:
    """A noiseless double-precision machine of absolute coupling `xi`, for rows of equal norm."""
    norm = np.sqrt((J**2).sum(axis=1))[0]
    return MeanField(coupling_gain=xi * (norm or 1.0), precision="double", **options)


def ring(n: int) -> np.ndarray:
    return np.roll(np.eye(n), 1, axis=1) + np.roll(np.eye(n), -1, axis=1)


def moebius(n: int) -> np.ndarray:
    rungs = np.roll(np.eye(n), n // 2, axis=1)
    return ring(n) + rungs


def advance(block, pump: float, *, steps: int) -> None:
    for _ in range(steps):
        block.advance(pump)


def closed_form(x0: float, net: float, t: float) -> float:
    return np.sqrt(net / (1 + (net / x0**2 - 1) * np.exp(-2 * net * t)))


def euler_error(start, dt: float) -> float:
    alone = np.zeros((1, 1))
    block = start(ideal(0.0, alone, time_step=dt), alone)
    block.x[:] = 0.1
    advance(block, 1.7, steps=round(4 / dt))
    return block.amplitudes()[0, 0] - closed_form(0.1, 0.7, 4.0)


def test_a_lone_oscillator_follows_the_closed_form_to_first_order(start):
    # T1; the next order makes the ratio differ from 2 by O(dt)
    errors = [euler_error(start, dt) for dt in (0.004, 0.002, 0.001)]
    assert abs(errors[-1]) < 1e-3
    assert errors[0] / errors[1] == pytest.approx(2, abs=0.02)
    assert errors[1] / errors[2] == pytest.approx(2, abs=0.01)


@pytest.mark.parametrize("n", [3, 4, 9])
def test_a_uniform_ferromagnet_is_a_lone_oscillator_with_more_pump(start, n):
    # T2: a = p - 1 + xi d
    J, xi, dt = ring(n), 0.15, 1e-3
    block = start(ideal(xi, J, time_step=dt), J)
    block.x[:] = 0.1
    advance(block, 1.2, steps=3000)
    expected = closed_form(0.1, 0.2 + 2 * xi, 3.0)
    np.testing.assert_allclose(block.amplitudes()[:, 0], expected, rtol=1e-3)


def difference_growth_rate(start, net: float, xi: float) -> float:
    J, dt, tilt = -np.array([[0.0, 1.0], [1.0, 0.0]]), 1e-4, 1e-7
    block = start(ideal(xi, J, time_step=dt), J)
    excited = np.sqrt(net - xi)
    block.x[:, 0] = excited + tilt, excited - tilt
    block.advance(1 + net)
    return (np.ptp(block.x) / (2 * tilt) - 1) / dt


@pytest.mark.parametrize("net", [0.25, 0.39, 0.41, 0.8])
def test_the_excited_mode_of_a_pair_is_stable_only_far_above_threshold(start, net):
    # T3: rate -2(p - 1) + 4 xi, zero at p - 1 = 2 xi
    rate = difference_growth_rate(start, net, xi=0.2)
    assert rate == pytest.approx(-2 * net + 0.8, abs=2e-4)


def test_an_antiferromagnetic_pair_settles_in_its_ground_mode(start):
    # T3, with p - 1 = 0.25 and xi = 0.2
    J = -np.array([[0.0, 1.0], [1.0, 0.0]])
    block = start(ideal(0.2, J), J, runs=32)
    advance(block, 1.25, steps=3000)
    x = block.amplitudes()
    np.testing.assert_allclose(x[0], -x[1], rtol=1e-9)
    np.testing.assert_allclose(np.abs(x), np.sqrt(0.45), rtol=1e-9)


def leading_growth_rate(start, J: np.ndarray, xi: float, pump: float) -> float:
    dt = 1e-2
    block = start(ideal(xi, J, time_step=dt), J)
    mode = 1e-8 * np.linalg.eigh(J)[1][:, -1]
    block.x[: len(J), 0] = mode
    block.advance(pump)
    return (block.amplitudes()[:, 0] @ mode / (mode @ mode) - 1) / dt


def test_the_moebius_ladder_of_16_starts_at_0_715224(start):
    # T4: 1 - xi lambda_max, lambda_max = 1 + 2 cos(pi / 8)
    J = -moebius(16)
    threshold = 1 - 0.1 * (1 + 2 * np.cos(np.pi / 8))
    assert threshold == pytest.approx(0.715224, abs=1e-6)
    assert leading_growth_rate(start, J, 0.1, threshold) == pytest.approx(0, abs=1e-9)


def test_the_collective_threshold_is_set_by_the_largest_eigenvalue(start):
    # T4 for any J: rows scaled to equal norm by a random circulant
    row = np.random.default_rng(3).normal(size=12)
    row[0] = 0
    J = np.array([np.roll(row, k) for k in range(12)])
    J = J + J.T
    largest = np.linalg.eigvalsh(J)[-1]
    for pump in (0.3, 0.9):
        rate = leading_growth_rate(start, J, 0.05, pump)
        assert rate == pytest.approx(pump - 1 + 0.05 * largest, abs=1e-9)


def test_amplitudes_die_below_the_collective_threshold_and_grow_above(start):
    J, time = -moebius(16), 600.0
    dying, growing = (start(ideal(0.1, J), J, runs=8) for _ in range(2))
    before = np.linalg.norm(dying.amplitudes(), axis=0)
    advance(dying, 0.70, steps=round(time / 0.05))
    advance(growing, 0.73, steps=round(time / 0.05))
    bound = before * np.exp((0.70 - 0.715224) * time)
    assert (np.linalg.norm(dying.amplitudes(), axis=0) < bound).all()
    # all else gone, the leading pair of modes has |x|^2 of order p - p_th a spin
    assert (np.linalg.norm(growing.amplitudes(), axis=0) > 4 * np.sqrt((0.73 - 0.715224) / 2)).all()


@pytest.mark.parametrize("pump", [0.0, 0.8, 1.5])
def test_an_injected_field_settles_at_the_root_of_the_cubic(start, pump):
    # T5: x^3 - (p - 1) x - xi h = 0
    alone, h = np.zeros((1, 1)), 0.7
    machine = MeanField(coupling_gain=0.3 * h, field_amplitude=1.0, precision="double")
    block = start(machine, alone, h=[h])
    advance(block, pump, steps=4000)
    x = block.amplitudes()[0, 0]
    assert x > 0
    assert x**3 - (pump - 1) * x - 0.3 * h == pytest.approx(0, abs=1e-12)


def test_the_field_of_the_mean_amplitude_acts_like_one_more_spin(start):
    # a ferromagnetic pair in a field h = 1 is the uniform ring of 3 with one spin held at +1
    pair = np.array([[0.0, 1.0], [1.0, 0.0]])
    folded = start(ideal(0.2, ring(3)), ring(3))
    field_term = start(ideal(0.2, pair), pair, h=[1.0, 1.0])
    folded.x[:], field_term.x[:] = 0.05, 0.05
    for block in (folded, field_term):
        advance(block, 1.1, steps=200)
    np.testing.assert_allclose(field_term.amplitudes(), folded.amplitudes()[:2], rtol=1e-12)


def test_a_limited_drive_pulls_no_harder_than_its_limit(start):
    # x^3 - (p - 1) x = limit
    J = np.ones((8, 8)) - np.eye(8)
    block = start(ideal(2.0, J, feedback_limit=0.5, drive_limit=0.3), J, runs=8)
    advance(block, 0.7, steps=3000)
    x = np.abs(block.amplitudes())
    np.testing.assert_allclose(x**3 + 0.3 * x, 0.3, rtol=1e-9)


def test_reversed_initial_amplitudes_give_exactly_reversed_amplitudes(start):
    # T6
    J = np.random.default_rng(0).choice([-1.0, 1.0], (20, 20))
    J = np.triu(J, 1) + np.triu(J, 1).T
    one, other = (start(ideal(0.1, J), J, runs=16) for _ in range(2))
    other.x[:] = -one.x
    for block in (one, other):
        advance(block, 1.5, steps=300)
    assert (one.amplitudes() == -other.amplitudes()).all()


def test_noise_far_below_threshold_has_the_variance_of_its_euler_chain(start):
    # x' = (1 - dt (1 - p)) x + s sqrt(dt) w, exactly; the cubic is below 1e-6 here
    dt, s, pump = 0.1, 1e-3, 0.5
    J = np.zeros((200, 200))
    block = start(ideal(0.0, J, time_step=dt, noise=s), J, runs=100)
    advance(block, pump, steps=300)
    keep = 1 - dt * (1 - pump)
    expected = s**2 * dt / (1 - keep**2)
    standard_error = np.sqrt(2 / block.amplitudes().size)
    assert np.var(block.amplitudes()) == pytest.approx(expected, rel=4 * standard_error)


def test_couplings_however_strong_leave_amplitudes_finite_at_their_fixed_point(start):
    # explicit Euler diverges here: 3 x^2 dt = 75; x^2 = p - 1 + xi lambda
    J = np.ones((50, 50)) - np.eye(50)
    block = start(ideal(500 / 49, J), J, runs=16)
    advance(block, 1.5, steps=500)
    np.testing.assert_allclose(np.abs(block.amplitudes()), np.sqrt(500.5), rtol=1e-6)


def test_small_cubic_graphs_reach_their_enumerated_maximum_cuts(start, shared_dir):
    graphs = json.loads((shared_dir / "instances/small/cubic_and_moebius.json").read_text())
    for name, graph in graphs.items():
        W = np.zeros((graph["n"], graph["n"]))
        W[tuple(np.transpose(graph["edges"]))] = 1
        W += W.T
        block = start(ideal(0.1, -W), -W, runs=64)
        for pump in np.linspace(0.6, 1.2, 600):
            block.advance(pump)
        spins = np.where(block.amplitudes() < 0, -1, 1)
        cuts = (W.sum() - (spins * (W @ spins)).sum(axis=0)) / 4
        assert cuts.max() == graph["max_cut"], name


def rest(saturation: str, pump: float, drive: float) -> float:
    """Return the largest x at which an oscillator under a constant drive rests."""
    if saturation == "cubic":
        return max(np.roots([1, 0, 1 - pump, -drive]).real)
    if saturation == "clip":
        return min(drive / (1 - pump), 1.0) if pump < 1 else 1.0
    slope = {
        "tanh": lambda x: np.tanh(pump * x + drive) - x,
        "sine": lambda x: 0.5 * np.sin(2 * (pump * x + drive)) - x,
    }[saturation]
    return brentq(slope, 1e-6, 1.0, xtol=1e-14)


@pytest.mark.parametrize("saturation", SATURATIONS)
@pytest.mark.parametrize("pump", [0.4, 0.8, 1.2, 1.6])
def test_every_saturation_rests_under_a_field_at_its_fixed_point(start, saturation, pump):
    # T5 and its likes: x^3 - (p-1)x = D, x = tanh(px + D), x = sin 2(px + D) / 2, (1-p)x = D
    drive = 0.1
    machine = MeanField(
        saturation=saturation,
        coupling_gain=drive,
        field_amplitude=1.0,
        time_step=0.2,
        precision="double",
    )
    block = start(machine, ALONE, h=[0.7])
    for _ in range(2000):
        block.advance(pump)
    expected = rest(saturation, pump, drive)
    assert block.amplitudes()[0, 0] == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("saturation", SATURATIONS)
@pytest.mark.parametrize("integrator", [EulerMaruyama(), Heun(), RungeKutta4()])
def test_every_integrator_has_the_same_fixed_points(start, saturation, integrator):
    machine = MeanField(
        saturation=saturation, integrator=integrator, time_step=0.2, precision="double"
    )
    block = start(machine, ALONE)
    block.x[:] = 0.3
    advance(block, 1.3, steps=1000)
    assert block.amplitudes()[0, 0] == pytest.approx(rest(saturation, 1.3, 0.0), abs=1e-12)


@pytest.mark.parametrize("saturation", SATURATIONS)
@pytest.mark.parametrize("pump", [0.3, 0.9, 1.4])
def test_every_saturation_leaves_zero_at_the_same_rate(start, saturation, pump):
    # p - 1 + xi lambda: a loop's gain at zero is p, the slope of tanh and of sin(2x) / 2 being 1
    J = moebius(16)
    machine = ideal(0.05, J, saturation=saturation, time_step=1e-2)
    block = start(machine, J)
    block.x[:, 0] = mode = np.full(16, 1e-8)
    block.advance(pump)
    rate = (block.amplitudes()[:, 0] @ mode / (mode @ mode) - 1) / 1e-2
    assert rate == pytest.approx(pump - 1 + 0.05 * 3, abs=1e-9)


@pytest.mark.parametrize("saturation", SATURATIONS)
@pytest.mark.parametrize(("pump", "lives"), [(0.98, False), (1.02, True)])
def test_every_saturation_has_its_threshold_at_one(start, saturation, pump, lives):
    block = start(ideal(0.0, ALONE, saturation=saturation, time_step=0.5), ALONE)
    block.x[:] = 1e-3
    advance(block, pump, steps=3000)
    x = block.amplitudes()[0, 0]
    if lives:
        assert x == pytest.approx(rest(saturation, pump, 0.0), abs=1e-9)
    else:
        assert x == pytest.approx(0, abs=1e-15)


@pytest.mark.slow
@pytest.mark.parametrize("saturation", SATURATIONS)
@pytest.mark.parametrize("feedback", ["clip", "tanh", "sign"])
def test_reversed_amplitudes_stay_exactly_reversed_whatever_saturates(start, saturation, feedback):
    # T6
    J = np.random.default_rng(0).choice([-1.0, 1.0], (20, 20))
    J = np.triu(J, 1) + np.triu(J, 1).T
    machine = MeanField(saturation=saturation, feedback=feedback, feedback_limit=0.3)
    one, other = (start(machine, J, runs=16) for _ in range(2))
    other.x[:] = -one.x
    for block in (one, other):
        advance(block, 1.5, steps=300)
    assert (one.amplitudes() == -other.amplitudes()).all()
    assert np.abs(one.amplitudes()).max() > 0.1


def test_the_sine_in_unit_steps_is_the_opto_electronic_map(start):
    # Böhm et al. 2019: x <- cos^2(alpha x + beta sum J x - pi / 4) - 1 / 2
    J = np.triu(np.random.default_rng(4).normal(size=(7, 7)), 1)
    J += J.T
    machine = MeanField(
        saturation="sine",
        stability=np.inf,
        time_step=1.0,
        integrator=EulerMaruyama(),
        precision="double",
    )
    block = start(machine, J)
    block.x[:] = np.random.default_rng(5).uniform(-0.3, 0.3, block.x.shape)
    x, xi = block.amplitudes().copy(), 0.5 * block._inputs.coupling.unit
    stored = block._inputs.coupling.matrix
    for _ in range(5):
        block.advance(1.1)
        x = np.cos(1.1 * x + xi * (stored @ x) - np.pi / 4) ** 2 - 0.5
    np.testing.assert_allclose(block.amplitudes(), x, atol=1e-14)


@pytest.mark.parametrize(("pump", "settles"), [(1.6, True), (2.6, False)])
def test_the_opto_electronic_map_overshoots_where_its_slope_falls_below_minus_one(
    start, pump, settles
):
    machine = MeanField(
        saturation="sine", time_step=1.0, integrator=EulerMaruyama(), precision="double"
    )
    x = brentq(lambda x: 0.5 * np.sin(2 * pump * x) - x, 1e-3, 0.6)
    assert (pump * np.cos(2 * pump * x) > -1) == settles
    block = start(machine, ALONE)
    block.x[:] = x + 1e-6
    advance(block, pump, steps=200)
    assert (abs(block.x[0, 0] - x) < 1e-6) == settles


def test_walls_stop_what_grows_exactly_at_one(start):
    block = start(ideal(0.0, ALONE, saturation="clip", time_step=1e-3), ALONE)
    block.x[:] = 0.1
    for _ in range(2000):
        block.advance(1.5)
    assert block.x[0, 0] == pytest.approx(0.1 * np.exp(0.5 * 2), rel=1e-3)
    advance(block, 1.5, steps=4000)
    assert block.x[0, 0] == 1.0


FEEDBACKS = {
    "clip": lambda x: np.clip(x, -0.25, 0.25),
    "tanh": lambda x: 0.25 * np.tanh(x / 0.25),
    "sign": lambda x: 0.25 * np.sign(x),
}


@pytest.mark.parametrize("feedback", FEEDBACKS)
def test_a_pair_rests_where_its_feedback_holds_it(start, feedback):
    # x^3 - (p - 1) x = xi f(x) + xi h <|f|>
    pair, f, xi, pump = np.array([[0.0, 1.0], [1.0, 0.0]]), FEEDBACKS[feedback], 0.3, 0.9
    h = 0.5
    norm = 1.0
    machine = MeanField(
        coupling_gain=xi * norm, feedback=feedback, feedback_limit=0.25, precision="double"
    )
    block = start(machine, pair, h=[h, h])
    block.x[:] = 0.1
    advance(block, pump, steps=3000)
    x = block.amplitudes()[:, 0]
    np.testing.assert_allclose(x**3 - (pump - 1) * x, xi * f(x) * (1 + h), atol=1e-12)
    assert x[0] > 0.25


def test_a_field_of_given_amplitude_is_the_same_whatever_is_fed_back(start):
    # nothing is coupled: only the field drives
    ends = []
    for feedback in FEEDBACKS:
        machine = MeanField(
            feedback=feedback, feedback_limit=0.25, field_amplitude=0.4, precision="double"
        )
        block = start(machine, np.zeros((2, 2)), h=[1.0, -0.5])
        advance(block, 0.8, steps=100)
        ends.append(block.amplitudes())
    for end in ends[1:]:
        np.testing.assert_allclose(end, ends[0], rtol=1e-13)


def test_signs_fed_back_make_the_product_of_integers_exact(start):
    assert MeanField(feedback="sign", feedback_limit=0.5).largest_code == 1
    assert MeanField(feedback="tanh", feedback_limit=0.5).largest_code is None


@pytest.mark.parametrize(
    "options",
    [
        {"saturation": "quintic"},
        {"feedback": "relu"},
        {"feedback_limit": float("inf"), "feedback": "sign"},
        {"feedback_limit": 0.0},
        {"time_step": -1.0},
    ],
)
def test_options_out_of_range_are_refused(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        MeanField(**options)


@pytest.mark.parametrize("amplitude", [None, 0.2])
def test_a_chunk_in_one_call_is_its_steps_one_by_one(start, amplitude):
    rng = np.random.default_rng(4)
    upper = np.triu(rng.normal(size=(17, 17)), 1)
    machine = MeanField(
        noise=0.1, feedback_limit=0.3, field_amplitude=amplitude, precision="double"
    )
    # 32 runs come in whole vectors and are fused, 7 are not
    many, few = (start(machine, upper + upper.T, h=np.full(17, 0.4), runs=runs) for runs in (32, 7))
    for pump in np.linspace(0, 1.5, 60):
        many.advance(pump)
        few.advance(pump)
    np.testing.assert_array_equal(many.x[:, :7], few.x)
