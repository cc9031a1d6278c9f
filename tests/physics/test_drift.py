"""What moves slowly and is common to the pulses of a run, against closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest

from emulator import Imperfections
from emulator.disorder import drawn_once
from emulator.drift import CommonDrift, PhaseWalk, SlowNoise
from emulator.imperfections import JOB
from emulator.noise import Draw, NoiseKey

RUNS = 20_000
KEY = NoiseKey.from_seed(2)
ERROR = 4 * math.sqrt(2 / RUNS)  # of a variance


def walk(runs: int = RUNS, **options: object) -> PhaseWalk:
    return PhaseWalk(Imperfections(**options), KEY, first_run=0, n_runs=runs)


def drift(key: NoiseKey = KEY, *, runs: int = RUNS, first_run: int = 0, **options: object):
    size = {"first_run": first_run, "n_runs": runs, "round_trips": 101}
    return CommonDrift(Imperfections(**options), key, **size)


def test_the_variance_of_a_free_phase_grows_with_the_number_of_round_trips():
    phase = walk(phase_drift_rad=0.02, injection_phase_rad=0.3)
    for round_trip in range(101):
        phase.advance(round_trip)
        if round_trip in {0, 1, 10, 100}:
            variance, expected = np.var(phase.phase - 0.3), round_trip * 0.02**2
            assert variance == pytest.approx(expected, rel=ERROR, abs=1e-30)
    assert phase.relocks == 0
    assert phase.largest.max() == pytest.approx(0.3 + 0.2 * 3.8, rel=0.2)
    assert (phase.largest >= np.abs(phase.phase)).all()


def test_a_relock_ends_the_walk_and_leaves_its_residual():
    phase = walk(phase_drift_rad=0.02, relock_round_trips=10, relock_residual_rad=0.1)
    for round_trip in range(60):
        phase.advance(round_trip)
        expected = 0.1**2 + (round_trip % 10) * 0.02**2
        assert np.var(phase.phase) == pytest.approx(expected, rel=ERROR)
    assert phase.relocks == 5


def test_slips_of_the_lock_are_half_turns_of_the_stated_rate_until_the_next_lock():
    phase = walk(phase_slip_rate=0.05, relock_round_trips=10)
    for round_trip in range(20):
        phase.advance(round_trip)
        turns = phase.phase / math.pi
        np.testing.assert_allclose(turns, np.rint(turns), atol=1e-9)
        steps = round_trip % 10
        error = 4 * math.sqrt(max(steps, 1) * 0.05 * 0.95 / RUNS)
        assert turns.mean() == pytest.approx(0.05 * steps, abs=error)


def test_the_phase_of_a_run_does_not_depend_on_its_block():
    options = {"phase_drift_rad": 0.1, "relock_round_trips": 4, "relock_residual_rad": 0.2}
    wrong = options | {"pump_flicker": 0.1, "gain_drift": 0.1, "phase_slip_rate": 0.1}
    whole, half = (drift(runs=n, first_run=first, **wrong) for first, n in ((0, 64), (32, 32)))
    for round_trip in range(10):
        for all_runs, some in zip(whole.advance(round_trip), half.advance(round_trip), strict=True):
            np.testing.assert_array_equal(all_runs[32:], some)


@pytest.mark.parametrize("times", [[7.0], [1.0, 2.0, 4.0, 8.0, 16.0]])
def test_slow_noise_has_the_autocorrelation_of_its_processes(times):
    # mean over k of exp(-lag / T_k), stationary from the first round trip on
    noise = SlowNoise(times, Draw(KEY, 5 << 28, 0), n_runs=RUNS)
    series = np.array([noise.advance(t) for t in range(21)])
    for lag in (0, 1, 5, 20):
        expected = np.mean(np.exp(-lag / np.array(times)))
        for start in (0, 20 - lag):
            found = np.mean(series[start] * series[start + lag])
            assert found == pytest.approx(expected, abs=4 * math.sqrt(2 / RUNS))


def test_the_spectrum_of_pump_flicker_falls_as_one_over_f():
    # in the middle of its octaves; a sum of Lorentz curves waves about 1/f by a tenth
    flicker = CommonDrift(
        Imperfections(pump_flicker=1.0), KEY, first_run=0, n_runs=200, round_trips=1024
    )
    series = np.array([flicker.advance(t)[1] - 1 for t in range(1024)])
    power = np.mean(np.abs(np.fft.rfft(series * np.hanning(1024)[:, None], axis=0)) ** 2, axis=1)
    band = slice(8, 128)
    slope = np.polyfit(np.log(np.arange(1024 // 2 + 1)[band]), np.log(power[band]), 1)[0]
    assert slope == pytest.approx(-1.0, abs=0.15)
    assert np.var(series) == pytest.approx(1.0, rel=0.1)


def test_what_differs_from_job_to_job_is_the_same_in_all_runs_of_one():
    options = {"job_phase_rad": 0.1, "job_gain_error": 0.05, "job_pump_error": 0.02}
    jobs = []
    for seed in range(300):
        common = drift(NoiseKey.from_seed(seed), runs=2, **options)
        gain, pump = common.advance(0)
        for values in (common.phase.phase, gain, pump):
            assert values[0] == values[1]
        jobs.append((common.phase.phase[0], gain[0] / np.cos(common.phase.phase[0]), pump[0]))
    widths = np.std(jobs, axis=0)
    np.testing.assert_allclose(widths, [0.1, 0.05, 0.02], rtol=4 / math.sqrt(600))
    np.testing.assert_allclose(np.mean(jobs, axis=0), [0, 1, 1], atol=4 * 0.1 / math.sqrt(300))
    assert len(set(drawn_once(KEY, JOB, 3))) == 3


def test_the_threshold_drifts_linearly_and_nothing_else_moves():
    common = drift(runs=2, threshold_drift=0.1)
    for round_trip in range(101):
        gain, pump = common.advance(round_trip)
        np.testing.assert_array_equal(gain, 1)
        np.testing.assert_allclose(pump, 1 / (1 + 0.1 * round_trip / 100))
