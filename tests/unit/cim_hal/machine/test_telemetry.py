"""Readings and interlocks, and what a machine says of itself in a message."""

from __future__ import annotations

import time

import pytest
from pydantic import ValidationError

from cim_hal import Reading, Telemetry
from cim_hal.errors import InterlockError

POWER = Reading(name="pump_power", value=12.5, unit="mW")


def test_a_reading_is_found_by_its_name():
    telemetry = Telemetry(readings=(POWER, Reading(name="cavity", value="locked")))
    assert telemetry["cavity"].value == "locked"
    assert not telemetry.is_empty
    with pytest.raises(KeyError):
        telemetry["lid"]


def test_telemetry_is_of_now_and_says_nothing_unless_told():
    before = time.time()
    telemetry = Telemetry()
    assert before <= telemetry.taken_at <= time.time()
    assert telemetry.is_empty
    telemetry.check_interlocks()


def test_numbers_states_and_flags_keep_their_types_through_json():
    values = (1, 1.0, True, "locked")
    readings = tuple(Reading(name=f"r{at}", value=value) for at, value in enumerate(values))
    again = Telemetry.model_validate_json(Telemetry(readings=readings).model_dump_json())
    assert [type(reading.value) for reading in again.readings] == [int, float, bool, str]


def test_an_open_interlock_forbids_to_run_and_says_which():
    telemetry = Telemetry(interlocks={"lid": False, "laser": True, "water": False})
    with pytest.raises(InterlockError, match="lid, water") as caught:
        telemetry.check_interlocks()
    assert caught.value.details == {"interlocks": "lid, water"}
    assert not caught.value.retryable


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"readings": (POWER, POWER)}, "same name"),
        ({"readings": ({"name": "x", "value": float("nan")},)}, "finite"),
        ({"readings": ({"name": "x", "value": [1]},)}, "readings"),
        ({"interlocks": {"lid": "ajar"}}, "bool"),
        ({"taken_at": -1.0}, "greater"),
        (
            {
                "readings": tuple(
                    Reading(name=f"{i}" + "n" * 90, value="v" * 190) for i in range(128)
                )
            },
            "12000 fit",
        ),
    ],
)
def test_telemetry_that_is_none_is_refused(fields, says):
    with pytest.raises(ValidationError, match=says):
        Telemetry(**fields)
