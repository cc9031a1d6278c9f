"""Factors of jobs: the schedule that their levels make, and levels that are refused."""

from __future__ import annotations

import pytest

from cim_hal import Capabilities, CapabilityError, PumpSchedule
from cim_hal.errors import StudyError
from cim_hal.study.job_factors import check_job_factor, schedule_of

MACHINE = Capabilities(
    name="machine",
    max_spins=8,
    coupling_bits=8,
    default_pump=(0.0, 0.5, 1.0),
    default_round_trips=100,
)


def test_levels_change_the_default_schedule_and_nothing_else():
    assert schedule_of({"coupling_bits": 4}, MACHINE) is None
    assert schedule_of({"round_trips": 7}, MACHINE) == PumpSchedule((0.0, 0.5, 1.0), 7)
    assert schedule_of({"pump_end": 2.0}, MACHINE) == PumpSchedule((0.0, 1.0, 2.0), 100)
    both = schedule_of({"pump_end": 2.0, "round_trips": 7}, MACHINE)
    assert both == PumpSchedule((0.0, 1.0, 2.0), 7)


def test_a_schedule_that_a_machine_cannot_run_is_refused():
    with pytest.raises(CapabilityError, match="pump_range"):
        check_job_factor("pump_end", [1, 9], MACHINE)
    dark = MACHINE.model_copy(update={"default_pump": (1.0, 0.0)})
    with pytest.raises(StudyError, match="ends at no pump"):
        check_job_factor("pump_end", [1], dark)
