"""Programs and readouts cross the border of a driver's process unchanged."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import scipy.sparse as sp
from cim_machines import Adjustable, Annealer

from cim_hal import (
    Calibration,
    IsingModel,
    Program,
    PumpSchedule,
    Readout,
    Trace,
    TraceRequest,
    lower,
)
from cim_hal.errors import (
    DriverFaultError,
    LocalProtocolError,
    ProtocolError,
    RemoteProtocolError,
    TargetError,
)
from cim_hal.protocol.wire.packet import Kind, Packet
from cim_hal.server.driver import messages
from cim_hal.server.driver.messages import (
    CODEC,
    Done,
    Run,
    decode_couplings,
    decode_program,
    decode_readout,
    encode_couplings,
    encode_program,
    encode_readout,
    max_message_bytes,
)
from cim_hal.server.driver.messages import (
    Readout as ReadoutMessage,
)

RNG = np.random.default_rng(3)
UPPER = np.triu(RNG.integers(-3, 4, (9, 9)), 1).astype(float)
DENSE = IsingModel.from_couplings(UPPER + UPPER.T, RNG.normal(size=9))
SPARSE = IsingModel.from_couplings(sp.csr_array(UPPER + UPPER.T))


def _over(kind, body, arrays=()):
    """Return a packet as the other side decodes it."""
    frames = CODEC.encode(Packet(kind, bytes(16), body, buffers=tuple(arrays)))
    return CODEC.decode([bytes(frame) for frame in frames])


def _program(lowering, **options) -> Program:
    return Program(lowering, PumpSchedule((0.0, 1.25, 2.0), 70), 5, 2**63 - 1, **options)


@pytest.mark.parametrize("model", [DENSE, SPARSE])
@pytest.mark.parametrize("machine", [Annealer, Adjustable])
def test_couplings_are_the_same_and_read_only(model, machine):
    sent = lower(model, machine().describe(), gauge_seed=4)
    found = decode_couplings(_over(Kind.REQUEST, *encode_couplings(_program(sent))))
    assert found.report == sent.report
    assert type(found.coupling) is type(sent.coupling)
    difference = found.coupling - sent.coupling
    assert not (difference.any() if model is DENSE else abs(difference).sum())
    np.testing.assert_array_equal(found.field, sent.field)
    np.testing.assert_array_equal(found.gauge, sent.gauge)
    with pytest.raises(ValueError, match="read-only"):
        found.gauge[0] = 0


@pytest.mark.parametrize("trace", [None, TraceRequest(every=3, runs=2)])
@pytest.mark.parametrize("calibration", [None, Calibration(valid_s=3.0, facts={"n": 1, "x": 0.1})])
def test_a_program_is_the_same(trace, calibration):
    lowering = lower(DENSE, Annealer().describe())
    sent = _program(lowering, settings={"gain": 0.1}, trace=trace, calibration=calibration)
    packet = _over(Kind.REQUEST, Run(program=encode_program(sent)))
    found = decode_program(packet.body.program, lowering)
    for name in ("schedule", "n_runs", "seed", "settings", "trace", "calibration"):
        assert getattr(found, name) == getattr(sent, name)


VALUES = RNG.normal(size=(5, 9))
TRACE = Trace(np.array([3, 6]), np.array([0.5, 1.0]), RNG.normal(size=(2, 2, 9)))


@pytest.mark.parametrize(
    ("values", "dtype"),
    [
        (VALUES, "f8"),
        (VALUES.astype("f4"), "f4"),
        (VALUES.astype("f2"), "f4"),
        (VALUES.astype("longdouble"), "f8"),
        (np.where(VALUES < 0, -1, 1), "i1"),
        (np.asfortranarray(VALUES), "f8"),
    ],
)
def test_a_readout_gives_the_same_spins_and_amplitudes(values, dtype):
    sent = Readout(values, TRACE, {"relocks": np.int64(2), "drift": np.float64(0.5), "ok": True})
    found = decode_readout(_over(Kind.REPLY, *encode_readout(sent, with_trace=True)))
    assert found.values.dtype == dtype
    np.testing.assert_array_equal(found.spins, sent.spins)
    if sent.amplitudes is not None:
        np.testing.assert_array_equal(found.amplitudes, sent.amplitudes)
    assert found.notes == {"relocks": 2, "drift": 0.5, "ok": True}
    np.testing.assert_array_equal(found.trace.amplitudes, TRACE.amplitudes.astype("f4"))
    bare = decode_readout(_over(Kind.REPLY, *encode_readout(sent, with_trace=False)))
    assert bare.trace is None


def test_no_readout_that_a_machine_may_give_is_too_large():
    capabilities = Adjustable().describe().model_copy(update={"max_runs": 7, "max_spins": 9})
    largest = Readout(np.zeros((7, 9)), TRACE)
    _, arrays = encode_readout(largest, with_trace=True)
    assert sum(array.nbytes for array in arrays) <= max_message_bytes(capabilities)


def test_a_reply_that_is_no_readout_is_refused():
    with pytest.raises(ProtocolError, match="buffers"):
        _over(Kind.REPLY, ReadoutMessage(notes={}))
    with pytest.raises(RemoteProtocolError, match="2 arrays of a trace"):
        decode_readout(_over(Kind.REPLY, ReadoutMessage(notes={}), [VALUES] * 3))
    with pytest.raises(ProtocolError, match="kind 4"):
        _over(Kind.RECORD, Done())
    odd = decode_readout(_over(Kind.REPLY, ReadoutMessage(notes={}), [VALUES]))
    with pytest.raises(Exception, match="shape"):
        replace(odd, values=VALUES[:2]).check(
            Program(
                lower(DENSE, Annealer().describe()), PumpSchedule.linear(0, 1, round_trips=3), 5, 0
            )
        )


@pytest.mark.parametrize(
    "error",
    [
        TargetError("no such driver", hint="known: emulator"),
        DriverFaultError("the driver failed in run", exception="KeyError"),
        LocalProtocolError("too long"),
    ],
)
def test_an_error_keeps_its_class_and_fields(error):
    found = messages.decode_error(_over(Kind.REPLY, messages.encode_error(error)).body)
    assert type(found) is {LocalProtocolError: RemoteProtocolError}.get(type(error), type(error))
    assert (found.message, found.hint) == (error.message, error.hint)
    assert found.details == error.details


def _documented() -> dict[str, tuple[str, list[str], tuple[int, int]]]:
    text = (Path(__file__).parents[5] / "docs/reference/driver-pipe.md").read_text("utf-8")
    rows = [
        re.split(r"(?<!\\)\|", line)[1:-1] for line in text.splitlines() if line.startswith("| `")
    ]
    found = {}
    for name, kind, fields, arrays, _ in rows:
        numbers = [int(number) for number in re.findall(r"\d+", arrays)] or [0]
        span = numbers[0], numbers[-1]
        found[name.strip(" `")] = kind.split(",")[0].strip(), re.findall(r"`(\w+)`", fields), span
    return found


def test_the_reference_lists_all_messages_with_their_fields_and_arrays():
    kinds = {
        "request": messages.REQUESTS,
        "reply": messages.REPLIES,
        "event": messages.EVENTS,
    }
    expected = {}
    for kind, classes in kinds.items():
        for cls in classes:
            fields = [name for name in cls.model_fields if name != "t"]
            for name in get_args(cls.model_fields["t"].annotation):
                expected[name] = kind, fields, cls.buffers
    assert _documented() == expected
