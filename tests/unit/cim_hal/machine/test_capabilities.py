"""Capabilities refuse what the machine cannot do, with both numbers."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from cim_hal import Capabilities, CapabilityError, PumpSchedule

MACHINE = Capabilities(
    name="bench", max_spins=8, coupling_bits=8, max_round_trips=1000, max_runs=10
)


def test_a_longer_run_than_the_machine_has_is_refused():
    with pytest.raises(CapabilityError, match="the request needs 1001, the device has 1000"):
        MACHINE.check_schedule(PumpSchedule.constant(1, round_trips=1001))


def test_a_stronger_pump_than_the_machine_has_is_refused():
    with pytest.raises(CapabilityError, match="pump_range"):
        MACHINE.check_schedule(PumpSchedule.linear(0, 9, round_trips=10))


@pytest.mark.parametrize("n_runs", [0, -1, 11])
def test_a_number_of_runs_out_of_range_is_refused(n_runs):
    with pytest.raises(CapabilityError, match=f"needs {n_runs}, the device has 10"):
        MACHINE.check_runs(n_runs)


def test_the_recommended_schedule_must_fit():
    with pytest.raises(CapabilityError):
        Capabilities(name="x", max_spins=1, coupling_bits=8, default_pump=(9.0,))


@pytest.mark.parametrize("wrong", [{"coupling_bits": 1}, {"coupling_bits": 17}, {"max_spins": 0}])
def test_impossible_machines_are_refused(wrong):
    with pytest.raises(ValidationError):
        Capabilities(**{"name": "x", "max_spins": 4, "coupling_bits": 8} | wrong)


def test_capabilities_survive_json():
    assert Capabilities.model_validate_json(MACHINE.model_dump_json()) == MACHINE
