"""What is read from a machine that measures: its records, with the noise of the detector."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm

from emulator import Converter, GaussianFeedback, Imperfections, MeasurementFeedback
from emulator.dynamics.records import recorded_amplitudes
from emulator.noise import Draw

IDEAL = Converter(full_scale=np.inf)
LINEAR = 1e6
N, RUNS = 200, 128


def alone(n: int) -> np.ndarray:
    return np.zeros((n, n))


def wrong_share(block) -> float:
    """Share of amplitudes below zero."""
    return float(np.mean(block.amplitudes() < 0))


def is_share(found: float, expected: float, size: int = N * RUNS) -> bool:
    return abs(found - expected) < 4 * np.sqrt(expected * (1 - expected) / size)


def noisy(adc: Converter = IDEAL, **options: object) -> MeasurementFeedback:
    return MeasurementFeedback(
        adc=adc,
        dac=IDEAL,
        saturation=LINEAR,
        coupling_gain=0.0,
        electronic_noise=40.0,
        precision="double",
        **options,
    )


def lit(start, machine: MeasurementFeedback, mean: float):
    """Pulses of a mean at their next record, and the deviation of the record from theirs."""
    block = start(machine, alone(N), runs=RUNS)
    loss, eta = machine.loss_exponent, machine.transmission
    block.mean[:] = mean / (np.exp(loss) * np.sqrt(eta))
    block.advance(1.0)
    tap = machine.outcoupling * machine.detector_efficiency
    sigma = 0.5 + eta * 0.5 * (np.exp(2 * loss) - 1)
    width = np.sqrt(tap * sigma + 0.5 * (1 - tap) + machine.electronic_noise**2)
    return block, np.sqrt(tap) * mean, width


@pytest.mark.parametrize("imperfections", [Imperfections(), Imperfections(relock_round_trips=3)])
@pytest.mark.parametrize("mean", [10.0, 90.0, 200.0])
def test_the_read_out_of_a_noisy_detector_has_the_sign_errors_of_its_record(
    start, mean, imperfections
):
    block, signal, width = lit(start, noisy(imperfections=imperfections), mean)
    assert is_share(wrong_share(block), norm.sf(signal / width))
    machine = noisy(read_out="conditional_mean", imperfections=imperfections)
    assert wrong_share(lit(start, machine, mean)[0]) < 0.05 * norm.sf(signal / width)


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_a_record_in_the_dead_zone_of_the_converter_reads_a_coin(start, bits):
    # a code of zero is half a step either side
    mean, full_scale = 90.0, 150.0 / (np.sqrt(2) * LINEAR * np.sqrt(0.2))
    machine = noisy(Converter(full_scale=full_scale, bits=bits))
    block, signal, width = lit(start, machine, mean)
    half = 0.5 * 150.0 / machine.adc.top
    beyond, up_to = norm.sf((signal + half) / width), norm.sf((signal - half) / width)
    assert is_share(wrong_share(block), 0.5 * (beyond + up_to))
    assert (block.amplitudes() != 0).all()


@pytest.mark.parametrize("mean", [1.0, 4.0])
def test_a_continuous_record_is_read_with_its_shot_noise(start, mean):
    # width 1 / sqrt(4 j eta dt)
    options = {"coupling_gain": 0.0, "saturation": LINEAR, "precision": "double"}
    machine = GaussianFeedback(detector_efficiency=0.5, time_step=0.1, **options)
    block = start(machine, alone(N), runs=RUNS)
    block.mean[:] = mean
    block.advance(1.0)
    assert is_share(wrong_share(block), norm.sf(mean * np.sqrt(4 * 0.5 * 0.1)))
    latent = start(GaussianFeedback(read_out="conditional_mean", **options), alone(N), runs=RUNS)
    latent.mean[:] = mean
    np.testing.assert_allclose(latent.amplitudes() * machine.unit, mean, rtol=1e-12)


def test_a_dead_slot_holds_vacuum_and_reads_a_coin(start):
    dead = tuple(range(0, N, 3))
    J = np.ones((N, N)) - np.eye(N)
    machine = MeasurementFeedback(imperfections=Imperfections(dead_pulses=dead))
    block = start(machine, J, runs=RUNS)
    for pump in np.linspace(0, 1.1, 60):
        block.advance(pump)
        assert (block.mean[list(dead)] == 0).all()
    assert (block.variance[list(dead)] == 0.5).all()
    spins = block.amplitudes()[list(dead)] > 0
    assert is_share(spins.mean(), 0.5, spins.size)
    # a coin of each run and slot
    assert is_share(np.mean(spins[1:] == spins[:-1]), 0.5, spins[1:].size)
    assert is_share(np.mean(spins[:, 1:] == spins[:, :-1]), 0.5, spins[:, 1:].size)


def test_coins_do_not_depend_on_how_runs_are_grouped():
    codes = np.zeros((5, 32), np.float32)
    whole = recorded_amplitudes(codes, 2.0, Draw.of_seed(4, round_trip=7))
    half = recorded_amplitudes(codes[:, 16:], 2.0, Draw.of_seed(4, round_trip=7, first_run=16))
    np.testing.assert_array_equal(whole[:, 16:], half)
    assert (np.abs(whole) == 0.125).all()
    assert (whole != recorded_amplitudes(codes, 2.0, Draw.of_seed(4, round_trip=8))).any()


@pytest.mark.parametrize("dynamics", [MeasurementFeedback, GaussianFeedback])
def test_what_is_read_is_one_of_two(dynamics):
    with pytest.raises(ValueError, match="read_out = mean"):
        dynamics(read_out="mean")
