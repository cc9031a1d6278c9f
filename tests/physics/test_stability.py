"""The linear limit of feedback loops: the root, the running loop, and what the record tells."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from cim_hal import IsingModel, PumpSchedule, make_driver, open_device, registered_drivers
from emulator import Converter, MeasurementFeedback
from emulator.dynamics.stability import (
    ExtremeModes,
    LinearLimit,
    LoopFilter,
    largest_stable_feedback,
    mode_growth,
)
from emulator.presets import PRESETS

IDEAL = Converter(full_scale=math.inf)
SHORT = PumpSchedule((0.0, 1.1), 4)
COMPLETE = np.eye(50) - 1  # the uniform mode has the eigenvalue -49, -7 in norms of a row
ALL = [d.name for d in registered_drivers() if d.name.startswith("emulator")]
LOOPS = {
    name: preset.dynamics
    for name, preset in PRESETS.items()
    if isinstance(preset.dynamics, MeasurementFeedback)
}


@pytest.mark.parametrize("delay", range(6))
def test_at_the_limit_the_largest_root_has_modulus_1(delay):
    limit = largest_stable_feedback(delay)
    assert mode_growth(1.0, -limit, delay) == pytest.approx(1, abs=1e-12)
    assert mode_growth(1.0, -0.99 * limit, delay) < 1 < mode_growth(1.0, -1.01 * limit, delay)
    assert [round(largest_stable_feedback(d), 2) for d in range(3)] == [2, 1, 0.62]


@pytest.mark.parametrize("share", [0.9, 1.1])
@pytest.mark.parametrize("delay", [0, 1, 2])
@pytest.mark.parametrize("name", LOOPS)
def test_a_mode_in_the_running_loop_grows_with_the_largest_root(start, name, delay, share):
    optics = LOOPS[name]
    passed = math.sqrt(1 - optics.outcoupling)  # a record is of the pulse before the out-coupler
    gain = share * largest_stable_feedback(delay) * passed / (7 * optics.loss_exponent)
    machine = MeasurementFeedback(
        adc=IDEAL,
        dac=IDEAL,
        coupling_gain=gain,
        transmission=optics.transmission,
        outcoupling=optics.outcoupling,
        delay=delay,
        saturation=1e25,
        stability=math.inf,
        precision="double",
    )
    block, sizes = start(machine, COMPLETE), []
    block.mean[:] = 1e9
    for _ in range(80):
        block.advance(1.0)
        sizes.append(block.mean.mean())
    size = [np.linalg.norm(sizes[k - delay - 1 : k]) for k in (20, 80)]
    growth = mode_growth(1.0, -share * largest_stable_feedback(delay), delay)
    assert (growth > 1) == (share > 1)
    assert (size[1] / size[0]) ** (1 / 60) == pytest.approx(growth, rel=0.02)
    assert machine.linear_limit.excess(-7.0) == pytest.approx(share)


def test_a_loop_without_feedback_has_no_limit():
    assert LinearLimit(0.0).lowest_stable == -math.inf
    assert LinearLimit(0.0).excess(-1e9) == 0
    assert LinearLimit(1.0).excess(3.0) == 0


def complete_graph(n: int, seed: int) -> IsingModel:
    """MAX-CUT with weights 1 to 10."""
    upper = np.triu(np.random.default_rng(seed).integers(1, 11, (n, n)), 1).astype(float)
    return IsingModel.from_maxcut(upper + upper.T)


@pytest.mark.parametrize("name", ["emulator", "emulator-2000", "emulator-ideal"])
def test_the_record_tells_a_limit_exactly_when_it_is_exceeded(name):
    model = IsingModel.from_couplings(3 * COMPLETE)  # |J| = 21
    gain = LOOPS[name].coupling_gain
    limit = gain * LOOPS[name].linear_limit.lowest_stable / -7
    with open_device(name) as session:
        for share in (0.4, 0.99, 1.01, 3.0):
            settings = {"coupling_gain": share * limit}
            notes = session.sample(model, SHORT, seed=1, settings=settings).record.notes
            assert ("feedback_over_limit" in notes) == (share > 1)
            assert ("slowed_modes" in notes) == (share > 0.5)
        assert notes["feedback_over_limit"] == pytest.approx(3, rel=1e-4)
        assert notes["lowest_eigenvalue"] == pytest.approx(-147, rel=1e-4)
        assert notes["fed_back_at_once"] == pytest.approx(0.5 / 3, rel=1e-4)
        settings |= {"stability": 100.0}
        notes = session.sample(model, SHORT, seed=1, settings=settings).record.notes
        assert "slowed_modes" not in notes
        assert "feedback_over_limit" in notes
        facts = session.capabilities.properties
    lowest = LOOPS[name].linear_limit.lowest_stable
    assert facts["lowest_stable_eigenvalue"] == pytest.approx(lowest)


@pytest.mark.parametrize("delay", [0, 1, 2])
def test_a_slowed_loop_is_stable_where_the_loop_is_not(start, delay):
    machine = MeasurementFeedback(adc=IDEAL, dac=IDEAL, delay=delay, saturation=1e12)
    for stability, is_stable in ((math.inf, False), (0.5, True)):
        block = start(replace(machine, stability=stability, coupling_gain=4.0), COMPLETE)
        block.mean[:] = 1e6
        for _ in range(400):
            block.advance(0.6)
        assert (abs(block.mean.mean()) < 1e4) == is_stable


def test_a_mode_that_does_not_stand_out_is_never_slowed():
    limit = LinearLimit(feedback=1.0, delay=1)  # the lowest stable eigenvalue is -1
    vectors = np.eye(4, 20)
    bulk = ExtremeModes(np.array([-2.0, -1.9, 1.9, 2.0]), vectors, rest=1.8)
    assert LoopFilter.of(bulk, limit, 1.0, 0.5, 0).n_modes == 0
    outlier = bulk._replace(eigenvalues=np.array([-9.0, -1.9, 1.9, 2.0]))
    slowed = LoopFilter.of(outlier, limit, 1.0, 0.5, 0)
    assert (slowed.n_modes, slowed.direct) == (1, pytest.approx(3 * 1.8 / 9))
    alone = outlier._replace(rest=0.1)
    assert LoopFilter.of(alone, limit, 1.0, 0.5, 0).direct == pytest.approx(0.5 / 9)


@pytest.mark.parametrize("kind", ["glass", "graph"])
def test_slowed_modes_do_not_spoil_a_strong_gain(kind):
    upper = np.triu(np.random.default_rng(13).choice([-1.0, 1.0], (60, 60)), 1)
    glass = upper + upper.T
    model = IsingModel.from_couplings(glass if kind == "glass" else np.minimum(glass, 0.0))
    settings = {"coupling_gain": 3.2}
    with open_device("emulator-ideal") as session:
        slowed = session.sample(model, n_runs=64, seed=1, settings=settings)
        settings["stability"] = 100.0
        at_once = session.sample(model, n_runs=64, seed=1, settings=settings)
    # 0.96 and 0.91 where modes are slowed below those that nothing slows
    assert slowed.energies.mean() < 0.98 * at_once.energies.mean()


@pytest.mark.slow
@pytest.mark.parametrize("n", [30, 100, 300, 1000])
@pytest.mark.parametrize("name", ALL)
def test_every_preset_cuts_dense_positive_graphs_better_than_chance(name, n):
    if make_driver(name).describe().max_spins >= n:
        check_that_cuts_are_better_than_random(name, n)


def check_that_cuts_are_better_than_random(name: str, n: int) -> None:
    model = complete_graph(n, seed=n)
    with open_device(name) as session:
        energies = session.sample(model, n_runs=16, seed=1).energies
    assert energies.max() < 0  # a random cut has the energy 0 on average


@pytest.mark.parametrize("name", ALL)
def test_every_preset_meets_a_cardinality_constraint_within_one(name):
    n, k = 60, 15
    costs = np.diag(np.round(np.random.default_rng(0).normal(0.0, 5.0, n)))  # hundredths
    Q = 100 * (np.ones((n, n)) - 2 * k * np.eye(n)) + costs
    model = IsingModel.from_qubo(Q, offset=100 * k**2)
    with open_device(name) as session:
        best = session.sample(model, n_runs=16, seed=1).best
    assert abs((best == 1).sum() - k) <= 1  # emulator-100k has 16


@pytest.mark.parametrize("n", [8, 12, 16])
def test_small_qubos_with_positive_couplings_are_solved_by_default(n):
    codes = (np.arange(2**n)[:, None] >> np.arange(n)) & 1
    with open_device("emulator") as session:
        for seed in range(5):
            rng = np.random.default_rng([n, seed])
            Q = np.triu(rng.integers(0, 64, (n, n)), 1) * 2 - np.diag(rng.integers(0, 64, n))
            model = IsingModel.from_qubo(Q)
            lowest = model.energy((2 * codes - 1).astype(np.int8)).min()
            assert session.sample(model, n_runs=100, seed=1).best_energy == lowest
