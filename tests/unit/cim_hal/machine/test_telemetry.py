"""Telemetry and calibrations: what a machine says of itself in a message."""

from __future__ import annotations

import hashlib
import json
import time

import pytest
from pydantic import ValidationError

from cim_hal import Calibration, Reading, Telemetry
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


@pytest.mark.parametrize("number", ["nan", "inf", "-inf"])
def test_a_reading_without_a_number_is_data_and_text_in_json(number):
    telemetry = Telemetry(readings=(Reading(name="cryostat", value=float(number), unit="K"),))
    assert str(telemetry["cryostat"].value) == number
    assert str(telemetry.model_dump()["readings"][0]["value"]) == number
    for made in (telemetry.model_dump(mode="json"), json.loads(telemetry.model_dump_json())):
        assert made["readings"][0]["value"] == number
        json.dumps(made, allow_nan=False)


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


RECORD = Calibration(
    valid_s=600, threshold_w=0.012, facts={"adc_full_scale_v": 1.5, "by": "hand"}, taken_at=100
)


def test_the_fingerprint_is_the_hash_of_the_fields_as_json():
    text = (
        '{"coupling_gain":null,"facts":{"adc_full_scale_v":1.5,"by":"hand"},'
        '"taken_at":100.0,"threshold_w":0.012,"valid_s":600.0}'
    )
    assert RECORD.fingerprint == f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def test_the_same_content_has_the_same_fingerprint_and_other_content_another():
    turned = {"by": "hand", "adc_full_scale_v": 1.5}
    assert RECORD.model_copy(update={"facts": turned}).fingerprint == RECORD.fingerprint
    for change in ({"valid_s": 601.0}, {"taken_at": 101.0}, {"facts": {}}, {"coupling_gain": 1.0}):
        assert RECORD.model_copy(update=change).fingerprint != RECORD.fingerprint


def test_a_record_is_the_same_after_a_journey_as_json():
    again = Calibration.model_validate_json(RECORD.model_dump_json())
    assert again == RECORD
    assert again.fingerprint == RECORD.fingerprint


def test_a_record_does_not_change():
    with pytest.raises(ValidationError, match="frozen"):
        RECORD.valid_s = 1.0


@pytest.mark.parametrize(
    "fields",
    [
        {"valid_s": 0.0},
        {"valid_s": float("inf")},
        {"threshold_w": -1.0},
        {"coupling_gain": float("nan")},
        {"facts": {"x": [1]}},
        {"facts": {f"{i:03d}" + "n" * 90: "v" * 190 for i in range(256)}},
    ],
)
def test_a_record_that_is_none_is_refused(fields):
    with pytest.raises(ValidationError):
        Calibration(**({"valid_s": 1.0} | fields))
