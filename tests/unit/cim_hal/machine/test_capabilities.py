"""Capabilities refuse what the machine cannot do, settings what is out of their range."""

from __future__ import annotations

import math

import pytest
from pydantic import ValidationError

from cim_hal import Capabilities, CapabilityError, PumpSchedule, Setting, TraceRequest
from cim_hal.errors import DriverFaultError
from cim_hal.model.schedule import MAX_TRACE_BYTES

MACHINE = Capabilities(
    name="bench", max_spins=8, coupling_bits=8, max_round_trips=1000, max_runs=10
)


def test_a_longer_run_than_the_machine_has_is_refused():
    with pytest.raises(CapabilityError, match="the request needs 1001, the device has 1000"):
        MACHINE.check_schedule(PumpSchedule.constant(1, round_trips=1001))


def test_a_stronger_pump_than_the_machine_has_is_refused():
    with pytest.raises(CapabilityError, match="pump_range"):
        MACHINE.check_schedule(PumpSchedule.linear(0, 9, round_trips=10))


@pytest.mark.parametrize(
    ("limits", "said"),
    [
        (
            {"max_round_trips": 100},
            r"^describe: default_round_trips is 1000, max_round_trips 100 \(set default_round",
        ),
        (
            {"pump_range": (1.0, 1.0)},
            r"^describe: default_pump is \(0.0, 2.0\), pump_range \(1.0, 1.0\) \(set default_pump",
        ),
    ],
)
def test_limits_without_the_defaults_of_their_own_are_a_fault_of_the_description(limits, said):
    with pytest.raises(DriverFaultError, match=said):
        Capabilities(name="bench", max_spins=8, coupling_bits=8, **limits)


@pytest.mark.parametrize("n_runs", [0, -1, 11])
def test_a_number_of_runs_out_of_range_is_refused(n_runs):
    with pytest.raises(CapabilityError, match=rf"needs {n_runs}, the device has (1 to )?10"):
        MACHINE.check_runs(n_runs)


@pytest.mark.parametrize("wrong", [{"coupling_bits": 1}, {"coupling_bits": 17}, {"max_spins": 0}])
def test_impossible_machines_are_refused(wrong):
    with pytest.raises(ValidationError):
        Capabilities(**{"name": "x", "max_spins": 4, "coupling_bits": 8} | wrong)


def test_facts_keep_their_types():
    facts = {"length_m": 1.5, "lasers": 2, "is_warm": True, "maker": "us", "limit": None}
    machine = Capabilities(name="x", max_spins=4, coupling_bits=8, properties=facts)
    assert {name: type(value) for name, value in machine.properties.items()} == {
        name: type(value) for name, value in facts.items()
    }
    assert Capabilities.model_validate_json(machine.model_dump_json()) == machine


@pytest.mark.parametrize(
    "facts",
    [
        {"x" * 101: 1},
        {"": 1},
        {"text": "x" * 201},
        {"infinite": float("inf")},
        {"list": [1, 2]},
        {f"fact {i}": i for i in range(257)},
        {f"fact {i}": "x" * 200 for i in range(250)},
    ],
    ids=["long name", "no name", "long text", "infinite", "list", "many", "much"],
)
def test_facts_that_do_not_fit_are_refused(facts):
    with pytest.raises(ValidationError):
        Capabilities(name="x", max_spins=4, coupling_bits=8, properties=facts)


def test_two_settings_of_one_name_are_refused():
    setting = Setting(name="gain", default=1.0, low=0.5, high=4.0)
    with pytest.raises(ValidationError, match="the same name"):
        Capabilities(name="x", max_spins=4, coupling_bits=8, settings=(setting, setting))


def test_a_machine_without_traces_refuses_one():
    with pytest.raises(CapabilityError, match="reports_trace"):
        MACHINE.check_trace(TraceRequest(1), round_trips=1, n_runs=1, n_spins=1)


@pytest.mark.parametrize("size", [(100_000, 10, 2000), (7, 3, 5_000_000), (999_999, 1, 500)])
def test_a_trace_that_is_too_large_is_told_the_finest_that_fits(size):
    machine = MACHINE.model_copy(update={"reports_trace": True})
    round_trips, n_runs, n_spins = size
    sizes = {"round_trips": round_trips, "n_runs": n_runs, "n_spins": n_spins}
    with pytest.raises(CapabilityError, match="trace_bytes") as caught:
        machine.check_trace(TraceRequest(1, runs=1000), **sizes)
    assert caught.value.details["available"] == MAX_TRACE_BYTES
    every = int(caught.value.hint.split()[2])
    machine.check_trace(TraceRequest(every, runs=1000), **sizes)
    if every > 1:
        with pytest.raises(CapabilityError):
            machine.check_trace(TraceRequest(every - 1, runs=1000), **sizes)


def test_a_frame_that_is_too_large_needs_fewer_runs():
    machine = MACHINE.model_copy(update={"reports_trace": True})
    with pytest.raises(CapabilityError, match="fewer runs"):
        machine.check_trace(TraceRequest(1, runs=2000), round_trips=9, n_runs=2000, n_spins=10_000)


def test_capabilities_survive_json():
    assert Capabilities.model_validate_json(MACHINE.model_dump_json()) == MACHINE


@pytest.mark.parametrize(("has_field", "spins"), [(True, 0), (False, 1)])
def test_a_field_takes_a_spin_where_the_machine_has_none(has_field, spins):
    capabilities = Capabilities(name="m", max_spins=8, coupling_bits=4, has_field=has_field)
    assert capabilities.field_spins == spins


GAIN = Setting(name="gain", unit="dB", default=1.0, low=0.5, high=4.0, log=True)
TURNS = Setting(name="turns", default=2, low=0, high=3, integer=True)


@pytest.mark.parametrize("value", [0.5, 1.0, 4.0])
def test_both_ends_of_the_range_belong_to_it(value):
    GAIN.check(value)


@pytest.mark.parametrize("value", [0.49, 4.01, math.nan, math.inf])
def test_a_value_out_of_range_is_refused_with_the_setting_and_its_range(value):
    with pytest.raises(CapabilityError, match=r"settings\.gain: .* has 0\.5 to 4 dB") as caught:
        GAIN.check(value)
    assert caught.value.details["what"] == "settings.gain"


@pytest.mark.parametrize("value", [0.5, math.nan, math.inf, 4])
def test_a_setting_with_clicks_takes_whole_numbers_only(value):
    TURNS.check(3.0)
    with pytest.raises(CapabilityError, match="whole numbers 0 to 3"):
        TURNS.check(value)


def test_an_unknown_setting_is_refused_with_the_nearest_or_those_there_are():
    machine = MACHINE.model_copy(update={"settings": (GAIN, TURNS)})
    for name, told in (("gian", r"gain \(did you mean gain\?\)"), ("noise", "gain, turns")):
        with pytest.raises(CapabilityError, match=f"needs {name}, the device has {told}"):
            machine.check_settings({name: 1.0})
    with pytest.raises(CapabilityError, match="the device has none"):
        MACHINE.check_settings({"gain": 1.0})


@pytest.mark.parametrize(
    "wrong",
    [{"low": 2.0}, {"high": 0.5}, {"low": 0.0, "log": True}, {"high": math.inf}, {"name": ""}],
)
def test_impossible_settings_are_refused(wrong):
    with pytest.raises(ValidationError):
        Setting(**{"name": "x", "default": 1.0, "low": 0.5, "high": 4.0} | wrong)
