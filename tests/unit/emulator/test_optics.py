"""Laboratory numbers against values computed by hand, and against the dynamics they feed."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator import FibreCavity, HomodyneDetector, MeasurementFeedback
from emulator.dynamics.crystal import crystal_gain, gain_table
from emulator.dynamics.round_trip import measured
from emulator.optics import loss_db_of, transmission_of

RING = FibreCavity(
    length_m=1000.0, pulse_rate_hz=1e9, loss_db=8.0, outcoupling=0.1, threshold_w=0.02
)
DETECTOR = HomodyneDetector(
    quantum_efficiency=0.9, visibility=0.95, loss_db=0.5, clearance_db=10.0, shot_noise_v=5e-3
)


def test_a_kilometre_of_fibre_holds_4897_pulses_at_one_gigahertz():
    # 1000 m * 1.468 / 299792458 m/s; Inagaki et al. (2016): 1 km, 1 GHz, 5 us
    assert RING.round_trip_s == pytest.approx(4.896721e-6, rel=1e-6)
    assert RING.pulses == 4897


def test_320_metres_at_100_megahertz_hold_157_pulses():
    # 320 m * 1.468 / 299792458 m/s = 1.566951 us; McMahon et al. (2016) had 160 pulses of 10 ns
    short = replace(RING, length_m=320.0, pulse_rate_hz=1e8)
    assert short.round_trip_s == pytest.approx(1.566951e-6, rel=1e-6)
    assert short.pulses == 157
    assert short.pulses == pytest.approx(160, rel=0.02)


@pytest.mark.parametrize(
    ("loss_db", "transmission"), [(0, 1), (10, 0.1), (20, 0.01), (3.0103, 0.5), (0.2, 0.954993)]
)
def test_decibels_known_by_heart(loss_db, transmission):
    assert transmission_of(loss_db) == pytest.approx(transmission, rel=1e-6)
    assert loss_db_of(transmission) == pytest.approx(loss_db, rel=1e-5, abs=1e-12)


@given(st.floats(0, 100), st.floats(0, 100))
def test_decibels_add_where_transmissions_multiply_and_convert_back(a, b):
    assert transmission_of(a) * transmission_of(b) == pytest.approx(transmission_of(a + b))
    assert loss_db_of(transmission_of(a)) == pytest.approx(a, abs=1e-12)


@pytest.mark.parametrize("power_over_threshold", [0.0, 0.25, 1.0, 2.0, 4.0])
def test_pump_rates_are_of_amplitudes_so_four_thresholds_of_power_are_two(power_over_threshold):
    power_w = power_over_threshold * 0.02
    pump = RING.pump(power_w)
    assert pump**2 == pytest.approx(power_over_threshold)
    assert RING.pump_power_w(pump) == pytest.approx(power_w)


def gain_of(pump: float, loss: float, theta_squared: float) -> float:
    table = gain_table(np.array([pump]), loss, float)
    return 1 / crystal_gain(theta_squared, tuple(table.series[0])).inverse


def test_at_threshold_the_crystal_makes_up_for_the_loss():
    dynamics = RING.measurement_feedback(
        DETECTOR,
        adc=RING.adc(DETECTOR, full_scale_v=0.1, bits=8),
        dac=RING.dac(full_scale_w=1e-6, bits=12),
    )
    loss = dynamics.loss_exponent
    assert RING.loss_exponent == pytest.approx(loss, rel=1e-15)
    # of a weak signal: theta is that of the pump alone
    gain = gain_of(RING.pump(0.02), loss, (RING.pump(0.02) * loss) ** 2)
    assert gain**2 * dynamics.transmission * (1 - dynamics.outcoupling) == pytest.approx(1)


def test_a_photon_at_1550_nanometres_has_an_eighth_of_an_attojoule():
    # hc = 1.98644586e-25 J m (CODATA 2018), over 1.55e-6 m
    assert RING.photon_energy_j == pytest.approx(1.2815780e-19, rel=1e-7)


def test_saturation_follows_from_the_pump_energy_at_threshold():
    # L = (0.8 ln 10 - ln 0.9) / 2 = 0.9737143; 20 mW / 1 GHz = 20 pJ = 1.560576e8 photons
    assert RING.loss_exponent == pytest.approx(0.9737143, rel=1e-7)
    assert RING.saturation**2 == pytest.approx(2 * 1.560576e8 / 0.9737143, rel=1e-6)


def test_energy_is_conserved_all_pump_becomes_signal_at_twice_threshold():
    ring = replace(RING, loss_db=0.0, outcoupling=1e-3)
    pump_j = ring.pump_power_w(2.0) / ring.pulse_rate_hz
    lost_j = 2 * ring.loss_exponent * ring.saturation**2 * ring.photon_energy_j
    assert lost_j == pytest.approx(pump_j, rel=1e-12)
    # the crystal of the dynamics agrees: a pulse of A_s^2 photons grows by what it loses
    mean_squared, loss = 2 * ring.saturation**2, ring.loss_exponent
    theta_squared = (2 * loss) ** 2 + loss / ring.saturation**2 * mean_squared
    gain = gain_of(2.0, loss, theta_squared)
    assert math.log(gain) == pytest.approx(loss, rel=2 * loss)


def test_efficiencies_multiply_and_visibility_counts_twice():
    # 10^-0.05 * 0.9 * 0.9025 = 0.8912509 * 0.81225
    assert DETECTOR.efficiency == pytest.approx(0.7239186, rel=1e-6)
    assert HomodyneDetector(quantum_efficiency=1.0, shot_noise_v=1.0).efficiency == 1


def test_electronic_noise_ten_decibels_below_shot_noise_has_a_tenth_of_its_variance():
    assert DETECTOR.electronic_noise**2 == pytest.approx(0.05, rel=1e-15)
    assert replace(DETECTOR, clearance_db=0.0).electronic_noise ** 2 == pytest.approx(0.5)
    assert replace(DETECTOR, clearance_db=math.inf).electronic_noise == 0


@given(st.floats(0, 40), st.floats(0.1, 10))
def test_electronic_noise_acts_as_a_loss_of_the_known_efficiency(clearance_db, variance):
    # Appel et al. (2007): 1 - 1/S, with S = shot and electronic noise over electronic noise
    noise = replace(DETECTOR, clearance_db=clearance_db).electronic_noise ** 2
    equivalent = 1 - 1 / (1 + 10 ** (clearance_db / 10))

    def record_variance(**detector: float) -> float:
        machine = MeasurementFeedback(transmission=1.0, precision="double", **detector)
        return measured(0.0, variance, 1.0, 1.0, machine.constants())[2] ** 2

    noisy = record_variance(electronic_noise=math.sqrt(noise))
    lossy = record_variance(detector_efficiency=equivalent)
    assert noisy * equivalent == pytest.approx(lossy)


def test_a_voltage_of_shot_noise_is_a_record_of_vacuum():
    assert DETECTOR.record(5e-3) ** 2 == pytest.approx(0.5, rel=1e-15)


def test_the_full_scale_of_the_adc_in_amplitudes_and_in_volts():
    adc = RING.adc(DETECTOR, full_scale_v=0.1, bits=8)
    # 0.1 V = 20 widths of shot noise; 20 / (2 sqrt(0.1 * 0.7239186) * 17903.70)
    assert adc.full_scale == pytest.approx(2.075925e-3, rel=1e-5)
    assert adc.bits == 8
    dynamics = RING.measurement_feedback(DETECTOR, adc=adc, dac=adc)
    record = DETECTOR.record(0.1)
    assert dynamics.constants().adc_scale * record == pytest.approx(adc.top, rel=1e-6)


def test_the_full_scale_of_the_dac_is_the_mean_of_the_pulse_injected():
    dac = RING.dac(full_scale_w=1e-6, bits=12)
    dynamics = RING.measurement_feedback(DETECTOR, adc=dac, dac=dac)
    photons = 1e-6 / 1e9 / RING.photon_energy_j
    injected = dynamics.constants().dac_step * dac.top
    assert injected**2 / 2 == pytest.approx(photons, rel=1e-6)


def test_the_dynamics_are_those_of_the_parts():
    adc, dac = RING.adc(DETECTOR, full_scale_v=0.1, bits=8), RING.dac(full_scale_w=1e-6, bits=12)
    dynamics = RING.measurement_feedback(DETECTOR, adc=adc, dac=dac)
    assert dynamics.transmission == pytest.approx(10**-0.8)
    assert (dynamics.outcoupling, dynamics.adc, dynamics.dac) == (0.1, adc, dac)
    assert dynamics.detector_efficiency == DETECTOR.efficiency
    assert dynamics.electronic_noise == DETECTOR.electronic_noise
    assert dynamics.saturation == RING.saturation


@pytest.mark.parametrize(
    ("part", "name", "value"),
    [
        (RING, "length_m", 0.0),
        (RING, "length_m", math.inf),
        (RING, "pulse_rate_hz", -1.0),
        (RING, "loss_db", -0.1),
        (RING, "outcoupling", 1.0),
        (RING, "outcoupling", 20.0),
        (RING, "threshold_w", 0.0),
        (RING, "wavelength_m", math.nan),
        (RING, "group_index", 0.9),
        (DETECTOR, "quantum_efficiency", 1.1),
        (DETECTOR, "shot_noise_v", 0.0),
        (DETECTOR, "visibility", 0.0),
        (DETECTOR, "loss_db", -1.0),
        (DETECTOR, "clearance_db", math.nan),
    ],
)
def test_a_number_out_of_range_is_refused_by_name(part, name, value):
    with pytest.raises(ValueError, match=rf"^{name} = {value} is out of range$"):
        replace(part, **{name: value})


def test_a_cavity_too_short_for_a_pulse_is_refused():
    with pytest.raises(ValueError, match="hold no pulse"):
        replace(RING, length_m=0.05)


@pytest.mark.parametrize(
    ("convert", "message"),
    [
        (lambda: transmission_of(-1.0), "loss_db = -1.0"),
        (lambda: loss_db_of(0.0), "transmission = 0.0"),
        (lambda: loss_db_of(1.5), "transmission = 1.5"),
        (lambda: RING.pump(-1.0), "power_w = -1.0"),
        (lambda: RING.pump_power_w(math.nan), "pump = nan"),
        (lambda: RING.dac(full_scale_w=0.0, bits=8), "full_scale_w = 0.0"),
        (lambda: RING.adc(DETECTOR, full_scale_v=-1.0, bits=8), "full_scale must be positive"),
    ],
)
def test_a_conversion_without_meaning_is_refused(convert, message):
    with pytest.raises(ValueError, match=message):
        convert()
