"""A driver in a process of its own, behind the interface of any driver."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel, ValidationError

from cim_hal.errors import DriverFaultError, JobCancelledError, rebuild
from cim_hal.machine.calibration import Calibration
from cim_hal.machine.driver import Driver
from cim_hal.machine.telemetry import Telemetry
from cim_hal.server.driver.driver_options import DriverOptions
from cim_hal.server.driver.speech import readout_of, tell_lowering, tell_program
from cim_hal.server.driver.supervisor import Launch, Supervisor, error_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from cim_hal.machine.capabilities import Capabilities
    from cim_hal.machine.driver import Program, Readout
    from cim_hal.machine.driver_state import DriverState
    from cim_hal.machine.stop import StopToken
    from cim_hal.server.driver.child import Answer, Child

__all__ = ["DriverProcess"]

POLL_S = 0.02
CALL_S = 60.0  # of calls that must be quick

ATTEMPTS = 3  # at a call that no driver has seen, because the process ended before

Record = TypeVar("Record", bound=BaseModel)
Result = TypeVar("Result")


class _NotBegunError(DriverFaultError):
    """The process ended before its driver saw the call: another one may be called."""


class DriverProcess(Driver):
    """Calls a driver in another process, and keeps that process alive.

    Whatever becomes of the process, a call ends: with an answer, or with a `DriverFaultError` that
    says how the process ended. Then it is started anew, after a pause; calls wait meanwhile, or are
    refused after several starts that failed.

    Parameters
    ----------
    target : str
        Name of an installed driver, or ``module:factory``.
    faults : str
        Path of a fault script; none where it is empty.
    options : DriverOptions
    """

    def __init__(
        self, target: str, *, faults: str = "", options: DriverOptions | None = None
    ) -> None:
        self._options = options or DriverOptions()
        self._supervisor = Supervisor(Launch(target, faults), self._options, self._hear)
        self._calling = threading.Lock()
        self._stop: StopToken | None = None
        self._number = 0  # of the call under way

    @property
    def pid(self) -> int | None:
        """Number of the process; None while there is none."""
        child = self._supervisor.child
        return child.pid if child else None

    def describe(self) -> Capabilities:
        """Start the process, and return what the driver says in it.

        Raises
        ------
        TargetError
            No driver goes by that name, or it cannot be made.
        DriverFaultError
            The process ended, or was not ready in time.
        """
        return self._supervisor.start()

    def program(self, program: Program) -> None:
        """Send the couplings, and have the driver upload them."""
        self._persist(lambda: self._upload(self._supervisor.ready(), program))

    def run(self, program: Program, stop: StopToken) -> Readout:
        """Run a program there; couplings that the process does not hold are sent before."""
        self._supervisor.n_runs += 1
        readout = self._persist(lambda: self._run(program, stop))
        self._supervisor.reset_backoff()
        return readout

    def _run(self, program: Program, stop: StopToken) -> Readout:
        child = self._supervisor.ready(stop)
        if child.loaded is not program.lowering:
            self._upload(child, program)
        described = self._supervisor.capabilities
        limit_s = self._options.run_s or (described.max_run_s if described else None)
        answer = self._call(child, "run", stop=stop, limit_s=limit_s, program=tell_program(program))
        return _readout(answer, child)

    def status(self) -> Telemetry:
        """Ask the driver how the machine is.

        Raises
        ------
        UnavailableError
            It is started anew.
        """
        child = self._supervisor.child
        if child is None:
            raise self._supervisor.unavailable()
        try:
            answer = self._call(child, "status", limit_s=CALL_S)
        except _NotBegunError:
            raise self._supervisor.unavailable() from None
        return _record(Telemetry, answer.fields.get("telemetry"), child)

    def calibrate(self, stop: StopToken) -> Calibration:
        """Have the driver calibrate the machine."""

        def measure() -> Calibration:
            child = self._supervisor.ready(stop)
            limit_s = self._options.calibrate_s
            answer = self._call(child, "calibrate", stop=stop, limit_s=limit_s)
            return _record(Calibration, answer.fields.get("calibration"), child)

        return self._persist(measure)

    def safe(self) -> None:
        """Have the driver make the machine safe, in the midst of another call if there is one.

        Where the process has ended, the next one does so at its start.
        """
        child = self._supervisor.child
        if child is None:
            return
        if self._calling.locked():
            child.tell("safe_now")
            return
        try:
            self._call(child, "safe", limit_s=CALL_S)
        except DriverFaultError:
            if not child.has_ended.is_set():
                raise

    def close(self) -> None:
        """End the process in good order, or by force."""
        self._supervisor.close()

    def subscribe(self, tell: Callable[[DriverState], None]) -> None:
        """Call `tell` with the condition now and at each change."""
        self._supervisor.subscribe(tell)

    def _upload(self, child: Child, program: Program) -> None:
        fields, arrays = tell_lowering(program.lowering)
        told = tell_program(program)
        self._call(child, "program", *arrays, limit_s=CALL_S, lowering=fields, program=told)
        child.loaded = program.lowering

    def _persist(self, call: Callable[[], Result]) -> Result:
        """Call again where no driver has seen the call."""
        for _ in range(ATTEMPTS - 1):
            try:
                return call()
            except _NotBegunError:
                continue
        return call()

    def _call(
        self,
        child: Child,
        kind: str,
        *arrays: NDArray[Any],
        stop: StopToken | None = None,
        limit_s: float | None = None,
        **fields: Any,
    ) -> Answer:
        """Call the driver and wait: for its answer, its end, or the end of our timeout."""
        timeout = _CallTimeout(child, kind, stop, limit_s, self._options.grace_s)
        with self._calling, self._hearing(stop):
            number = self._number = child.ask(kind, *arrays, **fields)
            answer, was_seen = None, False
            try:
                while answer is None or answer.kind in {"begun", "delivery"}:
                    timeout.look()
                    was_seen = was_seen or answer is not None
                    answer = child.answer(number, timeout_s=POLL_S)
                    if answer is not None and answer.kind == "delivery" and stop is not None:
                        stop.deliver(*answer.arrays)
            except DriverFaultError as error:
                if timeout.is_stopping:
                    sentence = "the job was cancelled; its driver did not heed that, and was ended"
                    raise JobCancelledError(sentence) from None
                if was_seen:
                    raise
                raise rebuild(_NotBegunError, error.message, error.hint, error.details) from None
        if answer.kind == "error":
            raise error_of(answer.fields)
        return answer

    @contextmanager
    def _hearing(self, stop: StopToken | None) -> Iterator[None]:
        self._stop = stop
        try:
            yield
        finally:
            self._stop = None

    def _hear(self, fields: dict[str, Any]) -> None:
        """Take what the driver says in the midst of a call."""
        stop = self._stop
        if stop is None:
            return
        if fields.get("telemetry"):
            stop.report(Telemetry(**fields["telemetry"]))
        if fields.get("progress") and fields.get("of") == self._number:
            done, total, unit = fields["progress"]
            stop.progress(done, total, unit)


@dataclass
class _CallTimeout:
    """Passes a stop on, and ends a process that does not heed it, or takes too long."""

    child: Child
    kind: str
    stop: StopToken | None
    limit_s: float | None
    grace_s: float
    began: float = field(default_factory=time.monotonic)
    stopping_since: float | None = None

    @property
    def is_stopping(self) -> bool:
        """Whether a stop was passed on."""
        return self.stopping_since is not None

    def look(self) -> None:
        """Do what is due."""
        now = time.monotonic()
        if self.stop is not None and self.stop.is_set():
            if self.stopping_since is None:
                self.stopping_since = now
                self.child.tell("stop")
            elif now - self.stopping_since > self.grace_s:
                self.child.terminate(f"did not heed a stop within {self.grace_s:g} s")
        elif self.limit_s is not None and now - self.began > self.limit_s:
            self.child.terminate(f"hung: {self.kind} took longer than {self.limit_s:g} s")


def _readout(answer: Answer, child: Child) -> Readout:
    try:
        return readout_of(answer.fields, answer.arrays)
    except (KeyError, TypeError, ValueError):
        raise _nonsense("a readout", child) from None


def _record(cls: type[Record], fields: Any, child: Child) -> Record:
    try:
        return cls(**fields)
    except (TypeError, ValidationError):
        raise _nonsense(cls.__name__, child) from None


def _nonsense(what: str, child: Child) -> DriverFaultError:
    child.terminate(f"answered with {what} that is none")
    return DriverFaultError(f"the process of the driver answered with {what} that is none")
