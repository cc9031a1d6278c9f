"""Programs, readouts and records as messages of a `Link`: fields and arrays, and back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse as sp

from cim_hal.machine.calibration import Calibration
from cim_hal.machine.driver import Program, Readout
from cim_hal.machine.lowering import Lowering
from cim_hal.model.record import LoweringReport
from cim_hal.model.schedule import PumpSchedule
from cim_hal.model.trace import MAX_TRACE_BYTES, Trace, TraceRequest

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from cim_hal.machine.capabilities import Capabilities


__all__ = [
    "lowering_of",
    "most_bytes",
    "plain",
    "program_of",
    "readout_of",
    "tell_lowering",
    "tell_program",
    "tell_readout",
]

Message = tuple[dict[str, Any], list["NDArray[Any]"]]

# Beside the values: round trips and pump rates of a trace of the largest size.
SLACK_BYTES = 5 * MAX_TRACE_BYTES


def tell_lowering(lowering: Lowering) -> Message:
    """Return couplings, field and gauge."""
    J = lowering.coupling
    is_dense = isinstance(J, np.ndarray)
    parts = [J] if is_dense else [J.data, J.indices, J.indptr]
    fields = {"report": lowering.report.model_dump(), "dense": is_dense}
    return fields, [*parts, lowering.field, lowering.gauge]


def lowering_of(fields: Mapping[str, Any], arrays: Sequence[NDArray[Any]]) -> Lowering:
    """Return what `tell_lowering` told; its arrays are read-only."""
    for array in arrays:
        array.flags.writeable = False
    *parts, field, gauge = arrays
    if fields["dense"]:
        coupling: Any = parts[0]
    else:
        coupling = sp.csr_array(tuple(parts), shape=(len(gauge), len(gauge)))
    return Lowering(coupling, field, gauge, LoweringReport(**fields["report"]))


def tell_program(program: Program) -> dict[str, Any]:
    """Return all of a program but its lowering."""
    trace, record = program.trace, program.calibration
    return {
        "pump": program.schedule.pump,
        "round_trips": program.schedule.round_trips,
        "n_runs": program.n_runs,
        "seed": program.seed,
        "settings": dict(program.settings),
        "trace": trace and (trace.every, trace.runs),
        "calibration": record and record.model_dump(),
    }


def program_of(fields: Mapping[str, Any], lowering: Lowering) -> Program:
    """Return what `tell_program` told."""
    trace, record = fields["trace"], fields["calibration"]
    return Program(
        lowering,
        PumpSchedule(tuple(fields["pump"]), fields["round_trips"]),
        fields["n_runs"],
        fields["seed"],
        fields["settings"],
        TraceRequest(*trace) if trace else None,
        Calibration(**record) if record else None,
    )


def tell_readout(readout: Readout, *, with_trace: bool) -> Message:
    """Return a readout that was checked; exact as far as a server looks at it."""
    arrays = [plain(readout.values)]
    if with_trace and readout.trace is not None:
        trace = readout.trace
        arrays += [
            np.asarray(trace.round_trips, "<i8"),
            np.asarray(trace.pump, "<f8"),
            np.asarray(trace.amplitudes, "<f4"),
        ]
    notes = {str(name): _simple(note) for name, note in readout.notes.items()}
    return {"notes": notes}, arrays


def readout_of(fields: Mapping[str, Any], arrays: Sequence[NDArray[Any]]) -> Readout:
    """Return what `tell_readout` told; not checked."""
    values, *rest = arrays
    trace = Trace(*rest) if len(rest) == 3 else None
    return Readout(values, trace, fields["notes"])


def most_bytes(capabilities: Capabilities) -> int:
    """Return the bytes that no readout of a machine exceeds."""
    return 8 * capabilities.max_runs * capabilities.max_spins + SLACK_BYTES


def plain(values: NDArray[Any]) -> NDArray[Any]:
    """Return spins as int8, amplitudes as float32 or float64."""
    if values.dtype.kind == "i":
        return values.astype("|i1")
    return values.astype("<f4" if values.dtype.itemsize <= 4 else "<f8", copy=False)


def _simple(note: Any) -> Any:
    """Return numbers of numpy as Python's: msgpack knows no others."""
    return note.item() if isinstance(note, np.generic) else note
