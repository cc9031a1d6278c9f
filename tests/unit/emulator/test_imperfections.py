"""A machine with everything wrong keeps what a machine promises."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp

from cim_hal import Capabilities, IsingModel, Readout, open_device
from emulator import BestSeen, Converter, EmulatedCim, Imperfections, MeasurementFeedback
from emulator.products.coupling import CouplingMatrix

IMPERFECT = Imperfections(
    seed=3,
    coupling_error=0.02,
    accumulator_bits=18,
    injection_gain_error=0.03,
    injection_noise=0.02,
    injection_phase_rad=0.1,
    phase_drift_rad=0.02,
    relock_round_trips=7,
    relock_residual_rad=0.05,
    timing_jitter=0.1,
    pump_error=0.01,
    pump_noise=0.01,
    pump_depletion=0.02,
    threshold_drift=0.03,
    detector_gain_error=0.05,
    detector_offset=0.2,
    leakage=0.03,
    dead_fraction=0.05,
    dead_pulses=(2, 4000),
    reference_pulses=3,
    train_pulses=200,
)


def machine(dynamics, *, threads: int = 1) -> EmulatedCim:
    capabilities = Capabilities(
        name="test",
        max_spins=197,
        coupling_bits=8,
        default_pump=(0.0, 1.1),
        default_round_trips=200,
    )
    return EmulatedCim(dynamics, capabilities=capabilities, threads=threads)


def glass(n: int, seed: int = 0) -> np.ndarray:
    levels = np.random.default_rng(seed).integers(-127, 128, (n, n))
    upper = np.triu(levels, 1).astype(float)
    return upper + upper.T


@pytest.mark.parametrize(
    "options",
    [
        {"seed": -1},
        {"coupling_error": -0.1},
        {"accumulator_bits": 1},
        {"injection_phase_rad": math.nan},
        {"relock_round_trips": -1},
        {"timing_jitter": math.inf},
        {"pump_depletion": 1.5},
        {"threshold_drift": -1.0},
        {"leakage": 2.0},
        {"dead_fraction": 1.1},
        {"dead_pulses": (-1,)},
        {"train_pulses": 0},
    ],
)
def test_options_out_of_range_are_named(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        Imperfections(**options)


def test_a_machine_read_out_at_its_best_has_the_same_wrong_couplings():
    couplings = CouplingMatrix.of(glass(20), np.zeros(20), largest_code=127.0, dtype=np.float32)
    dynamics = MeasurementFeedback(imperfections=IMPERFECT)
    one, other = (d.perturb(couplings).matrix for d in (dynamics, BestSeen(dynamics=dynamics)))
    np.testing.assert_array_equal(one, other)
    assert (one != couplings.matrix).any()


def test_an_accumulator_needs_integers():
    with pytest.raises(ValueError, match="accumulator_bits"):
        MeasurementFeedback(
            adc=Converter(full_scale=1.0), imperfections=Imperfections(accumulator_bits=16)
        )


def test_the_spin_of_a_dead_pulse_is_a_coin_of_its_run(amplitudes_of):
    dynamics = MeasurementFeedback(imperfections=Imperfections(dead_pulses=(3, 500)))
    amplitudes = amplitudes_of(machine(dynamics), IsingModel.from_couplings(-glass(20)))
    assert (amplitudes != 0).all()
    assert np.abs(amplitudes[:, 3]).max() < 0.3 * np.abs(amplitudes).max()
    ups = int(np.sum(Readout(amplitudes).spins[:, 3] == 1))
    assert abs(ups - 32) < 4 * 4  # of 64 runs


@pytest.mark.parametrize("error", [0.0, 0.02])
@pytest.mark.parametrize("density", [1.0, 0.1])
def test_runs_do_not_depend_on_threads_or_grouping_with_everything_wrong(
    amplitudes_of, error, density
):
    J = glass(61) * (np.abs(glass(61, seed=2)) <= 127 * density)
    model = IsingModel.from_couplings(J if density == 1 else sp.csr_array(J))
    dynamics = MeasurementFeedback(imperfections=replace(IMPERFECT, coupling_error=error))
    one, two = (
        amplitudes_of(machine(dynamics, threads=threads), model, n_runs=64) for threads in (1, 2)
    )
    np.testing.assert_array_equal(one, two)
    fewer = amplitudes_of(machine(dynamics), model, n_runs=20)
    np.testing.assert_array_equal(one[:20], fewer)


def test_another_machine_seed_is_another_machine_and_the_same_seed_the_same(amplitudes_of):
    model = IsingModel.from_couplings(glass(40))
    one, again, other = (
        amplitudes_of(
            machine(MeasurementFeedback(imperfections=replace(IMPERFECT, seed=seed))), model
        )
        for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(one, again)
    assert (one != other).any()


def test_a_run_record_says_what_went_wrong_however_runs_are_grouped():
    dynamics = MeasurementFeedback(imperfections=replace(IMPERFECT, coupling_error=0.0))
    model = IsingModel.from_couplings(glass(40))
    records = []
    for threads in (1, 2):
        with open_device(machine(dynamics, threads=threads)) as session:
            records.append(session.sample(model, n_runs=20, seed=1).record.notes)
    one, two = records
    assert one == two
    assert one["relocks"] == 199 // 7
    assert 1 <= one["dead_pulses"] <= 8
    assert 0.1 < one["largest_phase_error_rad"] < 0.1 + 6 * math.hypot(0.05, 0.02 * math.sqrt(7))
    assert 0.5 < one["largest_clipped_share"] <= 1


def test_an_ideal_machine_says_only_how_many_records_were_clipped_or_silent():
    with open_device(machine(MeasurementFeedback())) as session:
        samples = session.sample(IsingModel.from_couplings(glass(40)), n_runs=20, seed=1)
    silent = {"largest_dead_zone_share", "vacuum_dead_zone_share"}
    assert samples.record.notes.keys() == {"largest_clipped_share", *silent}


def test_imperfections_are_among_the_properties_of_a_machine():
    properties = machine(MeasurementFeedback(imperfections=IMPERFECT)).describe().properties
    assert properties["imperfections.phase_drift_rad"] == 0.02
    assert properties["imperfections.dead_pulses"] == "2, 4000"
