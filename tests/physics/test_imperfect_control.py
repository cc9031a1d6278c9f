"""Imperfections of amplitude- and feedback-controlled machines, each against its law."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from emulator import (
    AmplitudeHeterogeneityCorrection,
    ChaoticAmplitudeControl,
    ChaoticFeedbackControl,
    Converter,
    Imperfections,
    SeparatedFeedbackControl,
)
from emulator.options import setting_options

KINDS = [
    ChaoticAmplitudeControl,
    AmplitudeHeterogeneityCorrection,
    ChaoticFeedbackControl,
    SeparatedFeedbackControl,
]
# goes through the loop with imperfections, with nothing wrong
FORCED = Imperfections(relock_round_trips=3)


def glass(n: int, seed: int = 0) -> np.ndarray:
    upper = np.triu(np.random.default_rng(seed).choice([-1.0, 1.0], (n, n)), 1)
    return upper + upper.T


@pytest.mark.parametrize("kind", KINDS)
def test_the_loop_with_imperfections_is_the_one_without_when_nothing_is_wrong(start, kind):
    ideal = kind(precision="double")
    forced = replace(ideal, imperfections=FORCED)
    assert ideal.is_ideal
    assert not forced.is_ideal
    h = np.random.default_rng(1).normal(size=21)
    one, other = (start(d, glass(21), h=h, runs=16, round_trips=40) for d in (ideal, forced))
    for pump in np.linspace(0, 1, 40):
        one.advance(pump)
        other.advance(pump)
    np.testing.assert_allclose(other.x, one.x, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(other.e, one.e, rtol=1e-6, atol=1e-9)
    assert one.notes(16) == {}


@pytest.mark.parametrize("kind", KINDS)
def test_noise_of_amplitudes_has_the_variance_of_the_linear_equation(start, kind):
    # x -> (1 - a) x + s sqrt(dt) w, far below threshold and uncoupled
    dynamics = kind(noise=1e-3, initial_width=0.0, precision="double")
    block = start(dynamics, np.zeros((400, 400)), runs=64)
    steps = 150
    for _ in range(steps):
        block.advance(0.0)
    keep = (1 - dynamics.time_step * dynamics.loss) ** 2
    variance = 1e-6 * dynamics.time_step * (1 - keep**steps) / (1 - keep)
    error = 4 * math.sqrt(2 / block.x.size)
    assert np.var(block.x) == pytest.approx(variance, rel=error)
    assert abs(block.x.mean()) < 4 * math.sqrt(variance / block.x.size)


def measured(block) -> np.ndarray:
    return block._errors._measured[:, : block._n_runs]


@pytest.mark.parametrize("bits", [1, 3])
def test_the_adc_measures_in_its_steps(start, bits):
    adc = Converter(full_scale=0.4, bits=bits, mid_rise=True)
    block = start(ChaoticAmplitudeControl(adc=adc, precision="double"), glass(20), runs=16)
    before = block.x.copy()
    block.advance(0.5)
    block.catch_up()
    step = 0.8 / 2**bits
    stairs = np.minimum(np.floor(np.abs(before) / step), 2 ** (bits - 1) - 1) + 0.5
    np.testing.assert_allclose(measured(block), np.sign(before) * stairs * step)


def test_the_noise_of_the_detector_has_the_stated_width(start):
    block = start(ChaoticFeedbackControl(detector_noise=0.3), glass(200), runs=64)
    before = block.x.copy()
    block.advance(0.5)
    block.catch_up()
    noise = measured(block) - before
    assert np.std(noise) == pytest.approx(0.3, rel=4 / math.sqrt(2 * noise.size))


@pytest.mark.parametrize("kind", KINDS)
def test_a_gain_error_multiplies_what_is_injected(start, kind):
    wrong = kind(imperfections=Imperfections(injection_gain_error=0.1), precision="double")
    blocks = [start(d, glass(20), runs=16) for d in (wrong, kind(precision="double"))]
    for block in blocks:
        block.advance(0.3)
        block.catch_up()
    ratio = blocks[0]._arrays.local_field / blocks[1]._arrays.local_field
    gain = blocks[0]._errors.disorder.injection_gain[:20]
    np.testing.assert_allclose(ratio, np.repeat(gain[:, None], 16, axis=1), rtol=1e-9)
    assert gain.std() > 0.03


def test_the_dac_injects_in_its_steps(start):
    dac = Converter(full_scale=2.0, bits=4)
    block = start(ChaoticAmplitudeControl(dac=dac, precision="double"), glass(20), runs=16)
    block._arrays.e[:] = 3.0
    block.advance(0.3)
    e_before, strength = 3.0, block._errors._injection.scale / dac.scale
    block.catch_up()
    codes = strength * e_before * block._arrays.local_field * dac.scale
    np.testing.assert_allclose(codes, np.rint(codes), atol=1e-9)
    assert len(np.unique(np.rint(codes))) > 3
    assert np.abs(codes).max() <= dac.top + 1e-9


@pytest.mark.parametrize("kind", KINDS)
def test_dead_pulses_stay_dark_and_the_rest_is_as_if_couplings_to_them_were_cut(start, kind):
    dead = [0, 7]
    alive = np.setdiff1d(np.arange(21), dead)
    wrong = kind(imperfections=Imperfections(dead_pulses=(0, 7)), precision="double")
    one, other = (start(wrong, glass(21), runs=4) for _ in range(2))
    for block in (one, other):
        block.x[dead] = 0  # from the first round trip on
    J = other._loop.operand.values
    J[dead], J[:, dead] = 0, 0
    for pump in np.linspace(0, 1, 20):
        one.advance(pump)
        other.advance(pump)
    np.testing.assert_allclose(np.abs(one.x[dead]), 1e-30)  # a coin that nobody feels
    np.testing.assert_allclose(one.x[alive], other.x[alive], rtol=1e-6)
    assert one.notes(4)["dead_pulses"] == 2


@pytest.mark.parametrize("kind", KINDS)
def test_half_a_block_is_half_of_the_block_with_everything_wrong(start, kind):
    options = Imperfections(
        seed=3,
        injection_gain_error=0.03,
        injection_noise=0.02,
        injection_spill=0.02,
        injection_phase_rad=0.1,
        modulator_swing_rad=0.3,
        phase_drift_rad=0.02,
        phase_slip_rate=0.01,
        gain_drift=0.02,
        job_gain_error=0.01,
        detector_gain_error=0.05,
        leakage=0.03,
        adc_dnl=0.2,
        adc_inl=0.01,
        pulse_slip_rate=0.01,
        dead_fraction=0.05,
    )
    dynamics = kind(
        noise=0.1,
        detector_noise=0.1,
        adc=Converter(full_scale=2.0, bits=6),
        dac=Converter(full_scale=4.0, bits=6),
        imperfections=options,
    )
    whole = start(dynamics, glass(60), runs=64, round_trips=50)
    half = start(dynamics, glass(60), runs=32, first_run=32, round_trips=50)
    for pump in np.linspace(0, 1.1, 50):
        whole.advance(pump)
        half.advance(pump)
    np.testing.assert_array_equal(whole.x[:, 32:], half.x)
    assert np.isfinite(whole.x).all()


@pytest.mark.parametrize("kind", KINDS)
def test_imperfections_are_settings_and_those_without_a_meaning_are_refused(kind):
    offered = {setting.name for setting in kind().settings()}
    assert set(setting_options(kind)) <= offered
    assert offered >= {"noise", "detector_noise", "adc.bits", "dac.bits", "dac.full_scale"}
    assert "imperfections.coupling_error" in offered
    with pytest.raises(ValueError, match=r"imperfections\.pump_noise"):
        kind(imperfections=Imperfections(pump_noise=0.1))
    with pytest.raises(ValueError, match="reranged"):
        kind(adc=Converter(full_scale=1.0, bits=3, reranged=True))
