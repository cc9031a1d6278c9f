"""Knobs of emulated machines: what they are, that they turn, and what they are not."""

from __future__ import annotations

import math
from dataclasses import fields, replace

import numpy as np
import pytest
from emulator.settings import KNOBS, settings_of, with_settings

from cim_hal import (
    Capabilities,
    IsingModel,
    Program,
    PumpSchedule,
    StopToken,
    lower,
    make_driver,
    registered_drivers,
)
from emulator import (
    AmplitudeHeterogeneityCorrection,
    BestSeen,
    ChaoticAmplitudeControl,
    ChaoticFeedbackControl,
    Converter,
    EmulatedCim,
    MeanField,
    MeasurementFeedback,
    PositiveP,
    SeparatedFeedbackControl,
    SimulatedBifurcation,
    TruncatedWigner,
)
from emulator.dynamics.gaussian import GaussianFeedback
from emulator.dynamics.nmfa import NoisyMeanFieldAnnealing
from emulator.dynamics.simcim import SimCim

ALL = [
    MeasurementFeedback(),
    MeanField(feedback_limit=0.12, drive_limit=0.2, field_amplitude=0.12),
    TruncatedWigner(),
    GaussianFeedback(
        adc=Converter(full_scale=0.12), dac=Converter(full_scale=0.2), field_amplitude=0.12
    ),
    PositiveP(),
    ChaoticAmplitudeControl(),
    ChaoticFeedbackControl(),
    SeparatedFeedbackControl(),
    AmplitudeHeterogeneityCorrection(),
    SimulatedBifurcation(variant="discrete"),
    SimulatedBifurcation(variant="ballistic", stability=0.75),
    SimCim(),
    NoisyMeanFieldAnnealing(),
    BestSeen(dynamics=ChaoticAmplitudeControl()),
]
NAMES = [type(dynamics).__name__ for dynamics in ALL]


def machine(dynamics) -> EmulatedCim:
    capabilities = Capabilities(
        name="test",
        max_spins=100,
        coupling_bits=None if dynamics.has_field else 8,
        has_field=dynamics.has_field,
    )
    return EmulatedCim(dynamics, capabilities=capabilities, threads=1)


def values(driver: EmulatedCim, settings: dict[str, float]) -> np.ndarray:
    n_spins = 12
    upper = np.triu(np.random.default_rng(0).normal(size=(n_spins, n_spins)), 1)
    h = np.ones(n_spins) if driver.describe().has_field else None
    lowering = lower(IsingModel.from_couplings(upper + upper.T, h), driver.describe())
    schedule = PumpSchedule.linear(0.0, 1.2, round_trips=300)
    program = Program(lowering, schedule, 16, 3, settings)
    driver.describe().check_settings(settings)
    readout = driver.run(program, StopToken())
    readout.check(program)
    return readout.values


def test_every_dynamics_with_knobs_is_tried_here():
    assert set(KNOBS) <= {type(dynamics) for dynamics in ALL}


@pytest.mark.parametrize("dynamics", ALL, ids=NAMES)
def test_all_knobs_of_the_table_are_offered_and_stand_as_the_machine_is(dynamics):
    inner = dynamics.dynamics if isinstance(dynamics, BestSeen) else dynamics
    offered = {setting.name: setting for setting in settings_of(dynamics)}
    assert {knob.path for knob in KNOBS[type(inner)]} <= set(offered)
    assert all(
        offered[name].default == getattr(inner, name) for name in offered if hasattr(inner, name)
    )
    standing = {name: setting.default for name, setting in offered.items()}
    assert with_settings(dynamics, standing) == dynamics
    assert with_settings(dynamics, {}) == dynamics


@pytest.mark.parametrize("dynamics", ALL, ids=NAMES)
@pytest.mark.parametrize("end", ["low", "high"])
def test_a_machine_runs_with_each_knob_at_each_end(dynamics, end):
    driver = machine(dynamics)
    standing = values(driver, {})
    for setting in driver.describe().settings:
        turned = values(driver, {setting.name: getattr(setting, end)})
        assert np.isfinite(turned).all()
        # Longer steps than are stable are not made, and large limits are never reached.
        is_idle = setting.name in {"stability", "time_step", "error_limit", "every", "heating"}
        assert is_idle or getattr(setting, end) == setting.default or (turned != standing).any()


@pytest.mark.parametrize("dynamics", ALL, ids=NAMES)
def test_a_machine_runs_with_all_knobs_at_their_strongest(dynamics):
    driver = machine(dynamics)
    high = {setting.name: setting.high for setting in driver.describe().settings}
    assert np.isfinite(values(driver, high)).all()


def test_a_job_turns_the_machine_for_itself_only():
    driver = machine(MeasurementFeedback())
    before = values(driver, {})
    turned = values(driver, {"coupling_gain": 0.3, "adc.full_scale": 0.5})
    np.testing.assert_array_equal(values(driver, {}), before)
    built = MeasurementFeedback(
        coupling_gain=0.3, adc=replace(MeasurementFeedback().adc, full_scale=0.5)
    )
    np.testing.assert_array_equal(turned, values(machine(built), {}))
    assert (turned != before).any()


def test_the_knobs_of_a_remembering_machine_are_those_of_its_dynamics_and_how_often_it_looks():
    dynamics = BestSeen(dynamics=SimulatedBifurcation(), every=10)
    names = [setting.name for setting in settings_of(dynamics)]
    assert names == [*(s.name for s in settings_of(dynamics.dynamics)), "every"]
    turned = with_settings(dynamics, {"every": 3.0, "heating": 0.06})
    assert turned == BestSeen(dynamics=SimulatedBifurcation(heating=0.06), every=3)
    assert type(turned.every) is int


def test_an_option_that_is_switched_off_is_no_knob():
    linear = {setting.name for setting in settings_of(MeanField())}
    assert math.isinf(MeanField().drive_limit)
    assert not linear & {"feedback_limit", "drive_limit", "field_amplitude"}
    adiabatic = SimulatedBifurcation(variant="adiabatic")
    assert "heating" not in {setting.name for setting in settings_of(adiabatic)}


def test_a_machine_beyond_the_usual_range_stands_within_its_own():
    (gain, *_) = settings_of(ChaoticAmplitudeControl(coupling_gain=20.0))
    assert (gain.default, gain.high) == (20.0, 20.0)
    (off, *_) = settings_of(ChaoticAmplitudeControl(coupling_gain=0.0))
    assert (off.default, off.low, off.log) == (0.0, 0.0, False)


def test_every_preset_describes_its_settings_and_properties():
    for registered in registered_drivers():
        capabilities = make_driver(registered.name).describe()
        assert {setting.name for setting in capabilities.settings} >= {"coupling_gain"}
        assert "model" in capabilities.properties


def test_all_numbers_of_a_dynamics_are_among_the_properties():
    dynamics = MeasurementFeedback()
    properties = machine(dynamics).describe().properties
    assert properties["model"] == "MeasurementFeedback"
    assert (properties["adc"], properties["adc.bits"]) == ("Converter", 8)
    assert properties["electronic_noise"] == 0.0
    assert {field.name for field in fields(dynamics)} <= set(properties)


def test_what_has_no_bound_is_none_and_a_ramp_is_a_text():
    assert machine(MeanField()).describe().properties["drive_limit"] is None
    properties = machine(BestSeen(dynamics=ChaoticAmplitudeControl())).describe().properties
    assert properties["dynamics"] == "ChaoticAmplitudeControl"
    assert properties["dynamics.target"] == "1.0, 3.0"


def test_properties_given_are_kept():
    given = Capabilities(
        name="test", max_spins=9, coupling_bits=8, properties={"fibre_m": 1000, "model": "Nr. 5"}
    )
    properties = EmulatedCim(MeasurementFeedback(), capabilities=given).describe().properties
    assert (properties["fibre_m"], properties["model"]) == (1000, "Nr. 5")
    assert properties["saturation"] == 300.0
