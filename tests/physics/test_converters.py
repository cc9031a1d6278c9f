"""Converters against the textbook: noise of rounding, and the limit of many bits."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.special import ndtr

from emulator import Converter, MeasurementFeedback
from emulator.converters import loading, to_code


def convert(converter: Converter, values: np.ndarray) -> np.ndarray:
    codes = [to_code(v, converter.coder) for v in values * converter.scale]
    return np.array(codes) / converter.scale


@pytest.mark.parametrize(("bits", "mid_rise"), [(6, False), (10, False), (1, True), (3, True)])
def test_the_error_of_a_busy_input_is_a_twelfth_of_a_step_squared(bits, mid_rise):
    # T17; the kurtosis of a uniform law is 9/5. A mid-rise converter has whole cells: exact
    converter = Converter(full_scale=2.0, bits=bits, mid_rise=mid_rise)
    values = np.random.default_rng(0).uniform(-2, 2, 20_000)
    error = convert(converter, values) - values
    step = 4 / 2**bits if mid_rise else 1 / converter.scale
    standard_error = np.sqrt((9 / 5 - 1) / len(values))
    assert np.var(error) == pytest.approx(step**2 / 12, rel=4 * standard_error)


@pytest.mark.parametrize("bits", [6, 8, 12])
def test_a_full_scale_sine_has_6_02_dB_a_bit_and_1_76(bits):
    # T17; 2^b - 1 codes, not 2^b, and correlated errors at few bits: 0.3 dB
    converter = Converter(full_scale=1.0, bits=bits)
    sine = np.sin(np.sqrt(2) * np.arange(20_000))
    error = convert(converter, sine) - sine
    ratio = 10 * np.log10(np.var(sine) / np.var(error))
    assert ratio == pytest.approx(6.02 * bits + 1.76, abs=0.3)


@pytest.mark.parametrize("bits", [1, 2, 3, 6])
def test_a_mid_rise_converter_is_a_staircase_of_half_steps_without_a_dead_zone(bits):
    # sgn(v) (floor(|v| / step) + 1/2) step, no less than its last step
    converter = Converter(full_scale=1.0, bits=bits, mid_rise=True)
    values = np.random.default_rng(1).uniform(-1.5, 1.5, 5000)
    step = 2 / 2**bits
    stairs = (np.minimum(np.floor(np.abs(values) / step), 2 ** (bits - 1) - 1) + 0.5) * step
    np.testing.assert_allclose(convert(converter, values), np.sign(values) * stairs, rtol=1e-12)
    tiny = np.array([-1e-12, 1e-12])
    np.testing.assert_allclose(convert(converter, tiny), [-step / 2, step / 2])
    codes = np.unique([to_code(v * converter.scale, converter.coder) for v in values])
    np.testing.assert_array_equal(codes, np.arange(1 - 2**bits, 2**bits, 2))
    assert not converter.has_dead_zone


def test_one_bit_is_a_sign_whatever_the_kind():
    for mid_rise in (False, True):
        converter = Converter(full_scale=0.3, bits=1, mid_rise=mid_rise)
        values = np.array([-9.0, -0.2, -1e-9, 1e-9, 0.2, 9.0])
        np.testing.assert_allclose(convert(converter, values), 0.15 * np.sign(values))


def test_a_mid_tread_converter_silences_what_is_below_half_a_step():
    converter = Converter(full_scale=1.0, bits=2)
    np.testing.assert_array_equal(convert(converter, np.array([-0.51, -0.49, 0.49])), [-1, 0, 0])
    assert converter.has_dead_zone
    assert not Converter(full_scale=1.0).has_dead_zone


def test_beyond_full_scale_all_is_clipped():
    converter = Converter(full_scale=1.0, bits=8)
    np.testing.assert_array_equal(convert(converter, np.array([-7.0, 1.5])), [-1, 1])


@pytest.mark.parametrize(
    ("levels", "step"), [(2, 1.596), (4, 0.9957), (8, 0.5860), (16, 0.3352), (256, 0.03076)]
)
def test_the_loading_of_a_mid_rise_converter_is_that_of_max(levels, step):
    # Max 1960, table II: the best step of a uniform quantizer for a Gaussian of deviation 1
    bits = int(math.log2(levels))
    assert loading(bits, mid_rise=True) == pytest.approx(levels * step / 2, rel=2e-3)


@pytest.mark.parametrize("mid_rise", [False, True])
def test_every_loading_is_of_least_error(mid_rise):
    for bits in range(2 - mid_rise, 13):
        converter = Converter(full_scale=1.0, bits=bits, mid_rise=mid_rise)
        coder = converter.coder
        codes = np.arange(-coder.top, coder.top + 1, coder.step) / converter.scale

        def error(full_scale, codes=codes):
            levels = codes * full_scale
            ends = np.concatenate([[-np.inf], (levels[1:] + levels[:-1]) / 2, [np.inf]])
            density = np.exp(-ends * ends / 2) / math.sqrt(2 * math.pi)
            return 1 + levels**2 @ np.diff(ndtr(ends)) + 2 * levels @ np.diff(density)

        best = loading(bits, mid_rise=mid_rise)
        assert error(best) < min(error(best * 0.99), error(best * 1.01))


@pytest.mark.parametrize("mid_rise", [False, True])
def test_a_reranged_converter_has_the_least_error_for_the_noise_it_sees(mid_rise):
    values = 0.02 * np.random.default_rng(2).normal(size=20_000)
    given = Converter(full_scale=9.0, bits=3, mid_rise=mid_rise, reranged=True)
    best = given.ranged_for(0.02)
    assert (best.bits, best.mid_rise, best.reranged) == (3, mid_rise, False)
    least, less, more = (
        np.var(convert(Converter(full_scale=F, bits=3, mid_rise=mid_rise), values) - values)
        for F in best.full_scale * np.array([1, 0.9, 1.1])
    )
    assert least < min(less, more)
    assert Converter(full_scale=9.0, reranged=True).ranged_for(0.02).full_scale == 9.0


def test_bits_out_of_range_are_refused():
    for bits in (0, 49):
        with pytest.raises(ValueError, match="1 to 48 bits"):
            Converter(full_scale=1.0, bits=bits)


def test_a_machine_ranges_its_adc_for_twice_the_record_of_a_vacuum(start):
    machine = MeasurementFeedback(
        adc=Converter(full_scale=7.0, bits=2, mid_rise=True, reranged=True), electronic_noise=1.5
    )
    adc, dac = machine.converters
    assert dac == machine.dac
    block = start(machine, np.zeros((400, 400)), runs=64)
    block.advance(0.0)
    # outer codes: beyond half of a full scale of `loading` deviations of twice a vacuum
    outer = np.mean(np.abs(block.latest_codes) == adc.top)
    expected = 2 * ndtr(-loading(2, mid_rise=True))
    assert outer == pytest.approx(expected, abs=4 * math.sqrt(expected / 400 / 64))


def test_a_dac_is_ranged_for_what_records_at_full_scale_make_of_the_couplings():
    adc, dac = MeasurementFeedback(
        coupling_gain=0.5,
        adc=Converter(full_scale=0.12, bits=8),
        dac=Converter(full_scale=9.0, bits=3, mid_rise=True, reranged=True),
    ).converters
    assert adc.full_scale == 0.12
    assert dac.full_scale == pytest.approx(loading(3, mid_rise=True) * 0.5 * 0.12)
    with pytest.raises(ValueError, match="full_scale"):
        MeasurementFeedback(
            adc=Converter(full_scale=math.inf),
            dac=Converter(full_scale=1.0, bits=3, reranged=True),
        )


def test_a_machine_tells_how_much_of_its_records_is_silent(start):
    machine = MeasurementFeedback(adc=Converter(full_scale=0.12, bits=4))
    block = start(machine, np.zeros((400, 400)), runs=64)
    block.advance(0.0)
    notes = block.notes(64)
    silent = notes["vacuum_dead_zone_share"]
    assert 0.9 < silent < 1
    error = 5 * math.sqrt(silent * (1 - silent) / 400)
    assert notes["largest_dead_zone_share"] == pytest.approx(silent, abs=error)
    rising = MeasurementFeedback(adc=Converter(full_scale=0.12, bits=4, mid_rise=True))
    assert "vacuum_dead_zone_share" not in start(rising, np.zeros((2, 2))).notes(1)


def run(start, J, bits: int | None, *, mid_rise: bool = False) -> np.ndarray:
    machine = MeasurementFeedback(
        adc=Converter(full_scale=0.5, bits=bits, mid_rise=mid_rise),
        dac=Converter(full_scale=1.0, bits=bits, mid_rise=mid_rise),
        precision="double",
    )
    block = start(machine, J, runs=32)
    for pump in np.linspace(0, 1.2, 300):
        block.advance(pump)
    return block.amplitudes()


@pytest.mark.parametrize("mid_rise", [False, True])
def test_32_bits_give_the_spins_of_an_ideal_converter_bit_for_bit(start, mid_rise):
    # T17
    J = np.random.default_rng(2).choice([-1.0, 1.0], (30, 30))
    J = np.triu(J, 1) + np.triu(J, 1).T
    ideal, fine, coarse = (
        run(start, J, bits, mid_rise=mid_rise and bits is not None) for bits in (None, 32, 4)
    )
    assert ((ideal < 0) == (fine < 0)).all()
    np.testing.assert_allclose(fine, ideal, rtol=1e-5)
    assert np.abs(coarse - ideal).max() > 0.01
