"""Effects to a driver: one thread that alone touches the machine, one that fits couplings."""

from __future__ import annotations

import logging
import threading
import time
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, TypeAlias

from pydantic import ValidationError

from cim_hal.errors import CimError
from cim_hal.machine.calibration import Calibration
from cim_hal.machine.driver_state import DriverState, Supervised
from cim_hal.machine.stop import StopToken
from cim_hal.machine.telemetry import Telemetry
from cim_hal.protocol.couplings.content import LoweredCouplings, lower_encoded
from cim_hal.protocol.effects import Calibrate, Lower, MakeSafe, Run, Stop
from cim_hal.protocol.wire.messages import Progress
from cim_hal.protocol.wire.results import Result
from cim_hal.server.collector import ResultCollector
from cim_hal.server.driver.guard import FRESH_S, DriverGuard
from cim_hal.server.logs import about
from cim_hal.server.storage.memory_journal import MemoryJournal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cim_hal.machine.capabilities import Capabilities
    from cim_hal.machine.driver import Driver
    from cim_hal.server.storage.memory_journal import Journal

__all__ = ["Executor", "Outcome"]

CLOSE_TIMEOUT_S = 10.0
# How long a running call has to heed its token in an emergency.
EMERGENCY_S = 0.2
# Partial readouts that follow faster wait for the next look.
PROMPT_S = 0.02

Outcome: TypeAlias = (
    tuple[Run, Result | CimError]
    | tuple[Lower, LoweredCouplings | CimError]
    | tuple[Calibrate, Calibration | CimError]
    | ResultCollector
    | Telemetry
    | DriverState
)

log = logging.getLogger(__name__)


class Executor:
    """Runs what the core asks for, and announces each outcome, and what the driver says.

    The driver is called in one thread, one call at a time; only `Driver.safe` may come from
    another, in an emergency. It is closed exactly once.

    Parameters
    ----------
    driver : Driver
    announce : callable
        Called, in a worker's thread, after an outcome was added.
    journal : Journal, optional
        Keeps couplings and results where a crash cannot reach them, in the worker's threads.

    Raises
    ------
    CimError
        The driver does not describe itself.
    """

    def __init__(
        self, driver: Driver, announce: Callable[[], None], journal: Journal | None = None
    ) -> None:
        self._announce = announce
        self._journal = journal or MemoryJournal()
        self._outcomes: SimpleQueue[Outcome] = SimpleQueue()
        self._tokens: dict[str, StopToken] = {}
        self._last_progress: tuple[int, int, str] | None = None
        self._delivered_at = 0.0
        self._closing = threading.Lock()
        self._is_closed = False
        self._guard = DriverGuard(driver, self._add)
        self._driver_worker = _WorkerThread("cim-hal driver")
        self._lowering_worker = _WorkerThread("cim-hal lowering")
        described: SimpleQueue[Capabilities | CimError] = SimpleQueue()
        self._driver_worker.do(lambda: described.put(self._describe()))
        answer = described.get()
        if isinstance(answer, CimError):
            self.close()
            raise answer
        self.capabilities = answer
        if isinstance(driver, Supervised):
            self._driver_worker.do(lambda: driver.subscribe(self._add))
        self._driver_worker.when_idle(self._guard.poll_status, every_s=FRESH_S)
        self._driver_worker.do(self._guard.poll_status)

    def perform(self, effect: Run | Stop | Lower | Calibrate | MakeSafe) -> None:
        """Begin what the effect says; returns at once. After `close` nothing begins."""
        with self._closing:
            if self._is_closed:
                return
            match effect:
                case Run():
                    keeps = self.capabilities.reports_amplitudes
                    collector = ResultCollector(effect, self._deliver, keeps_amplitudes=keeps)
                    token = self._token(effect.job, collector)
                    self._driver_worker.do(
                        lambda: self._add((effect, self._run(effect, token, collector)))
                    )
                case Calibrate():
                    token = self._token(effect.key)
                    self._driver_worker.do(
                        lambda: self._add((effect, self._calibrate(effect, token)))
                    )
                case Stop():
                    token = self._tokens.get(effect.job)
                    if token is not None:
                        token.set()
                case MakeSafe():
                    self._make_safe()
                case Lower():
                    self._lowering_worker.do(lambda: self._add((effect, self._lower(effect))))

    def outcomes(self) -> Iterator[Outcome]:
        """Yield what has been done since the last call."""
        while not self._outcomes.empty():
            yield self._outcomes.get()

    def progress(self) -> Iterator[tuple[str, Progress]]:
        """Yield how far the running job is, where that has changed since the last call."""
        for job, token in list(self._tokens.items()):
            progress = token.last_progress
            if progress is not None and progress != self._last_progress:
                self._last_progress = progress
                done, total, unit = progress
                try:
                    yield job, Progress(done=done, total=total, unit=unit)
                except ValidationError:
                    log.warning("%r is no progress of a driver", progress)

    def close(self) -> None:
        """Stop the running job, make the driver safe, close it, and wait for that."""
        with self._closing:
            if self._is_closed:
                return
            self._is_closed = True
            for token in list(self._tokens.values()):
                token.set()
            self._driver_worker.do(self._guard.close)
        self._lowering_worker.end()
        self._driver_worker.end()

    def _token(self, name: str, collector: ResultCollector | None = None) -> StopToken:
        token = StopToken(self._guard.on_telemetry, collector and collector.add)
        self._tokens[name] = token
        return token

    def _deliver(self, collector: ResultCollector) -> None:
        self._outcomes.put(collector)
        now = time.monotonic()
        if now >= self._delivered_at + PROMPT_S:
            self._delivered_at = now
            self._announce()

    def _add(self, outcome: Outcome) -> None:
        self._outcomes.put(outcome)
        self._announce()

    def _make_safe(self) -> None:
        """Stop what runs, and make the machine safe: after it in its thread, or soon anyway."""
        for token in list(self._tokens.values()):
            token.set()
        is_safe = threading.Event()

        def in_turn() -> None:
            self._guard.safe()
            is_safe.set()

        def in_time() -> None:
            if not is_safe.wait(EMERGENCY_S):
                self._guard.safe()

        self._driver_worker.do(in_turn)
        threading.Thread(target=in_time, name="cim-hal emergency", daemon=True).start()

    def _describe(self) -> Capabilities | CimError:
        try:
            return self._guard.describe()
        except CimError as error:
            return error

    def _run(self, effect: Run, token: StopToken, collector: ResultCollector) -> Result | CimError:
        try:
            if effect.refusal is not None:
                return effect.refusal
            collector.begin()
            with about(job=effect.job):
                readout, device_s = self._guard.run(effect.program, token)
                measured = self._guard.attribute_errors(
                    lambda: collector.complete(readout, device_s)
                )
            return self._journal.keep_result(effect.job, measured)
        except CimError as error:
            if collector.has_runs:
                collector.keep_partial(self._journal.keep_result)
                self._outcomes.put(collector)
            return error
        finally:
            self._tokens.pop(effect.job, None)
            self._last_progress = None

    def _calibrate(self, effect: Calibrate, token: StopToken) -> Calibration | CimError:
        try:
            return self._guard.calibrate(token)
        except CimError as error:
            return error
        finally:
            self._tokens.pop(effect.key, None)

    def _lower(self, effect: Lower) -> LoweredCouplings | CimError:
        try:
            source, ref = effect.source, effect.coupling
            if source is None:
                source = self._journal.couplings(ref.digest)
            lowered = lower_encoded(source, ref, self.capabilities, effect.base)
            self._journal.keep_couplings(ref.digest, lowered.content)
            return lowered
        except CimError as error:
            return error
        except (ArithmeticError, LookupError, MemoryError, TypeError, ValueError) as error:
            log.exception("couplings could not be prepared")
            return CimError(f"the couplings could not be prepared: {error}")


class _WorkerThread:
    """A thread that does one thing after another."""

    def __init__(self, name: str) -> None:
        self._tasks: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._idle: Callable[[], None] | None = None
        self._idle_s: float | None = None
        # A daemon: a driver that hangs must not keep the process alive.
        self._thread = threading.Thread(target=self._loop, name=name, daemon=True)
        self._thread.start()

    def do(self, task: Callable[[], None]) -> None:
        """Do `task` after all that was asked for before."""
        self._tasks.put(task)

    def when_idle(self, task: Callable[[], None], *, every_s: float) -> None:
        """Do `task` whenever nothing was asked for in that time, from the next task on."""
        self._idle, self._idle_s = task, every_s

    def end(self) -> None:
        """Do what is left, then end; waits, but not for ever."""
        self._tasks.put(None)
        if self._thread is threading.current_thread():
            return
        self._thread.join(CLOSE_TIMEOUT_S)
        if self._thread.is_alive():
            log.warning("%s did not stop within %g s", self._thread.name, CLOSE_TIMEOUT_S)

    def _loop(self) -> None:
        while (task := self._next()) is not None:
            try:
                task()
            except Exception:
                log.exception("%s goes on after a bug", self._thread.name)
            del task  # it may hold the arrays of a job

    def _next(self) -> Callable[[], None] | None:
        try:
            return self._tasks.get(timeout=self._idle_s)
        except Empty:
            return self._idle
