from __future__ import annotations

from typing import ClassVar

import pytest
from pydantic import TypeAdapter, ValidationError

from cim_hal import LoweringReport, RunRecord
from cim_hal.model.record import MAX_NOTES, Notes, Record

REPORT = LoweringReport(
    bits=8,
    step=0.1,
    levels_used=3,
    max_error=0.0,
    rms_error=0.0,
    energy_error_bound=0.0,
    field_spin=False,
    gauge=True,
    machine_spins=2,
)


class Short(Record):
    max_bytes: ClassVar[int | None] = 12

    text: str


def test_a_record_is_as_long_as_its_json_in_bytes():
    assert len(Short(text="a").model_dump_json()) == 12
    for text in ("ab", "ä"):
        with pytest.raises(ValidationError, match="it takes 13 bytes, 12 fit"):
            Short(text=text)


def test_a_run_comes_back_from_its_json_as_it_was():
    record = RunRecord(
        device="bench",
        job="0" * 32,
        coupling="sha256:" + "1" * 64,
        seed=2**62,
        round_trips=7,
        device_s=0.1 + 0.2,
        lowering=REPORT,
        pump=(0.5, 1 / 3),
        settings={"gain": 1 / 3},
        notes={"relocks": 3, "door": "open", "warm": True, "width_mm": 0.5},
    )
    again = RunRecord.model_validate_json(record.model_dump_json())
    assert again == record
    assert [type(note) for note in again.notes.values()] == [int, str, bool, float]


@pytest.mark.parametrize(
    "notes",
    [
        {"": 1},
        {"x" * 101: 1},
        {"x": "y" * 201},
        {"x": float("nan")},
        {str(number): number for number in range(MAX_NOTES + 1)},
    ],
)
def test_notes_are_few_short_and_finite(notes):
    with pytest.raises(ValidationError):
        TypeAdapter(Notes).validate_python(notes)


def test_a_record_is_frozen_and_has_no_other_fields():
    with pytest.raises(ValidationError, match="frozen"):
        REPORT.bits = 4
    with pytest.raises(ValidationError, match="Extra inputs"):
        LoweringReport.model_validate(REPORT.model_dump() | {"colour": "red"})
