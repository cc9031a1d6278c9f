"""What all control by error variables has in common: signs, fields, lone spins, options."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from cim_hal import IsingModel, Program, StopToken, lower, make_driver
from emulator import (
    AmplitudeHeterogeneityCorrection,
    ChaoticAmplitudeControl,
    ChaoticFeedbackControl,
    SeparatedFeedbackControl,
)
from emulator.dynamics.base import LEAST_FIELD_WEIGHT

NAMES = ["emulator-cac", "emulator-cfc", "emulator-sfc", "emulator-ahc"]


CONTROLLED = [
    ChaoticAmplitudeControl(precision="double"),
    ChaoticFeedbackControl(precision="double"),
    SeparatedFeedbackControl(precision="double"),
    AmplitudeHeterogeneityCorrection(precision="double"),
]


def advance(block, pump: float, *, steps: int) -> None:
    for _ in range(steps):
        block.advance(pump)


@pytest.mark.parametrize("time_step", [0.1, 3.0, 30.0])
@pytest.mark.parametrize("dynamics", [CONTROLLED[0], CONTROLLED[1], CONTROLLED[3]])
def test_error_variables_stay_positive_however_long_the_step(start, dynamics, time_step):
    # T22: explicit Euler alone needs dt beta (x^2 - alpha) < 1
    J = np.random.default_rng(1).normal(size=(20, 20))
    block = start(replace(dynamics, time_step=time_step), J + J.T, runs=16)
    block.x[:] *= 30  # beyond the target at once
    for _ in range(200):
        block.advance(1.0)
        assert (block.e > 0).all()
        assert np.isfinite(block.x).all()


@pytest.mark.parametrize("dynamics", CONTROLLED, ids=lambda d: type(d).__name__)
def test_a_field_acts_like_one_more_spin_of_mean_amplitude(start, dynamics):
    # uniform amplitudes on a ring: the field of h = 2 is that of two more equal neighbours
    ring = np.roll(np.eye(8), 1, axis=1) + np.roll(np.eye(8), -1, axis=1)
    strong = ring + np.roll(np.eye(8), 2, axis=1) + np.roll(np.eye(8), -2, axis=1)
    # rows of norm 2 with four neighbours, of sqrt(2) with two, and the field counts next to nothing
    gain = np.sqrt(2 + (2 * LEAST_FIELD_WEIGHT) ** 2) / 2
    coupled = start(dynamics, strong)
    field_term = start(
        replace(dynamics, coupling_gain=dynamics.coupling_gain * gain), ring, h=[2.0] * 8
    )
    coupled.x[:], field_term.x[:] = 0.05, 0.05
    for block in (coupled, field_term):
        advance(block, 0.8, steps=60)
    np.testing.assert_allclose(field_term.x, coupled.x, rtol=1e-9)


def energies(name: str, model: IsingModel, *, n_runs: int, seed: int = 1) -> np.ndarray:
    driver = make_driver(name)
    capabilities = driver.describe()
    program = Program(lower(model, capabilities), capabilities.default_schedule, n_runs, seed)
    readout = driver.run(program, StopToken())
    readout.check(program)
    return model.energy(program.lowering.lift(readout.spins))


@pytest.mark.parametrize("name", NAMES)
def test_uncoupled_spins_do_no_harm_to_the_rest(name):
    J = np.zeros((40, 40))
    J[:20, :20] = 1 - np.eye(20)
    found = energies(name, IsingModel.from_couplings(J), n_runs=16)
    np.testing.assert_array_equal(found, -190)


@pytest.mark.parametrize(
    ("dynamics", "option"),
    [
        (ChaoticAmplitudeControl, {"target": (0.0, 1.0)}),
        (ChaoticFeedbackControl, {"error_limit": 0.001}),
        (SeparatedFeedbackControl, {"memory": -1.0}),
        (AmplitudeHeterogeneityCorrection, {"base_target": 0.0}),
    ],
)
def test_options_out_of_range_are_named(dynamics, option):
    with pytest.raises(ValueError, match=next(iter(option))):
        dynamics(**option)
