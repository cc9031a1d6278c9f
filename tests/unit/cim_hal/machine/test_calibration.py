"""Calibrations are addressed by their content."""

from __future__ import annotations

import hashlib

import pytest
from pydantic import ValidationError

from cim_hal import Calibration

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
