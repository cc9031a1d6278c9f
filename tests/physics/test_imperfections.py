"""Each imperfection against its law, and all of them against the promises of a machine."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp

from cim_hal import Capabilities
from emulator import Converter, EmulatedCim, Imperfections, MeasurementFeedback
from emulator.disorder import Disorder
from emulator.dynamics.imperfect_loop import timing_overlap
from emulator.noise import NoiseKey
from emulator.products.coupling import CouplingMatrix
from emulator.products.dense import DenseFloats

IDEAL = Converter(full_scale=np.inf)
PAIR = np.array([[0.0, 1.0], [1.0, 0.0]])
BRIGHT = 1e9  # a mean beside which noise is rounding
FULL_SCALE = 1e-4  # of an ADC: vacuum is 1e-15, and saturation begins at 1
EVERYTHING = Imperfections(
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
    injection_spill=0.02,
    modulator_swing_rad=0.5,
    gain_drift=0.02,
    drift_round_trips=30.0,
    phase_slip_rate=0.001,
    job_phase_rad=0.05,
    pump_flicker=0.01,
    job_pump_error=0.01,
    job_gain_error=0.01,
    calibration_drift=0.3,
    detector_phase_rad=0.1,
    adc_inl=0.01,
    adc_dnl=0.2,
    pulse_slip_rate=0.001,
    intermittent_fraction=0.02,
    intermittent_round_trips=5,
)


def linear(**imperfections: object) -> MeasurementFeedback:
    """A machine without converters, too large to saturate; its injection is not delayed."""
    return MeasurementFeedback(
        adc=IDEAL,
        dac=IDEAL,
        saturation=1e15,
        delay=0,
        coupling_gain=0.4,
        precision="double",
        imperfections=Imperfections(**imperfections),
    )


def glass(n: int, seed: int = 0) -> np.ndarray:
    levels = np.random.default_rng(seed).integers(-127, 128, (n, n))
    upper = np.triu(levels, 1).astype(float)
    return upper + upper.T


def machine(dynamics, *, threads: int = 1, bits: int | None = 8) -> EmulatedCim:
    capabilities = Capabilities(
        name="test",
        max_spins=200,
        coupling_bits=bits,
        default_pump=(0.0, 1.1),
        default_round_trips=200,
    )
    return EmulatedCim(dynamics, capabilities=capabilities, threads=threads)


def relative_growth(block, pump: float) -> np.ndarray:
    before = block.mean.copy()
    block.advance(pump)
    return block.mean / before


def is_spread(values: np.ndarray, width: float) -> bool:
    """Whether normal `values` have mean 0 and the given standard deviation, within 4 of its own."""
    error = 4 / math.sqrt(values.size)
    return abs(values.mean()) < error * width and abs(np.std(values) / width - 1) < error


# ---- nothing wrong ---------------------------------------------------------------------


def test_a_seed_of_imperfections_alone_changes_no_bit(start):
    both = Imperfections(), Imperfections(seed=9)
    machines = [MeasurementFeedback(imperfections=some) for some in both]
    blocks = [start(machine, glass(21), runs=16) for machine in machines]
    for pump in np.linspace(0, 1.1, 100):
        for block in blocks:
            block.advance(pump)
    np.testing.assert_array_equal(blocks[0].mean, blocks[1].mean)


@pytest.mark.parametrize("precision", [pytest.param("single", marks=pytest.mark.slow), "double"])
def test_the_kernel_with_imperfections_is_the_one_without_when_nothing_is_wrong(start, precision):
    options = {"adc": IDEAL, "dac": IDEAL, "precision": precision}
    ideal = MeasurementFeedback(**options)
    relocked = MeasurementFeedback(**options, imperfections=Imperfections(relock_round_trips=3))
    assert not relocked.imperfections.is_ideal
    one, other = (start(dynamics, glass(21), runs=16) for dynamics in (ideal, relocked))
    for pump in np.linspace(0, 0.9, 50):
        one.advance(pump)
        other.advance(pump)
    tolerance = 1e-4 if precision == "single" else 1e-12
    np.testing.assert_allclose(one.mean, other.mean, atol=tolerance * np.abs(one.mean).max())


# ---- couplings and accumulator ---------------------------------------------------------


def test_a_coupling_error_belongs_to_the_machine_and_to_the_place_of_the_coupling():
    J = glass(301)
    prepare = {"h": np.zeros(301), "largest_code": 127.0, "dtype": np.float32}
    exact = CouplingMatrix.of(J, **prepare)
    dynamics = MeasurementFeedback(imperfections=Imperfections(coupling_error=0.03, seed=5))
    off = J != 0
    errors = dynamics.perturb(exact).matrix[off] / J[off] - 1
    assert is_spread(errors, 0.03)
    again = dynamics.perturb(CouplingMatrix.of(3 * J, **prepare)).matrix[off] / (3 * J[off]) - 1
    np.testing.assert_allclose(again, errors, atol=1e-6)
    sparse = dynamics.perturb(CouplingMatrix.of(sp.csr_array(J), **prepare))
    np.testing.assert_array_equal(sparse.matrix.data, dynamics.perturb(exact).matrix[off])
    other = replace(dynamics, imperfections=Imperfections(coupling_error=0.03, seed=6))
    assert abs(np.corrcoef(other.perturb(exact).matrix[off] / J[off], errors)[0, 1]) < 4 / 300


def test_a_coupling_error_is_not_symmetric_and_leaves_unit_and_zeros_alone():
    J = np.triu(np.ones((200, 200)), 1) * (np.arange(200) % 3 > 0)
    J = J + J.T
    exact = CouplingMatrix.of(J, np.zeros(200), largest_code=127.0, dtype=np.float32)
    dynamics = MeasurementFeedback(imperfections=Imperfections(coupling_error=0.1))
    real = dynamics.perturb(exact)
    assert (real.unit, real.is_exact, real.dtype) == (exact.unit, False, np.float32)
    assert not real.matrix[J == 0].any()
    upper = np.triu(J, 1) > 0
    pairs = real.matrix[upper], real.matrix.T[upper]
    assert abs(np.corrcoef(*pairs)[0, 1]) < 4 / math.sqrt(upper.sum())


def test_couplings_without_error_stay_exact():
    J = CouplingMatrix.of(glass(20), np.zeros(20), largest_code=127.0, dtype=np.float32)
    dynamics = MeasurementFeedback(imperfections=replace(EVERYTHING, coupling_error=0.0))
    assert dynamics.perturb(J) is J


@pytest.mark.parametrize("bits", [12, 16, 20])
def test_an_accumulator_saturates_at_the_largest_code_of_its_bits(start, bits):
    dynamics = MeasurementFeedback(
        adc=Converter(full_scale=1.0, bits=8),
        dac=IDEAL,
        delay=0,
        precision="double",
        imperfections=Imperfections(accumulator_bits=bits),
    )
    n, top = 50, 2.0 ** (bits - 1) - 1
    block = start(dynamics, 127.0 * (1 - np.eye(n)), runs=2)
    block.codes[0][:] = [127.0, -127.0]
    assert top < 49 * 127 * 127
    wide = replace(dynamics, imperfections=Imperfections(accumulator_bits=48))
    ideal = start(wide, np.zeros((n, n)), runs=2)
    field = top * block._errors._injection.scale * block._constants.dac_step
    ideal.mean[:] = [field, -field]
    for some in (block, ideal):
        some.advance(0.5)
    np.testing.assert_allclose(block.mean, ideal.mean, rtol=1e-12)


def test_an_accumulator_that_is_wide_enough_changes_no_bit(start):
    blocks = []
    for bits in (32, 48):
        wide = Imperfections(accumulator_bits=bits)
        blocks.append(start(MeasurementFeedback(imperfections=wide), glass(40), runs=16))
        for pump in np.linspace(0, 1.1, 50):
            blocks[-1].advance(pump)
    np.testing.assert_array_equal(blocks[0].mean, blocks[1].mean)


# ---- injection -------------------------------------------------------------------------


def test_a_phase_error_takes_its_cosine_from_the_feedback(start):
    phase = 0.7
    rotated = start(linear(injection_phase_rad=phase), glass(20), runs=8)
    weaker = start(replace(linear(), coupling_gain=0.4 * math.cos(phase)), glass(20), runs=8)
    for pump in np.linspace(0, 1, 40):
        rotated.advance(pump)
        weaker.advance(pump)
    np.testing.assert_allclose(rotated.mean, weaker.mean, rtol=1e-9)


@pytest.mark.parametrize("phase", [0.0, 0.6, 1.2, 2.0])
def test_a_phase_error_moves_the_threshold_to_one_minus_gain_cosine(start, phase):
    # one round trip: a (1 + L g cos(phi) / sqrt(1 - R)) = 1 at threshold, a = exp((p - 1) L)
    short = {"transmission": 0.98, "outcoupling": 0.01}
    dynamics = replace(linear(injection_phase_rad=phase), **short)
    L = dynamics.loss_exponent
    drive = L * 0.4 * math.cos(phase) / math.sqrt(0.99)
    threshold = 1 - math.log1p(drive) / L
    assert threshold == pytest.approx(1 - 0.4 * math.cos(phase), abs=L)
    block = start(dynamics, PAIR)
    block.mean[:] = BRIGHT
    block.advance(0.0)  # to fill the ring of records
    for _ in range(20):
        growth = relative_growth(block, threshold)
    np.testing.assert_allclose(growth, 1, atol=1e-7)


def test_a_static_gain_error_of_the_modulator_multiplies_the_rows_of_the_couplings(start):
    wrong, right = (start(linear(**o), glass(20)) for o in ({"injection_gain_error": 0.1}, {}))
    gain = Disorder.of(linear(injection_gain_error=0.1).imperfections, 20, float).injection_gain
    rows = right._inputs.coupling
    wrong_rows = rows.with_floats(DenseFloats(gain[:, None] * rows.matrix))
    right._inputs = replace(right._inputs, coupling=wrong_rows)
    for pump in np.linspace(0, 1, 40):
        wrong.advance(pump)
        right.advance(pump)
    np.testing.assert_allclose(wrong.mean, right.mean, rtol=1e-9)


def test_injection_noise_is_white_with_the_stated_width(start):
    n, runs, width = 200, 64, 0.05
    block = start(linear(injection_noise=width), np.kron(np.eye(n // 2), PAIR), runs=runs)
    drawn = []
    for _ in range(2):
        block.mean[:] = 0
        block.codes[0][:] = BRIGHT / block._dynamics.unit
        block.advance(0.0)
        drawn.append(block.mean / block.mean.mean() - 1)
    assert is_spread(drawn[0] - drawn[0].mean(), width)
    assert abs(np.corrcoef(drawn[0].ravel(), drawn[1].ravel())[0, 1]) < 4 / math.sqrt(n * runs)
    rows = np.corrcoef(drawn[0])[np.triu_indices(n, 1)]
    assert abs(rows.mean()) < 4 / math.sqrt(rows.size * runs)


def test_pulses_that_miss_by_their_width_overlap_by_half():
    # intensities exp(-4 ln2 t^2), fields their roots
    t = np.linspace(-8, 8, 4001)
    for delay in (0.0, 0.3, 1.0, 1.7):
        fields = (np.exp(-2 * math.log(2) * (t - shift) ** 2) for shift in (0, delay))
        overlap = np.prod(list(fields), axis=0).sum() / np.exp(-4 * math.log(2) * t**2).sum()
        assert timing_overlap(delay) == pytest.approx(overlap, rel=1e-9)
    assert timing_overlap(1.0) == 0.5


def test_timing_jitter_loses_its_closed_form_share_of_the_injection(start):
    # E 2^(-s^2 w^2) = (1 + 2 s^2 ln 2)^(-1/2)
    n, width = 200, 0.5
    jittery, steady = (
        start(linear(**o), np.kron(np.eye(n // 2), PAIR), runs=64)
        for o in ({"timing_jitter": width}, {})
    )
    for block in (jittery, steady):
        block.codes[0][:] = BRIGHT / block._dynamics.unit
        block.advance(0.0)
    share = jittery.mean / steady.mean
    assert share.max() <= 1 + 1e-12
    expected = (1 + 2 * width**2 * math.log(2)) ** -0.5
    assert share.mean() == pytest.approx(expected, abs=4 * share.std() / math.sqrt(share.size))


def test_an_injection_that_spills_drives_the_next_pulse_too(start):
    # (1 + kappa S) J, S the shift by one pulse
    spilled, equivalent = (
        start(linear(**o), glass(20), runs=4) for o in ({"injection_spill": 0.2}, {})
    )
    J = equivalent._inputs.coupling
    shifted = J.with_floats(DenseFloats((np.eye(20) + 0.2 * np.eye(20, k=-1)) @ J.matrix))
    equivalent._inputs = replace(equivalent._inputs, coupling=shifted)
    for pump in np.linspace(0, 1, 40):
        spilled.advance(pump)
        equivalent.advance(pump)
    np.testing.assert_allclose(spilled.mean, equivalent.mean, rtol=1e-9)


@pytest.mark.parametrize("bits", [None, 8])
def test_the_field_of_a_modulator_goes_as_the_sine_of_the_drive(start, bits):
    swing, full_scale = 1.2, 2 * FULL_SCALE
    given = {"dac": Converter(full_scale=full_scale, bits=bits)}
    wrong, right = (
        start(replace(linear(**o), **given), PAIR) for o in ({"modulator_swing_rad": swing}, {})
    )
    for amplitude in FULL_SCALE * np.array([0.1, 1.0, 9.0]):
        for block in (wrong, right):
            block.mean[:] = 0
            block.codes[0][:] = amplitude
            block.advance(0.0)
        drive = np.clip(0.4 * amplitude, 0, full_scale)
        if bits:
            drive = np.rint(drive * 127 / full_scale) * full_scale / 127
        expected = full_scale / swing * math.sin(swing * drive / full_scale) / drive
        np.testing.assert_allclose(wrong.mean / right.mean, expected, rtol=1e-6)


# ---- pump ------------------------------------------------------------------------------


def growth_exponents(start, pump: float, n: int = 200, runs: int = 64, **options: object):
    """Growth of bright pulses without couplings, as :math:`p_i` seen: (ln G' / L) + 1."""
    dynamics = linear(**options)
    block = start(dynamics, np.zeros((n, n)), runs=runs, round_trips=11)
    block.mean[:] = BRIGHT
    while True:
        yield np.log(relative_growth(block, pump)) / dynamics.loss_exponent + 1


def test_a_static_pump_error_moves_the_threshold_of_each_pulse(start):
    pumps = next(growth_exponents(start, 0.8, pump_error=0.02, seed=4))
    static = Disorder.of(Imperfections(pump_error=0.02, seed=4), 200, float).pump_scale
    np.testing.assert_allclose(pumps, np.repeat(0.8 * static[:, None], 64, axis=1), atol=1e-7)
    many = Disorder.of(Imperfections(pump_error=0.02, seed=4), 20_000, float).pump_scale
    assert is_spread(many - 1, 0.02)
    np.testing.assert_array_equal(many[:200], static)


def test_pump_noise_is_white_with_the_stated_width(start):
    pumps = growth_exponents(start, 0.8, pump_noise=0.03)
    one, other = next(pumps) / 0.8 - 1, next(pumps) / 0.8 - 1
    assert is_spread(one, 0.03)
    assert is_spread(other, 0.03)
    assert abs(np.corrcoef(one.ravel(), other.ravel())[0, 1]) < 4 / math.sqrt(one.size)


def test_the_pump_falls_linearly_along_the_train(start):
    pumps = next(growth_exponents(start, 0.8, n=101, pump_depletion=0.1))[:101, 0]
    np.testing.assert_allclose(pumps, 0.8 * np.linspace(1, 0.9, 101), atol=1e-7)
    slots = {"reference_pulses": 20, "train_pulses": 201, "pump_depletion": 0.1}
    pumps = next(growth_exponents(start, 0.8, n=101, **slots))[:101, 0]
    np.testing.assert_allclose(pumps, 0.8 * np.linspace(0.99, 0.94, 101), atol=1e-7)


def test_the_threshold_drifts_linearly_over_the_run(start):
    pumps = growth_exponents(start, 0.8, n=2, runs=1, threshold_drift=0.1)
    for round_trip in range(11):
        expected = 0.8 / (1 + 0.1 * round_trip / 10)
        np.testing.assert_allclose(next(pumps), expected, atol=1e-7)


def test_an_intermittent_pulse_has_no_pump_by_turns(start):
    pumps = growth_exponents(
        start, 0.8, n=200, intermittent_fraction=0.3, intermittent_round_trips=3
    )
    shares = []
    for _ in range(2):
        off = [np.isclose(next(pumps), 0.0, atol=1e-7) for _ in range(3)]
        np.testing.assert_array_equal(off[0], off[1])
        np.testing.assert_array_equal(off[0], off[2])
        shares.append(off[0])
    error = 4 * math.sqrt(0.3 * 0.7 / shares[0].size)
    for share in shares:
        assert share.mean() == pytest.approx(0.3, abs=error)
    assert (shares[0] & shares[1]).mean() == pytest.approx(0.09, abs=error)


def test_a_pulse_that_slips_changes_its_sign(start):
    dynamics = linear(pulse_slip_rate=0.1)
    block = start(dynamics, np.zeros((200, 200)), runs=64)
    block.mean[:] = BRIGHT
    growth = relative_growth(block, 1.0)
    slipped = growth < 0
    np.testing.assert_allclose(np.abs(growth), 1, atol=1e-6)
    error = 4 * math.sqrt(0.1 * 0.9 / slipped.size)
    assert slipped.mean() == pytest.approx(0.1, abs=error)


# ---- detection -------------------------------------------------------------------------


def test_a_detector_offset_is_a_field(start):
    # linear: the difference of two runs with the same noise obeys the noiseless equation
    J, offset, pump = glass(20), 0.5, 0.7
    dynamics = linear(detector_offset=offset)
    wrong, right = (start(d, J) for d in (dynamics, linear()))
    L, R = dynamics.loss_exponent, dynamics.outcoupling
    strength = L * 0.4 * wrong._inputs.coupling.matrix
    field = offset / math.sqrt(R) * strength.sum(axis=1)
    expected = np.zeros(20)
    for round_trip in range(30):
        drive = strength @ expected / math.sqrt(1 - R) + field * (round_trip > 0)
        expected = math.exp((pump - 1) * L) * (expected + drive)
        wrong.advance(pump)
        right.advance(pump)
    np.testing.assert_allclose((wrong.mean - right.mean)[:, 0], expected, rtol=1e-9)


def test_a_leak_of_the_record_is_a_coupling_to_the_neighbours_of_neighbours(start):
    # J m' with m' = (1 + eps S) m, S the shift by one pulse
    leaky, equivalent = (start(linear(**o), glass(20), runs=4) for o in ({"leakage": 0.2}, {}))
    J = equivalent._inputs.coupling
    shifted = J.with_floats(DenseFloats(J.matrix @ (np.eye(20) + 0.2 * np.eye(20, k=-1))))
    equivalent._inputs = replace(equivalent._inputs, coupling=shifted)
    for pump in np.linspace(0, 1, 40):
        leaky.advance(pump)
        equivalent.advance(pump)
    np.testing.assert_allclose(leaky.mean, equivalent.mean, rtol=1e-9)


def test_a_static_gain_error_of_the_detector_multiplies_records(start):
    wrong, right = (
        start(linear(**o), glass(20), runs=4) for o in ({"detector_gain_error": 0.1, "seed": 7}, {})
    )
    for block in (wrong, right):
        block.advance(0.5)
    gain = Disorder.of(Imperfections(detector_gain_error=0.1, seed=7), 20, float).detector_gain
    np.testing.assert_allclose(wrong.latest_codes, gain[:, None] * right.latest_codes, rtol=1e-12)
    many = Disorder.of(Imperfections(detector_gain_error=0.1), 20_000, float).detector_gain
    assert is_spread(many - 1, 0.1)


@pytest.mark.parametrize("phase", [0.5, 2.5])
def test_a_local_oscillator_out_of_phase_measures_the_cosine_and_knows_less(start, phase):
    # X cos + P sin with P vacuum: an efficiency of cos^2, which the ADC does not calibrate away
    efficient = replace(linear(), detector_efficiency=math.cos(phase) ** 2)
    wrong, right = (
        start(d, np.zeros((20, 20))) for d in (linear(detector_phase_rad=phase), efficient)
    )
    for block in (wrong, right):
        block.variance[:] = 2.0
        block.advance(0.0)
    np.testing.assert_allclose(wrong.variance, right.variance, rtol=1e-12)
    for block in (wrong, right):
        block.mean[:] = BRIGHT
        block.advance(0.0)
    ratio = wrong.latest_codes / right.latest_codes
    np.testing.assert_allclose(ratio, math.cos(phase), rtol=1e-6)


def records(start, adc: Converter, values: np.ndarray, **options: object) -> np.ndarray:
    """Codes of pulses whose records are these multiples of a full scale far above vacuum."""
    dynamics = replace(linear(**options), adc=adc)
    block = start(dynamics, np.zeros((len(values), len(values))))
    kept = math.exp(-dynamics.loss_exponent) / math.sqrt(1 - dynamics.outcoupling)
    block.mean[: len(values), 0] = values * adc.full_scale * dynamics.unit / kept
    block.advance(0.0)
    return block.latest_codes[: len(values), 0]


def test_the_integral_nonlinearity_bends_the_record_by_an_s(start):
    values = np.linspace(-1, 1, 401)
    adc = Converter(full_scale=FULL_SCALE)
    bent = (records(start, adc, values, adc_inl=0.05) - records(start, adc, values)) / FULL_SCALE
    expected = np.clip(values + 0.05 * 1.5 * math.sqrt(3) * (values - values**3), -1, 1) - values
    np.testing.assert_allclose(bent, expected, atol=1e-7)
    assert np.abs(expected).max() == pytest.approx(0.05, rel=1e-3)


@pytest.mark.parametrize(("bits", "mid_rise"), [(5, False), (4, True)])
def test_transitions_of_the_adc_are_off_by_the_drawn_steps(start, bits, mid_rise):
    adc = Converter(full_scale=FULL_SCALE, bits=bits, mid_rise=mid_rise)
    width, top, step = 0.2, adc.top, adc.coder.step
    n_codes = round(2 * top / step) + 1
    off = Disorder.of(Imperfections(adc_dnl=width, seed=3), 2, float, n_codes=n_codes).transitions
    assert len(off) == n_codes + 1
    assert (off[0], off[-1]) == (0, 0)
    assert np.std(off[1:-1]) == pytest.approx(width, rel=4 / math.sqrt(2 * n_codes))
    values = np.linspace(-1.2, 1.2, 2001)
    found = records(start, adc, values, adc_dnl=width, seed=3)
    edges = np.arange(-top, top, step) + step * (0.5 + off[1:-1])
    expected = -top + step * np.sum(values[:, None] * adc.scale * FULL_SCALE > edges, axis=1)
    np.testing.assert_array_equal(found, expected)


def test_calibration_drifts_from_job_to_job_and_keeps_its_width():
    def gains(seed: int, **options: object) -> np.ndarray:
        wrong = Imperfections(detector_gain_error=0.1, calibration_drift=0.6, **options)
        return Disorder.of(wrong, 20_000, float, job=NoiseKey.from_seed(seed)).detector_gain - 1

    one, again, other = gains(1), gains(1), gains(2)
    np.testing.assert_array_equal(one, again)
    for errors in (one, other):
        assert is_spread(errors, 0.1)
    correlation = np.corrcoef(one, other)[0, 1]
    assert correlation == pytest.approx(1 - 0.6**2, abs=4 / math.sqrt(20_000))


# ---- slots -----------------------------------------------------------------------------


def test_a_dead_slot_holds_vacuum_whatever_is_injected_and_its_record_is_shot_noise(start):
    dead = [0, 7, 20]
    block = start(linear(dead_pulses=(0, 7, 20)), glass(21), runs=2000)
    for pump in np.linspace(0, 1.1, 30):
        block.advance(pump)
        assert (block.mean[dead] == 0).all()
        assert (block.variance[dead] == 0.5).all()
    machine = block._dynamics
    records = block.latest_codes[dead] * np.sqrt(machine.outcoupling) * machine.unit
    assert is_spread(records, math.sqrt(0.5))


def test_a_dead_slot_leaks_and_hears_no_more_than_noise(start):
    options = {"dead_pulses": (7,)}
    leaky, tight = (
        start(linear(**options, leakage=leakage), glass(20), runs=4) for leakage in (0.1, 0)
    )
    for block in (leaky, tight):
        block.advance(0.5)
    heard = leaky.latest_codes - tight.latest_codes
    expected = np.vstack([np.zeros(4), 0.1 * tight.latest_codes[:-1]])
    np.testing.assert_allclose(heard[:20], expected[:20], atol=1e-25)


def test_the_dead_are_a_share_of_the_slots_and_more_of_them_include_the_first():
    few, many = (
        Disorder.of(Imperfections(dead_fraction=share, seed=1), 20_000, float).is_dead
        for share in (0.05, 0.2)
    )
    for dead, share in ((few, 0.05), (many, 0.2)):
        assert dead.mean() == pytest.approx(share, abs=4 * math.sqrt(share * (1 - share) / 20_000))
    assert (many | ~few).all()
    assert not Disorder.of(Imperfections(), 20_000, float).is_dead.any()
    assert Disorder.of(Imperfections(dead_fraction=1.0), 20_000, float).is_dead.all()


def test_slots_for_reference_are_not_for_spins(start):
    options = {"reference_pulses": 60, "train_pulses": 160}
    assert Imperfections(**options).max_spins == 100
    assert Imperfections().max_spins is None
    start(linear(**options), np.zeros((100, 100)))
    with pytest.raises(ValueError, match="101 spins for 100 slots of a train"):
        start(linear(**options), np.zeros((101, 101)))


# ---- all of it -------------------------------------------------------------------------


def test_half_a_block_is_half_of_the_block_with_everything_wrong(start):
    dynamics = MeasurementFeedback(imperfections=replace(EVERYTHING, coupling_error=0.0))
    whole = start(dynamics, glass(60), runs=64, round_trips=50)
    half = start(dynamics, glass(60), runs=32, first_run=32, round_trips=50)
    for pump in np.linspace(0, 1.1, 50):
        whole.advance(pump)
        half.advance(pump)
    np.testing.assert_array_equal(whole.mean[:, 32:], half.mean)
