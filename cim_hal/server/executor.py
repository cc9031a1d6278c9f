"""Performs the operations of the core: one thread calls the driver, another lowers couplings."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, TypeAlias, TypeVar

from pydantic import ValidationError

from cim_hal.errors import CimError, UnknownReferenceError
from cim_hal.machine.driver import StopToken
from cim_hal.machine.telemetry import DriverState, Telemetry
from cim_hal.protocol.couplings.content import LoweredCouplings, lower_encoded
from cim_hal.protocol.effects import Calibrate, Done, Lower, MakeSafe, Operation, Run, Stop
from cim_hal.protocol.jobs.table import IdempotencyRules
from cim_hal.protocol.wire.messages.jobs import Progress
from cim_hal.protocol.wire.results import Result
from cim_hal.server.collector import ResultCollector
from cim_hal.server.driver.calls import NeverBegunError
from cim_hal.server.driver.guard import EMERGENCY_S, DriverGuard
from cim_hal.server.logs import about

if TYPE_CHECKING:
    from cim_hal.machine.driver import Driver
    from cim_hal.machine.telemetry import Calibration
    from cim_hal.protocol.couplings.content import Couplings
    from cim_hal.protocol.jobs.records import EpochRecord, Record, Saved
    from cim_hal.server.storage.journal import DiskJournal
    from cim_hal.server.storage.spool import CalibrationStore

__all__ = ["Executor", "Journal", "MemoryJournal", "Update", "internal_error"]

CLOSE_TIMEOUT_S = 10.0
# At least this long from one announcement of partial results to the next.
PARTIAL_S = 0.02

Update: TypeAlias = ResultCollector | Telemetry | DriverState
Journal: TypeAlias = "DiskJournal | MemoryJournal"
OperationResult: TypeAlias = "Result | Calibration | LoweredCouplings | CimError"
Answer = TypeVar("Answer")

log = logging.getLogger(__name__)


class MemoryJournal:
    """A journal that keeps nothing beyond its process, and idempotency keys for five minutes.

    That is longer than any client repeats a request. A server without a journal on disk loses all
    jobs when its process ends. What the methods are for is said by `DiskJournal`.
    """

    keys = IdempotencyRules(kept_s=300.0)
    is_on_disk = False

    def load(self, device: str) -> Iterable[Saved]:
        """Return nothing."""
        del device
        return ()

    def controls(self) -> EpochRecord | None:
        """Return nothing."""

    def write(self, records: Sequence[Record]) -> list[BaseException | None]:
        """Do nothing: the job table in memory holds everything."""
        return [None] * len(records)

    def keep_couplings(self, digest: str, content: Couplings) -> None:
        """Keep nothing."""

    def couplings(self, digest: str) -> Couplings:
        """Raise an error: nothing is kept."""
        raise UnknownReferenceError(
            f"the server does not hold the couplings {digest[:19]}…", kind="coupling"
        )

    def takes_file(self, result: Result) -> bool:
        """Return False."""
        del result
        return False

    def keep_result(self, job: str, result: Result) -> Result:
        """Return the result itself."""
        del job
        return result

    def close(self) -> None:
        """Do nothing."""


class Executor:
    """Performs operations and commands of the core, in threads of its own.

    Each operation that `perform` accepts ends in exactly one `Done`. The driver is called from
    one thread, one call at a time; only `Driver.safe` may be called from another, in an
    emergency. The driver is closed exactly once. `announce` is called from any thread when there is
    an outcome or an update. Large results are written in a thread of their own: a slow disk delays
    the end of their job, and the driver not at all. The journal is called from all three threads.
    """

    def __init__(
        self,
        driver: Driver,
        announce: Callable[[], None],
        journal: Journal | None = None,
        calibrations: CalibrationStore | None = None,
    ) -> None:
        self._announce = announce
        self._calibrations = calibrations  # written in the driver's thread
        self._journal = journal or MemoryJournal()
        self._outcomes: SimpleQueue[Done] = SimpleQueue()
        self._updates: SimpleQueue[Update] = SimpleQueue()
        self._lock = threading.Lock()  # guards the tokens, the emergency, and whether it is closed
        self._tokens: dict[str, StopToken] = {}
        self._emergency: threading.Event | None = None  # set once it is over in its turn
        self._is_closed = False
        self._last_progress: tuple[str, tuple[int, int, str]] | None = None
        self._announced_at = 0.0
        self._guard = DriverGuard(driver, self._update)
        self._driver_worker = _WorkerThread("cim-hal driver", self._finish)
        self._lowering_worker = _WorkerThread("cim-hal lowering", self._finish)
        self._result_worker = _WorkerThread("cim-hal results", self._finish)
        try:
            self.capabilities = self._driver_worker.ask(self._guard.describe)
        except BaseException:
            self.close()
            raise
        self._driver_worker.when_idle(self._guard.poll_status, lambda: self._guard.poll_s)
        self._driver_worker.call(self._guard.start)

    def perform(self, effect: Operation | Stop | MakeSafe) -> None:
        """Begin an operation, or do what a command says; returns at once.

        After `close` this does nothing.
        """
        with self._lock:
            if self._is_closed:
                return
            match effect:
                case Run():
                    keeps = self.capabilities.reports_amplitudes
                    collector = ResultCollector(effect, self._on_partial, keeps_amplitudes=keeps)
                    token = StopToken(self._guard.on_telemetry, collector.add)
                    self._tokens[effect.job] = token
                    self._driver_worker.do(
                        effect,
                        lambda: self._run(effect, token, collector),
                        lambda done: self._keep(done, collector),
                    )
                case Calibrate():
                    token = self._tokens[effect.key] = StopToken(self._guard.on_telemetry)
                    self._driver_worker.do(effect, lambda: self._calibrate(token))
                case Lower():
                    self._lowering_worker.do(effect, lambda: self._lower(effect))
                case Stop():
                    if effect.job in self._tokens:
                        self._tokens[effect.job].set()
                case MakeSafe():
                    self._make_safe()

    def outcomes(self) -> Iterator[Done]:
        """Yield the outcomes since the last call; one thread at a time may call this."""
        while not self._outcomes.empty():
            yield self._outcomes.get()

    def updates(self) -> Iterator[Update]:
        """Yield partial results, telemetry and states of the driver since the last call.

        Those of an operation come before its outcome.
        """
        while not self._updates.empty():
            yield self._updates.get()

    def progress(self) -> Iterator[tuple[str, Progress]]:
        """Yield the progress of the running job, if it has changed since the last call."""
        with self._lock:
            tokens = list(self._tokens.items())
        for job, token in tokens:
            progress = token.last_progress
            if progress is not None and (job, progress) != self._last_progress:
                self._last_progress = job, progress
                done, total, unit = progress
                try:
                    yield job, Progress(done=done, total=total, unit=unit)
                except ValidationError:
                    log.warning("%r is no progress of a driver", progress)

    def close(self) -> None:
        """Stop the running operation, cancel the queued ones, and close the driver; waits."""
        with self._lock:
            if self._is_closed:
                return
            self._is_closed = True
            for token in self._tokens.values():
                token.set()
            for worker in (self._lowering_worker, self._driver_worker):
                worker.cancel_operations()
            self._driver_worker.call(self._guard.close)
        self._lowering_worker.end()
        self._driver_worker.end()
        self._result_worker.end()  # last: what was measured is kept

    def _finish(self, done: Done) -> None:
        match done.effect:
            case Run(job=name) | Calibrate(key=name):
                with self._lock:
                    self._tokens.pop(name, None)
            case Lower():
                pass
        self._outcomes.put(done)
        self._announce()

    def _update(self, update: Update) -> None:
        self._updates.put(update)
        self._announce()

    def _on_partial(self, collector: ResultCollector) -> None:
        self._updates.put(collector)
        now = time.monotonic()
        if now >= self._announced_at + PARTIAL_S:
            self._announced_at = now
            self._announce()

    def _make_safe(self) -> None:
        """Stop what runs and make the machine safe: in the driver's thread, or soon without it."""
        for token in self._tokens.values():
            token.set()
        is_safe = threading.Event()

        def in_turn() -> None:
            self._guard.safe()
            is_safe.set()

        self._driver_worker.call(in_turn)
        if self._emergency is None:  # one thread for all stops, however many come
            in_time = self._make_safe_in_time
            threading.Thread(target=in_time, name="cim-hal emergency", daemon=True).start()
        self._emergency = is_safe

    def _make_safe_in_time(self) -> None:
        while True:
            with self._lock:
                latest = self._emergency
            if latest is not None and not latest.wait(EMERGENCY_S):
                self._guard.safe()
            with self._lock:
                if self._emergency is latest:
                    self._emergency = None
                    return

    def _run(self, effect: Run, token: StopToken, collector: ResultCollector) -> Result:
        if effect.refusal is not None:
            raise effect.refusal
        collector.begin()
        with about(job=effect.job):
            readout, device_s = self._guard.run(effect.program, token, collector.add_rest)
            return self._guard.attribute_errors(lambda: collector.complete(readout, device_s))

    def _keep(self, done: Done, collector: ResultCollector) -> None:
        """Keep what a run came to, then end it; in another thread where that takes a file."""
        outcome, measured = done.result, None
        if isinstance(outcome, Result):
            measured = outcome
        elif collector.has_runs:
            measured = collector.partial()

        def kept() -> OperationResult:
            if isinstance(outcome, Result):
                return self._journal.keep_result(collector.job, outcome)
            if measured is not None:
                self._keep_partial(collector)
            return outcome

        if measured is not None and self._journal.takes_file(measured):
            self._result_worker.do(done.effect, kept)
        else:
            self._finish(Done(done.effect, _outcome(done.effect, kept)))

    def _calibrate(self, token: StopToken) -> Calibration:
        made = self._guard.calibrate(token)
        if self._calibrations is not None:
            self._calibrations.keep(made)
        return made

    def _keep_partial(self, collector: ResultCollector) -> None:
        try:
            collector.keep_partial(self._journal.keep_result)
        except Exception:  # the runs stay in memory; the error of the run is what counts
            log.exception("partial results of job %s were not kept", collector.job)
        self._updates.put(collector)

    def _lower(self, effect: Lower) -> LoweredCouplings:
        source, ref = effect.source, effect.coupling
        if source is None:
            source = self._journal.couplings(ref.digest)
        lowered = lower_encoded(source, ref, self.capabilities, effect.base)
        self._journal.keep_couplings(ref.digest, lowered.content)
        return lowered


class _WorkerThread:
    """A thread that does one thing after another, and calls `finish` with each outcome."""

    def __init__(self, name: str, finish: Callable[[Done], None]) -> None:
        self._finish = finish
        self._calls: SimpleQueue[Callable[[], object] | None] = SimpleQueue()
        self._is_cancelling = False
        self._idle: Callable[[], None] | None = None
        self._pause_s: Callable[[], float | None] = lambda: None
        # A daemon: a driver that hangs must not keep the process alive.
        self._thread = threading.Thread(target=self._loop, name=name, daemon=True)
        self._thread.start()

    def do(
        self,
        effect: Operation,
        function: Callable[[], OperationResult],
        finish: Callable[[Done], None] | None = None,
    ) -> None:
        """Perform an operation after everything queued before: call `function`.

        What it returns or raises, whatever that is, becomes the result of one `Done`, for which
        `finish` is called.
        """

        def result() -> OperationResult:
            if self._is_cancelling:
                raise NeverBegunError("the server is shutting down")
            return function()

        end = finish or self._finish
        self._calls.put(lambda: end(Done(effect, _outcome(effect, result))))

    def call(self, function: Callable[[], object]) -> None:
        """Call a function after everything queued before; an exception is logged."""
        self._calls.put(function)

    def ask(self, function: Callable[[], Answer]) -> Answer:
        """Call a function after everything queued before, and return or raise what it does."""
        future: Future[Answer] = Future()

        def answer() -> None:
            try:
                future.set_result(function())
            except BaseException as error:  # noqa: BLE001  raised again where it is asked for
                future.set_exception(error)

        self._calls.put(answer)
        return future.result()

    def when_idle(self, function: Callable[[], None], pause_s: Callable[[], float]) -> None:
        """Call `function` whenever nothing was queued for `pause_s()`, from the next call on."""
        self._idle, self._pause_s = function, pause_s

    def cancel_operations(self) -> None:
        """Let operations that have not begun end as cancelled."""
        self._is_cancelling = True

    def end(self) -> None:
        """End after everything that is queued; waits, but not for ever."""
        self._calls.put(None)
        if self._thread is threading.current_thread():
            return
        self._thread.join(CLOSE_TIMEOUT_S)
        if self._thread.is_alive():
            log.warning("%s did not stop within %g s", self._thread.name, CLOSE_TIMEOUT_S)

    def _loop(self) -> None:
        while (call := self._next()) is not None:
            try:
                call()
            except BaseException:
                log.exception("%s goes on after a bug", self._thread.name)
            del call  # it may hold the arrays of a job

    def _next(self) -> Callable[[], object] | None:
        try:
            return self._calls.get(timeout=self._pause_s())
        except Empty:
            return self._idle


def _outcome(effect: Operation, function: Callable[[], OperationResult]) -> OperationResult:
    try:
        return function()
    except BaseException as error:  # whatever it is, the core waits for an outcome
        if not isinstance(error, CimError):
            log.exception("a %s operation failed", type(effect).__name__)
        return internal_error(error)


def internal_error(error: BaseException) -> CimError:
    """Return the error that a client sees for any exception."""
    if isinstance(error, CimError):
        return error
    return CimError(
        f"internal error of the server: {type(error).__name__}: {error}",
        hint="the log of the server has the traceback",
    )
