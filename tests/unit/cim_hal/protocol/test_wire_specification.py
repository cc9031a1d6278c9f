"""The page that specifies the wire keeps up with the code."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from cim_hal import (
    Calibration,
    Capabilities,
    LoweringReport,
    Reading,
    RunRecord,
    Setting,
    Telemetry,
)
from cim_hal.machine.telemetry import DriverState
from cim_hal.model.schedule import MAX_TRACE_BYTES
from cim_hal.protocol.jobs.state import JOB, JobEvent
from cim_hal.protocol.wire import messages
from cim_hal.protocol.wire.codec import DTYPES
from cim_hal.protocol.wire.errors import CLASSES
from cim_hal.protocol.wire.limits import MAX_BUFFER_BYTES, MAX_HEADER_BYTES, Limits
from cim_hal.protocol.wire.messages import instruments as instrumentation
from cim_hal.protocol.wire.messages.status import (
    EventSummary,
    JobSummary,
    MetricReading,
    SessionSummary,
    Throughput,
)
from cim_hal.protocol.wire.version import NEWEST

PAGE = (Path(__file__).parents[4] / "docs/reference/protocol.md").read_text(encoding="utf-8")
TYPES = [*messages.REQUESTS, *messages.REPLIES]


@pytest.mark.parametrize("cls", TYPES)
def test_every_message_and_each_of_its_fields_is_specified(cls):
    assert f"`{cls.model_fields['t'].default}`" in PAGE
    for name in cls.model_fields:
        assert f"`{name}`" in PAGE


@pytest.mark.parametrize(
    "cls",
    [
        Limits,
        Capabilities,
        LoweringReport,
        RunRecord,
        messages.CouplingSpec,
        messages.CouplingRef,
        messages.Schedule,
        messages.TraceSpec,
        Setting,
        Telemetry,
        Reading,
        DriverState,
        Calibration,
        instrumentation.CalibrationEntry,
        JobSummary,
        SessionSummary,
        EventSummary,
        Throughput,
        MetricReading,
    ],
)
def test_every_field_of_the_parts_is_specified(cls):
    for name in cls.model_fields:
        assert re.search(rf'[`".]{name}[`"]', PAGE), name


def test_the_error_codes_are_those_of_the_table():
    section = PAGE.partition("### Errors")[2].partition("## Versions")[0]
    assert set(re.findall(r"^\| `([a-z._]+)` \|", section, re.MULTILINE)) == set(CLASSES)


def test_the_states_are_those_of_the_table():
    rows = re.findall(r"^\| `(\w+)` \|((?: *`?\w*`? *\|){5})$", PAGE, re.MULTILINE)
    found = {
        state: {
            event: cell.strip().strip("`")
            for event, cell in zip(JobEvent, cells.split("|"), strict=False)
            if cell.strip()
        }
        for state, cells in rows
    }
    assert found == {
        str(state): {event: str(after) for event, after in row.items()}
        for state, row in JOB.items()
    }


def test_the_numbers_of_the_frame_format_are_those_of_the_code():
    assert f"{MAX_HEADER_BYTES:,}" in PAGE
    assert f"{MAX_BUFFER_BYTES:,}" in PAGE
    assert f"{MAX_TRACE_BYTES:,}" in PAGE
    for dtype in DTYPES:
        assert dtype in PAGE


def test_the_version_is_that_of_the_code():
    assert "version {}.{}.".format(*NEWEST) in PAGE
