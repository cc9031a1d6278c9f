"""Messages between a server and the process of its driver, and the pipe that carries them.

The server sends requests and waits for the reply to each, one at a time; events have no reply.
Array shapes: n spins on the machine, runs of a program.
"""

from __future__ import annotations

import socket
import threading
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, TypeAlias

import numpy as np
import scipy  # not scipy.sparse: it takes 0.4 s, and dense models do not need it
from pydantic import Field

from cim_hal.errors import CimError, RemoteProtocolError, TargetError
from cim_hal.machine import driver
from cim_hal.machine.capabilities import Capabilities
from cim_hal.machine.config import MachineConfig
from cim_hal.machine.lowering import Lowering
from cim_hal.machine.telemetry import Calibration, Telemetry
from cim_hal.model.record import LoweringReport, Notes
from cim_hal.model.sampleset import Trace
from cim_hal.model.schedule import MAX_KNOTS, MAX_TRACE_BYTES, PumpSchedule, TraceRequest
from cim_hal.model.triangle import Triangle
from cim_hal.protocol.wire.base import ErrorMessage, Message, Number, Wire, one_of
from cim_hal.protocol.wire.codec import Codec, FrameLimits, prefix, read_frames
from cim_hal.protocol.wire.errors import as_error, to_wire
from cim_hal.protocol.wire.packet import Kind, Packet
from cim_hal.text import counted

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cim_hal.protocol.wire.codec import Buffer

__all__ = ["CODEC", "EVENTS", "MAX_ARRAY_BYTES", "REPLIES", "REQUESTS", "Pipe", "PipeClosedError"]

MAX_ARRAY_BYTES = 16 * 1024**3
MAX_LOG_TEXT = 10_000
# Beside the values of a readout: header, round trips and pump rates of the largest trace.
EXTRA_BYTES = 5 * MAX_TRACE_BYTES

ShortText = Annotated[str, Field(max_length=1000)]
Arrays: TypeAlias = "list[NDArray[Any]]"


class ProgramFields(Wire):
    """A program without its couplings."""

    pump: Annotated[tuple[float, ...], Field(max_length=MAX_KNOTS)]
    round_trips: Number
    n_runs: Number
    seed: Number
    settings: dict[str, float]
    trace: tuple[Number, Number] | None = None
    calibration: Calibration | None = None


# ---- requests -------------------------------------------------------------------------------


class Open(Message):
    """Make the driver, make the machine safe, and describe it; the first request.

    In a restart a machine that cannot be made safe is an error. At the first start the server asks
    for `safe` once more, and learns it then.
    """

    t: Literal["open"] = "open"
    machine: MachineConfig
    faults: ShortText = ""
    jobs_before: Number = 0
    is_restart: bool = False
    hang_s: float
    log_level: int


class LoadProgram(Message):
    """Keep these couplings for the runs that follow, and program them.

    Buffers: couplings above the diagonal (n (n - 1) / 2,), row by row, field (n,), gauge int8 (n,);
    or, if not `dense`, the three arrays of a CSR matrix (data, indices, indptr) in place of the
    couplings.
    """

    t: Literal["program"] = "program"
    program: ProgramFields
    report: LoweringReport
    dense: bool
    buffers: ClassVar[tuple[int, int]] = (3, 5)


class Run(Message):
    """Run a program with the couplings of the last `program`."""

    t: Literal["run"] = "run"
    program: ProgramFields


class Call(Message):
    """Call a method of the driver that takes no arguments.

    `close` makes the machine safe, closes the driver and exits: the end of the process is the
    reply.
    """

    t: Literal["status", "calibrate", "safe", "close"]


# ---- replies --------------------------------------------------------------------------------


class Opened(Message):
    """The machine as its driver describes it."""

    t: Literal["opened"] = "opened"
    capabilities: Capabilities
    pid: int


class Done(Message):
    """A `program` or `safe` has been carried out."""

    t: Literal["done"] = "done"


class Readout(Message):
    """The result of a run.

    Buffers: spins int8 or amplitudes float (runs, n); with a trace also its round trips int64
    (k,), pump rates float64 (k,) and amplitudes float32 (k, traced runs, n).
    """

    t: Literal["readout"] = "readout"
    notes: Notes
    buffers: ClassVar[tuple[int, int]] = (1, 4)


class CurrentTelemetry(Message):
    """The telemetry that `status` asked for."""

    t: Literal["telemetry"] = "telemetry"
    telemetry: Telemetry


class Calibrated(Message):
    """The calibration that was made."""

    t: Literal["calibrated"] = "calibrated"
    calibration: Calibration


# ---- events ---------------------------------------------------------------------------------


class Signal(Message):
    """What has no fields.

    To the driver: `stop`, under the id of its request, ends the call early; `safe_now` makes the
    machine safe at once, also during a call. From the driver: `begun`, under the id of a request,
    says that it is about to be carried out.
    """

    t: Literal["stop", "safe_now", "begun"]


class Heartbeat(Message):
    """From the driver, under the id of the latest request: the process is alive; progress."""

    t: Literal["heartbeat"] = "heartbeat"
    progress: tuple[Number, Number, ShortText] | None = None


class Report(Message):
    """From the driver, under the id of a request: telemetry during its call."""

    t: Literal["report"] = "report"
    telemetry: Telemetry


class PartialReadout(Message):
    """From the driver, under the id of a run: the next runs that are finished.

    Buffer: as the first of a `readout`, with the rows of these runs.
    """

    t: Literal["partial"] = "partial"
    buffers: ClassVar[tuple[int, int]] = (1, 1)


class LogLine(Message):
    """From the driver: a line for the log of the server; levels as of Python's `logging`."""

    t: Literal["log"] = "log"
    name: ShortText
    level: int
    text: Annotated[str, Field(max_length=MAX_LOG_TEXT)]


REQUESTS = (Open, LoadProgram, Run, Call)
REPLIES = (Opened, Done, Readout, CurrentTelemetry, Calibrated, ErrorMessage)
EVENTS = (Signal, Heartbeat, Report, PartialReadout, LogLine)

CODEC = Codec(
    {Kind.REQUEST: one_of(*REQUESTS), Kind.REPLY: one_of(*REPLIES), Kind.EVENT: one_of(*EVENTS)},
    FrameLimits(
        header_bytes=1024**2, text_bytes=64 * 1024, buffers=5, buffer_bytes=MAX_ARRAY_BYTES
    ),
)


class PipeClosedError(Exception):
    """The other side has closed the pipe, or its process has ended."""


class Pipe:
    """Packets over a connected stream socket. Any thread may send; one thread receives.

    The pipe closes the socket. A message that comes in has `max_bytes` at most.
    """

    def __init__(self, end: socket.socket, *, max_bytes: int = MAX_ARRAY_BYTES) -> None:
        self.max_bytes = max_bytes
        self._socket = end
        self._sending = threading.Lock()

    def send(self, packet: Packet) -> None:
        """Send a packet; returns when the system has taken it.

        `PipeClosedError` if the other side is gone, `LocalProtocolError` if the packet breaks a
        limit of the format.
        """
        frames = CODEC.encode(packet)
        start = b"".join((prefix(frames), *frames[:2]))
        try:
            with self._sending:
                self._socket.sendall(start)
                for frame in frames[2:]:
                    self._socket.sendall(frame)
        except OSError as error:
            raise PipeClosedError(f"the other side is gone: {error}") from None

    def receive(self) -> Packet:
        """Wait for a packet.

        `PipeClosedError` if the other side is gone, `ProtocolError` if it breaks the format: then
        nothing more can be received.
        """
        return CODEC.decode(read_frames(self._read, self.max_bytes))

    def shutdown(self) -> None:
        """Make the receivers of both sides see the end."""
        try:
            self._socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            return

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def _read(self, n_bytes: int) -> Buffer:
        # of numpy: memory is not cleared first, and the arrays that share it are aligned
        frame = np.empty(n_bytes, np.uint8).data
        view = frame
        try:
            while view:
                n_read = self._socket.recv_into(view)
                if n_read == 0:
                    raise PipeClosedError("the other side is gone")
                view = view[n_read:]
        except OSError as error:
            raise PipeClosedError(f"the other side is gone: {error}") from None
        return frame


# ---- objects of the driver's interface, as messages -----------------------------------------


def encode_program(program: driver.Program) -> ProgramFields:
    """Return a program without its couplings."""
    trace = program.trace
    return ProgramFields(
        pump=program.schedule.pump,
        round_trips=program.schedule.round_trips,
        n_runs=program.n_runs,
        seed=program.seed,
        settings=dict(program.settings),
        trace=trace and (trace.every, trace.runs),
        calibration=program.calibration,
    )


def decode_program(fields: ProgramFields, lowering: Lowering) -> driver.Program:
    """Return the program of a message, with couplings that came before it."""
    return driver.Program(
        lowering,
        PumpSchedule(fields.pump, fields.round_trips),
        fields.n_runs,
        fields.seed,
        fields.settings,
        TraceRequest(*fields.trace) if fields.trace else None,
        fields.calibration,
    )


def encode_couplings(program: driver.Program) -> tuple[LoadProgram, Arrays]:
    """Return a program with its couplings, field and gauge."""
    lowering = program.lowering
    J = lowering.levels
    is_dense = isinstance(J, Triangle)
    parts = [np.asarray(J.values)] if is_dense else [J.data, J.indices, J.indptr]
    body = LoadProgram(program=encode_program(program), report=lowering.report, dense=is_dense)
    return body, [*parts, lowering.field, lowering.gauge]


def decode_couplings(packet: Packet) -> Lowering:
    """Return the couplings of a `LoadProgram`; its arrays are read-only."""
    body: Any = packet.body
    *parts, field, gauge = packet.buffers
    if len(parts) != (1 if body.dense else 3):
        raise RemoteProtocolError(f"couplings of {counted(len(parts), 'array')}")
    if body.dense:
        return Lowering(Triangle(len(gauge), parts[0]), field, gauge, body.report)
    matrix = scipy.sparse.csr_array(tuple(parts), shape=(len(gauge), len(gauge)))
    return Lowering(matrix, field, gauge, body.report)


def encode_readout(readout: driver.Readout, *, with_trace: bool) -> tuple[Readout, Arrays]:
    """Return a checked readout, as exact as a server uses it."""
    arrays = [plain(readout.values)]
    if with_trace and readout.trace is not None:
        trace = readout.trace
        arrays += [
            np.asarray(trace.round_trips, "<i8"),
            np.asarray(trace.pump, "<f8"),
            np.asarray(trace.amplitudes, "<f4"),
        ]
    notes = {str(name): _python_scalar(note) for name, note in readout.notes.items()}
    return Readout(notes=notes), arrays


def decode_readout(packet: Packet) -> driver.Readout:
    """Return the readout of a message; not checked against its program."""
    body: Any = packet.body
    values, *rest = packet.buffers
    if len(rest) not in (0, 3):
        raise RemoteProtocolError(f"a readout with {counted(len(rest), 'array')} of a trace")
    return driver.Readout(values, Trace(*rest) if rest else None, body.notes)


def encode_error(error: CimError) -> ErrorMessage:
    """Return the message for an error; unlike the network, the pipe knows `TargetError`."""
    message = to_wire(error)
    if isinstance(error, TargetError):
        return message.model_copy(update={"code": error.code})
    return message


def decode_error(message: ErrorMessage) -> CimError:
    """Return the error of a message."""
    if message.code == TargetError.code:
        return TargetError(message.message, hint=message.hint)
    return as_error(message)


def max_message_bytes(capabilities: Capabilities) -> int:
    """Return a size that no message of this machine exceeds."""
    return 8 * capabilities.max_runs * capabilities.max_spins + EXTRA_BYTES


def plain(values: NDArray[Any]) -> NDArray[Any]:
    """Return spins as int8, amplitudes as float32 or float64."""
    if values.dtype.kind == "i":
        return values.astype("|i1")
    return values.astype("<f4" if values.dtype.itemsize <= 4 else "<f8", copy=False)


def _python_scalar(note: Any) -> Any:
    """Return numbers of numpy as Python's; msgpack packs no others."""
    return note.item() if isinstance(note, np.generic) else note
