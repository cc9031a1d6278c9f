from __future__ import annotations

import numpy as np
import pytest

from cim_hal import errors
from cim_hal.errors import CimError, rebuild
from cim_hal.protocol.wire.errors import CLASSES, as_error, to_wire
from cim_hal.protocol.wire.messages import REPLY, ErrorMessage

MIRRORED = {
    errors.LocalProtocolError: errors.RemoteProtocolError,
    errors.RemoteProtocolError: errors.LocalProtocolError,
}


@pytest.mark.parametrize("cls", CLASSES.values())
def test_an_error_crosses_the_wire_with_its_sentence_hint_and_fields(cls):
    error = rebuild(cls, "what was wrong", "what is right", {"what": "bits", "at": 3, "x": None})
    back = as_error(REPLY.validate_python(to_wire(error).model_dump()))
    assert type(back) is MIRRORED.get(cls, cls)
    assert (back.message, back.hint, back.details) == (error.message, error.hint, error.details)


def test_a_class_the_table_lacks_travels_as_its_base():
    class LaserOffError(errors.DeviceError, code="device.laser_off"):
        """Unknown on the wire."""

    assert to_wire(LaserOffError("off")).code == "device"


def test_an_unknown_code_still_shows_the_sentence():
    back = as_error(ErrorMessage(code="device.on_fire", message="there is smoke"))
    assert type(back) is errors.RemoteProtocolError
    assert "there is smoke" in str(back)


def test_fields_that_do_not_fit_the_wire_are_cut_or_written_out():
    error = CimError("x" * 10_000, huge=10**40, odd=np.int8(3), text="y" * 9999, half=0.5)
    fault = to_wire(error)
    assert len(fault.message) == len(fault.details["text"]) == 2000
    assert fault.details["huge"] == str(10**40)
    assert fault.details["odd"] == "3"
    assert fault.details["half"] == 0.5


def test_a_lone_surrogate_in_a_sentence_does_not_break_the_wire():
    assert to_wire(CimError("file \udcff")).message == "file ?"
