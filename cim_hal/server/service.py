"""A core with its executor and a clock: packets in, replies out; every transport serves one."""

from __future__ import annotations

import logging
import os
import time
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from contextvars import Context, copy_context
from functools import partial
from importlib.metadata import version
from typing import TYPE_CHECKING

from cim_hal.errors import CimError, LocalProtocolError
from cim_hal.machine.telemetry import Calibration, DriverState, Telemetry
from cim_hal.protocol.core import ServerCore
from cim_hal.protocol.couplings.content import LoweredCouplings
from cim_hal.protocol.effects import (
    Audit,
    Calibrate,
    Done,
    Effect,
    Lower,
    MakeSafe,
    Operation,
    Persist,
    Reply,
    Run,
)
from cim_hal.protocol.jobs.records import MAY_BE_UNDONE
from cim_hal.protocol.wire.errors import to_wire
from cim_hal.protocol.wire.messages import EmergencyStop
from cim_hal.protocol.wire.packet import Packet, answer
from cim_hal.protocol.wire.results import Result
from cim_hal.protocol.wire.roles import LOCAL
from cim_hal.server.collector import ResultCollector
from cim_hal.server.driver.calls import NeverBegunError
from cim_hal.server.executor import Executor, MemoryJournal, internal_error
from cim_hal.server.logs import about, audit
from cim_hal.server.process_usage import memory_bytes, open_files
from cim_hal.server.status_snapshot import StatusSnapshot
from cim_hal.server.storage.writer import JournalWriter

if TYPE_CHECKING:
    from cim_hal.machine.capabilities import Capabilities
    from cim_hal.machine.driver import Driver
    from cim_hal.protocol.monitoring import Counters
    from cim_hal.protocol.wire.limits import Limits
    from cim_hal.protocol.wire.roles import User
    from cim_hal.server.executor import Journal, Update
    from cim_hal.server.storage.spool import CalibrationStore

__all__ = ["TICK_S", "Service"]

TICK_S = 0.1
USAGE_S = 5.0  # from one measurement of memory and open files to the next

log = logging.getLogger(__name__)


class Service:
    """One machine, ready to answer. Not thread-safe: the caller has one thread, or a lock.

    It closes the driver and the journal. `announce` is called from another thread when `settle` has
    something to do; the other parameters are those of `Router`.
    """

    def __init__(
        self,
        driver: Driver,
        announce: Callable[[], None],
        limits: Limits | None = None,
        *,
        calibrations: CalibrationStore | None = None,
        journal: Journal | None = None,
    ) -> None:
        self._clock = Clock()
        self._driver = driver
        self._journal = journal or MemoryJournal()
        self._calibrations = calibrations
        self._usage_at = self._tick_at = 0.0
        self._writer: JournalWriter | None = None  # none where writing waits for no disk
        self._contexts: dict[Persist, Context] = {}  # what is logged afterwards belongs to whom
        with ExitStack() as undo:
            if self._journal.is_on_disk:
                self._writer = JournalWriter(self._journal, announce)
                undo.callback(self._writer.close)
            else:
                undo.callback(self._journal.close)
            self._executor = Executor(driver, announce, self._journal, calibrations)
            undo.callback(self._executor.close)
            self._core = ServerCore(
                self._executor.capabilities,
                limits,
                keys=self._journal.keys,
                software=f"cim-hal {version('cim-hal')}",
                # Of the wall clock, so that epochs grow over a restart of the server.
                first_epoch=int(self._clock() * 1000),
            )
            self._restore()
            undo.pop_all()

    @property
    def capabilities(self) -> Capabilities:
        """What the driver described."""
        return self._executor.capabilities

    @property
    def counters(self) -> Counters:
        """What was counted; whoever moves the packets counts there too."""
        return self._core.counters

    def receive(self, peer: bytes, request: Packet, *, user: User = LOCAL) -> list[Reply]:
        """Handle a request; the replies may be to others, and its own may come later."""
        job = vars(request.body).get("job", "")  # to miss an attribute takes a model 6 µs
        with about(peer=peer.hex(), session=request.session[-8:], user=user.name, job=job):
            log.debug("%s", request.body.t)
            try:
                effects = self._core.receive(peer, request, self._clock(), user=user)
            except Exception:
                log.exception("a %s request failed", request.body.t)
                return _failed(peer, request)
            return self._perform(effects, on_error=lambda _: _failed(peer, request))

    def hasten(self, request: Packet, user: User) -> None:
        """Tell the machine of an emergency stop that others are ahead of; it is handled later."""
        if isinstance(request.body, EmergencyStop) and user.role >= EmergencyStop.role:
            self._executor.perform(MakeSafe())

    def write(self) -> None:
        """Have the records written of all that was handled; to be called after each turn."""
        if self._writer:
            self._writer.begin()

    def settle(self) -> list[Reply]:
        """Handle what was written and done, and let time pass; call it every `TICK_S` or more."""
        replies: list[Reply] = []
        for effect, error in self._writer.outcomes() if self._writer else ():
            go_on = partial(self._written, effect, error)
            replies += self._contexts.pop(effect).run(self._step, go_on)
        outcomes = list(self._executor.outcomes())  # first: updates precede their outcome
        for update in self._executor.updates():
            replies += self._step(lambda update=update: self._update(update, self._clock()))
            self._tick_at = 0.0  # jobs may start that waited for the driver
        for done in outcomes:
            replies += self._finish(done)
        now = self._clock()
        for job, progress in self._executor.progress():
            replies += self._step(
                lambda job=job, progress=progress: self._core.progress(job, progress, now)
            )
        if now >= self._usage_at:
            self._usage_at = now + USAGE_S
            self._measure_usage()
        if now >= self._tick_at:
            self._tick_at = now + TICK_S
            replies += self._step(lambda: self._core.tick(now))
        return replies

    def snapshot(self, target: str) -> StatusSnapshot:
        """Return the reports of the server, for other threads of this process."""
        return StatusSnapshot(target, *self._core.reports(self._clock()))

    def drain(self, *, queue: bool) -> bool:
        """Take no new jobs, and start none, or with `queue` all that wait; False once all ended."""
        return self._core.drain(queue=queue)

    def close(self) -> None:
        """Stop what runs, close the driver, keep what still came of jobs, and close the journal."""
        self._core.drain(queue=False)
        self._perform(self._core.give_back())
        try:
            self._executor.close()
            for done in self._executor.outcomes():
                match done:
                    case Done(Run(), Result()):
                        self._finish(done)
                    case Done(Run(job=job), NeverBegunError()):
                        self._perform(self._core.give_back(job))
        finally:
            (self._writer or self._journal).close()

    def _restore(self) -> None:
        now = self._clock()
        for record in self._calibrations.read() if self._calibrations else ():
            self._core.instruments.restore(record, _age_s(record), now)
        saved = self._journal.load(self._executor.capabilities.name)
        controls = self._journal.controls()
        self._perform(self._core.restore(saved, now, controls=controls), on_error=_refuse)
        if self._writer:  # a server must not begin on a journal that it cannot write
            self._writer.flush()
            for effect, error in self._writer.outcomes():
                del self._contexts[effect]
                self._perform(self._written(effect, error), on_error=_refuse)

    def _measure_usage(self) -> None:
        processes = {"server": os.getpid()}
        pid = getattr(self._driver, "pid", None)  # of a `DriverProcess`, while there is one
        if pid is not None:
            processes["driver"] = pid
        for process, number in processes.items():
            for name, measure in (("memory_bytes", memory_bytes), ("open_files", open_files)):
                value = measure(number)
                if value is not None:
                    self.counters.set(name, value, process)

    def _update(self, update: Update, now: float) -> list[Effect]:
        match update:
            case ResultCollector():
                return self._core.deliver(update.job, update.partial(), now)
            case Telemetry():
                self._core.instruments.heard(update, now)
            case DriverState():
                self._core.instruments.changed(update, now)
        return []

    def _finish(self, done: Done) -> list[Reply]:
        """Handle an outcome; one that the core cannot handle ends its operation as an error."""
        try:
            effects = self._outcome(done, self._clock())
        except Exception as error:
            log.exception("the outcome of a %s failed", type(done.effect).__name__)
            failed = Done(done.effect, internal_error(error))
            return self._step(lambda: self._outcome(failed, self._clock()))
        return self._perform(effects)

    def _outcome(self, done: Done, now: float) -> list[Effect]:
        match done:
            case Done(Lower() as effect, LoweredCouplings() | CimError() as result):
                return self._core.lowered(effect, result, now)
            case Done(Run(job=job), Result() | CimError() as result):
                return self._core.finish(job, result, now)
            case Done(Calibrate(key=key), Calibration() as result):
                return self._core.instruments.calibrated(key, result, _age_s(result), now)
            case Done(Calibrate(key=key), CimError() as result):
                return self._core.instruments.calibrated(key, result, 0.0, now)
            case _:
                raise TypeError(done)

    def _step(self, step: Callable[[], list[Effect]]) -> list[Reply]:
        """Perform the effects of a step of the core; where it fails, that is logged."""
        try:
            effects = step()
        except Exception:
            log.exception("a step of the core failed")
            return []
        return self._perform(effects)

    def _perform(
        self, effects: Iterable[Effect], on_error: Callable[[Exception], list[Reply]] = lambda _: []
    ) -> list[Reply]:
        """Perform effects and those that follow; one that fails does not stop the others.

        An operation that cannot begin ends as an error; for any other effect `on_error` is called
        and returns replies.
        """
        replies: list[Reply] = []
        to_do = deque(effects)
        while to_do:
            effect = to_do.popleft()
            try:
                to_do.extendleft(reversed(self._perform_one(effect, replies)))
            except Exception as error:
                log.exception("a %s effect failed", type(effect).__name__)
                if isinstance(effect, Operation):
                    replies += self._finish(Done(effect, internal_error(error)))
                else:
                    replies += on_error(error)
        return replies

    def _perform_one(self, effect: Effect, replies: list[Reply]) -> list[Effect]:
        match effect:
            case Reply():
                replies.append(effect)
            case Persist():
                return self._persist(effect)
            case Audit():
                audit(effect.event, effect.user, **effect.facts)
            case Run():
                self._executor.perform(self._core.instruments.ready(effect, self._clock()))
            case _:
                self._executor.perform(effect)
        return []

    def _persist(self, effect: Persist) -> list[Effect]:
        """Have a record written; it is done at once where that waits for no disk."""
        if self._writer is not None and isinstance(effect.record, MAY_BE_UNDONE):
            self._writer.write_later(effect.record)
            return self._core.saved(effect, self._clock())
        if self._writer is not None:
            self._contexts[effect] = copy_context()
            self._writer.write(effect)
            return []
        error: BaseException | None = None
        try:
            (error,) = self._journal.write([effect.record])
        except Exception as raised:  # noqa: BLE001  whatever it is, the core waits for an outcome
            error = raised
        return self._written(effect, error)

    def _written(self, effect: Persist, error: BaseException | None) -> list[Effect]:
        """Let the core go on after a record; what could not be written has not happened."""
        if error is None:
            return self._core.saved(effect, self._clock())
        is_bug = not isinstance(error, CimError)
        kind = type(effect.record).__name__
        log.warning("%s was not written: %s", kind, error, exc_info=error if is_bug else None)
        return self._core.unsaved(effect, internal_error(error), self._clock())


class Clock:
    """Seconds since 1970: the wall clock's at the start, from there on by the monotonic clock.

    Setting the wall clock while the server runs moves nothing, and times in a journal still mean
    something to the next server.
    """

    def __init__(self) -> None:
        self._offset = time.time() - time.monotonic()

    def __call__(self) -> float:
        """Return the time, in seconds."""
        return self._offset + time.monotonic()


def _failed(peer: bytes, request: Packet) -> list[Reply]:
    return [Reply(peer, answer(request, to_wire(LocalProtocolError("internal error"))))]


def _age_s(record: Calibration) -> float:
    """Return the age of a record by the wall clock."""
    return max(time.time() - record.taken_at, 0.0)


def _refuse(error: Exception) -> list[Reply]:
    raise error
