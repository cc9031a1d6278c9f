"""The driver contract: `Driver`, its programs and readouts, its link to the server."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Mapping
from copy import copy
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import TypeAdapter, ValidationError

from cim_hal.errors import CapabilityError, DriverFaultError
from cim_hal.machine.telemetry import Calibration, Telemetry
from cim_hal.model.conversion import require, whole_number, with_article
from cim_hal.model.record import Notes
from cim_hal.model.sampleset import Trace
from cim_hal.text import counted

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cim_hal.machine.capabilities import Capabilities
    from cim_hal.machine.lowering import Levels, Lowering
    from cim_hal.model.record import Note
    from cim_hal.model.schedule import PumpSchedule, TraceRequest

__all__ = [
    "Driver",
    "PartialReadouts",
    "Program",
    "Readout",
    "StopToken",
]

# Fewer values may be equal by chance, where an ADC has few codes.
LEAST_CONSTANT = 8
LEAST_DEAD = 4  # runs

_NOTES: TypeAdapter[dict[str, Any]] = TypeAdapter(Notes)


@dataclass(frozen=True, eq=False)
class Program:
    """One job in the machine's own terms; it fits the capabilities that the driver described.

    Attributes
    ----------
    lowering : Lowering
        Couplings and field in levels.
    schedule : PumpSchedule
    n_runs : int
        Independent runs from vacuum to readout.
    seed : int
        Source of all randomness of a reproducible machine, 0 to 2^63 - 1.
    settings : mapping of str to float
        Settings of this job; those it does not name have their defaults.
    trace : TraceRequest or None
        What to record of the first runs; None if no trace was requested.
    calibration : Calibration or None
        The current calibration, which the record of the job names; None if there is none.
    """

    lowering: Lowering
    schedule: PumpSchedule
    n_runs: int
    seed: int
    settings: Mapping[str, float] = field(default_factory=dict)
    trace: TraceRequest | None = None
    calibration: Calibration | None = None

    @property
    def n_spins(self) -> int:
        """Spins on the machine."""
        return self.lowering.n_spins

    @cached_property
    def coupling(self) -> Levels:
        """Couplings (n, n), dense or CSR: int16 levels, or float64 for real-valued machines.

        Made where it is asked for: `lowering` holds them in less memory.
        """
        return self.lowering.coupling

    @property
    def field(self) -> NDArray[Any]:
        """Field (n,) in the same levels; zero where the machine has no field."""
        return self.lowering.field

    def dense_coupling(self) -> NDArray[Any]:
        """Return the couplings as a dense array."""
        coupling = self.coupling
        return coupling if isinstance(coupling, np.ndarray) else coupling.toarray()


@dataclass(frozen=True, eq=False)
class Readout:
    """What a machine measured.

    Parameters
    ----------
    values : array, shape (runs, n)
        Analog amplitudes (float), whose signs are the spins, or the spins themselves (integer).
    trace : Trace or None
        Required if the program requests one: at most the requested frames, of the requested runs.
    notes : mapping of str to float, int, bool or str
        Notes for the record of the job; at most 32 short entries. Amplitudes that are all exactly
        zero are taken for those of a detector that is unplugged, unless the note
        ``zero_amplitudes`` is True. The note ``compile_s`` tells seconds in which software was
        compiled; they do not count as time of the machine.
    """

    values: NDArray[Any]
    trace: Trace | None = None
    notes: Mapping[str, Note] = field(default_factory=dict)

    def check(self, program: Program) -> None:
        """Refuse a readout that breaks the driver's contract.

        Raises
        ------
        DriverFaultError
            Wrong shape, values that are not finite, amplitudes that are all exactly zero, integer
            values other than -1 and +1, a trace that is missing or malformed, or malformed notes.
        """
        _check_values("the readout", self.values, (program.n_runs, program.n_spins))
        if program.trace is not None:
            _check_trace(self.trace, program.trace, program)
        try:
            _NOTES.validate_python(self.notes)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            where = ".".join(map(str, first["loc"]))
            raise DriverFaultError(f"the readout has malformed notes: {where}") from None
        is_meant = self.notes.get("zero_amplitudes") is True
        if self.values.size > 1 and not _delivered(self.values).any() and not is_meant:
            raise _dead("the readout")

    @property
    def spins(self) -> NDArray[np.int8]:
        """Spins (runs, n): the signs of the amplitudes as delivered; a zero counts as +1."""
        return np.where(_delivered(self.values) < 0, -1, 1).astype(np.int8)

    @property
    def amplitudes(self) -> NDArray[np.float32] | None:
        """Amplitudes (runs, n), or None where the machine gave bare spins."""
        return np.array(_delivered(self.values)) if self.values.dtype.kind == "f" else None

    @property
    def compile_s(self) -> float:
        """Seconds of the call that are not the machine's."""
        noted = self.notes.get("compile_s", 0.0)
        return max(float(noted), 0.0) if isinstance(noted, (int, float)) else 0.0

    @property
    def findings(self) -> dict[str, Note]:
        """Notes on what looks like a broken part, which a sound machine can give too.

        Spins that are exactly zero in four runs or more, one amplitude everywhere, and a trace
        that is zero everywhere.
        """
        found: dict[str, Note] = {}
        amplitudes = _delivered(self.values)
        if amplitudes.dtype.kind == "f":
            if amplitudes.size >= LEAST_CONSTANT and (amplitudes == amplitudes[0, 0]).all():
                return {"constant_amplitude": float(amplitudes[0, 0])}
            dead = np.flatnonzero(~amplitudes.any(axis=0)) if len(amplitudes) >= LEAST_DEAD else ()
            if len(dead):
                first = ", ".join(map(str, dead[:10])) + (", ..." if len(dead) > 10 else "")
                found["dead_spins"] = f"{first}: exactly 0 in all {counted(len(amplitudes), 'run')}"
        if self.trace is not None and not _delivered(self.trace.amplitudes).any():
            found["dead_trace"] = True
        return found


def _dead(what: str) -> DriverFaultError:
    return DriverFaultError(
        f"{what} is exactly 0 everywhere",
        hint="is the detector connected, and the right array read out?",
    )


def _delivered(values: NDArray[Any]) -> NDArray[Any]:
    """Return amplitudes in the type in which users get them, and integers as they are."""
    if values.dtype.kind != "f":
        return values
    with np.errstate(over="ignore"):  # too large for float32 becomes infinite, which is refused
        return values.astype(np.float32, copy=False)


def _check_values(what: str, values: Any, expected: tuple[int, int]) -> None:
    """Raise `DriverFaultError` unless `values` are (runs, n) amplitudes or spins.

    Amplitudes are checked as they are delivered: a float64 may be too large for float32.
    """
    if not isinstance(values, np.ndarray) or values.dtype.kind not in "fi":
        raise DriverFaultError(f"{what} is not an array of real numbers or integers")
    if values.shape != expected:
        raise DriverFaultError(f"{what} has shape {values.shape}", hint=f"it must have {expected}")
    if values.dtype.kind == "i" and not (np.abs(values) == 1).all():
        raise DriverFaultError(f"{what} has integer values other than -1 and +1")
    if not np.isfinite(_delivered(values)).all():
        raise DriverFaultError(f"{what} has values that are not finite in float32")


def _check_trace(trace: Trace | None, request: TraceRequest, program: Program) -> None:
    if not isinstance(trace, Trace):
        what = "none" if trace is None else f"{with_article(type(trace).__name__)} as its trace"
        raise DriverFaultError(f"a trace was asked for, and the readout has {what}")
    n_frames, last = len(trace.round_trips), program.schedule.round_trips
    expected = (n_frames, min(request.runs, program.n_runs), program.n_spins)
    if trace.amplitudes.shape != expected or trace.pump.shape != (n_frames,):
        raise DriverFaultError(
            f"the trace has amplitudes {trace.amplitudes.shape} and pump {trace.pump.shape}",
            hint=f"amplitudes must have {expected}, a pump rate for each frame",
        )
    if not 1 <= n_frames <= request.n_frames(last):
        raise DriverFaultError(f"the trace has {counted(n_frames, 'frame')}")
    kinds = trace.round_trips.dtype.kind, trace.pump.dtype.kind, trace.amplitudes.dtype.kind
    if kinds[0] not in "iu" or not {*kinds[1:]} <= {*"fiu"}:
        raise DriverFaultError(
            "the trace is not of numbers",
            hint="round trips are integers, pump rates and amplitudes real numbers",
        )
    ends = trace.round_trips[0], trace.round_trips[-1]
    if (np.diff(trace.round_trips.astype(np.int64)) <= 0).any() or ends[0] < 1 or ends[1] > last:
        raise DriverFaultError(f"the frames of the trace do not rise within 1 to {last}")
    with np.errstate(over="ignore"):  # checked as it is handed out
        pump = trace.pump.astype(np.float64, copy=False)
    if not (np.isfinite(_delivered(trace.amplitudes)).all() and np.isfinite(pump).all()):
        raise DriverFaultError("the trace has values that are not finite in float32")


class PartialReadouts:
    """Checks the runs that a driver delivers before its readout, during one call.

    Attributes
    ----------
    n_runs : int
        Runs that were delivered.
    """

    def __init__(self, program: Program) -> None:
        self._program = program
        self._kind: str | None = None  # floats or integers
        self._is_dead = True  # nothing but zeros came
        self.n_runs = 0

    def check(self, values: Any) -> None:
        """Count delivered runs, or refuse those that cannot be the next ones of the program.

        Raises
        ------
        DriverFaultError
            Wrong shape or values, as in `Readout.check`; no run, or more than the program has
            left; amplitudes mixed with bare spins.
        """
        n_rows = len(values) if isinstance(values, np.ndarray) and values.ndim else 0
        left = self._program.n_runs - self.n_runs
        if not 1 <= n_rows <= left:
            raise DriverFaultError(f"a delivery of {counted(n_rows, 'run')}, where {left} are left")
        _check_values("a delivery", values, (n_rows, self._program.n_spins))
        if self._kind not in {None, values.dtype.kind}:
            raise DriverFaultError("some deliveries are amplitudes, and some are bare spins")
        self._kind = values.dtype.kind
        self.n_runs += n_rows
        self._is_dead = self._is_dead and not _delivered(values).any()
        if self._is_dead and self.n_runs * self._program.n_spins >= LEAST_CONSTANT:
            raise _dead("what was delivered")


class StopToken:
    """Tells a driver to stop; the driver polls it between round trips.

    A driver may also report its progress, as often as it likes, telemetry, and runs that have
    finished, which clients can fetch before the job ends.

    Parameters
    ----------
    report : callable, optional
        Receives the telemetry that the driver reports.
    take : callable, optional
        Receives the runs that the driver delivers.
    """

    def __init__(
        self,
        report: Callable[[Telemetry], None] | None = None,
        take: Callable[[NDArray[Any]], None] | None = None,
    ) -> None:
        self._event = threading.Event()
        self._report = report
        self._take = take
        self._progress: deque[tuple[int, int, str]] = deque(maxlen=1)

    @property
    def last_progress(self) -> tuple[int, int, str] | None:
        """The latest progress: done, total, unit; None before the first report."""
        return self._progress[0] if self._progress else None

    def progress(self, done: int, total: int, unit: str = "round trips") -> None:
        """Report that `done` of `total` runs or round trips are finished; this is cheap."""
        done, total = (
            whole_number("done", done, DriverFaultError),
            whole_number("total", total, DriverFaultError),
        )
        require("unit", unit, str, DriverFaultError, hint="such as round trips")
        self._progress.append((max(done, 0), max(total, 0), unit))

    def deliver(self, values: NDArray[Any]) -> None:
        """Deliver finished runs early, in order, after those delivered before.

        `run` still returns all runs at its end, these first and with the same values.

        Parameters
        ----------
        values : array, shape (some runs, n)
            As in a `Readout`; it is copied.

        Raises
        ------
        DriverFaultError
            More runs than the program has, or values that a readout may not have.
        """
        if self._take is not None:
            self._take(values)

    def without_deliveries(self) -> StopToken:
        """Return the same token, without delivery of runs."""
        token = copy(self)
        token._take = None  # noqa: SLF001  ours
        return token

    def set(self) -> None:
        """Request that the call ends."""
        self._event.set()

    def is_set(self) -> bool:
        """Whether the call is to end."""
        return self._event.is_set()

    def report(self, telemetry: Telemetry) -> None:
        """Report telemetry during a run; once a second is often enough."""
        if self._report is not None:
            self._report(telemetry)


class Driver(ABC):
    """A machine, as a laboratory implements it.

    A driver must have `describe` and `run`; the other methods have defaults. The server calls all
    of them from one thread, except `safe` in an emergency, and only with programs that fit the
    described capabilities.
    """

    @abstractmethod
    def describe(self) -> Capabilities:
        """Return the capabilities of the machine; they never change."""

    @abstractmethod
    def run(self, program: Program, stop: StopToken) -> Readout:
        """Run a program from vacuum to readout.

        Raises
        ------
        JobCancelledError
            `stop` was set.
        DeviceError
            The machine failed. Any other exception becomes a `DriverFaultError`.
        """

    def program(self, program: Program) -> None:  # noqa: B027  optional, as all below
        """Upload the couplings of a program before it runs.

        Called before a run whose couplings differ from those of the last call, and again after a
        call that failed. Any number of runs with these couplings follow. The default does nothing:
        `run` receives the couplings too.
        """

    def status(self) -> Telemetry:
        """Return telemetry; called about once a second between runs, and must be quick.

        A machine with telemetry must report some in the first call. During a run, the driver may
        report telemetry through its `StopToken`. The default reports nothing.
        """
        return Telemetry()

    def calibrate(self, stop: StopToken) -> Calibration:
        """Measure the machine; the server stores the record and passes it with each program.

        Raises
        ------
        JobCancelledError
            `stop` was set.
        CapabilityError
            The machine has no calibration, which is the default.
        """
        del stop
        raise CapabilityError("calibration", required="a calibration", available="none")

    def safe(self) -> None:  # noqa: B027
        """Switch all outputs off; must be harmless where they are off already.

        Called at the start, after a call that failed or was cancelled, before `close`, and in an
        emergency stop. In an emergency it is called from another thread if the running call does
        not obey its `StopToken` at once.
        """

    def close(self) -> None:  # noqa: B027
        """Release the machine; called once, also after errors."""
