"""Converters against the textbook: noise of rounding, and the limit of many bits."""

from __future__ import annotations

import numpy as np
import pytest

from emulator import Converter, MeasurementFeedback
from emulator.converters import to_code


def convert(converter: Converter, values: np.ndarray) -> np.ndarray:
    codes = [to_code(v, converter.top, converter.rounds) for v in values * converter.scale]
    return np.array(codes) / converter.scale


@pytest.mark.parametrize("bits", [6, 10])
def test_the_error_of_a_busy_input_is_a_twelfth_of_a_step_squared(bits):
    # T17; the kurtosis of a uniform law is 9/5
    converter = Converter(full_scale=2.0, bits=bits)
    values = np.random.default_rng(0).uniform(-2, 2, 20_000)
    error = convert(converter, values) - values
    standard_error = np.sqrt((9 / 5 - 1) / len(values))
    assert np.var(error) == pytest.approx(converter.scale**-2 / 12, rel=4 * standard_error)


@pytest.mark.parametrize("bits", [6, 8, 12])
def test_a_full_scale_sine_has_6_02_dB_a_bit_and_1_76(bits):
    # T17; 2^b - 1 codes, not 2^b, and correlated errors at few bits: 0.3 dB
    converter = Converter(full_scale=1.0, bits=bits)
    sine = np.sin(np.sqrt(2) * np.arange(20_000))
    error = convert(converter, sine) - sine
    ratio = 10 * np.log10(np.var(sine) / np.var(error))
    assert ratio == pytest.approx(6.02 * bits + 1.76, abs=0.3)


def test_beyond_full_scale_all_is_clipped():
    converter = Converter(full_scale=1.0, bits=8)
    np.testing.assert_array_equal(convert(converter, np.array([-7.0, 1.5])), [-1, 1])


def run(start, J, bits: int | None) -> np.ndarray:
    machine = MeasurementFeedback(
        adc=Converter(full_scale=0.5, bits=bits),
        dac=Converter(full_scale=1.0, bits=bits),
        precision="double",
    )
    block = start(machine, J, runs=32)
    for pump in np.linspace(0, 1.2, 300):
        block.advance(pump)
    return block.amplitudes()


def test_32_bits_give_the_spins_of_an_ideal_converter_bit_for_bit(start):
    # T17
    J = np.random.default_rng(2).choice([-1.0, 1.0], (30, 30))
    J = np.triu(J, 1) + np.triu(J, 1).T
    ideal, fine, coarse = (run(start, J, bits) for bits in (None, 32, 4))
    assert ((ideal < 0) == (fine < 0)).all()
    np.testing.assert_allclose(fine, ideal, rtol=1e-5)
    assert np.abs(coarse - ideal).max() > 0.01
