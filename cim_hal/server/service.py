"""A core with its host and a clock: packets in, replies out; what every transport serves."""

from __future__ import annotations

import logging
import os
from collections import deque
from contextlib import ExitStack
from importlib.metadata import version
from typing import TYPE_CHECKING

from cim_hal.errors import CimError, LocalProtocolError
from cim_hal.machine.calibration import Calibration
from cim_hal.machine.driver_state import DriverState
from cim_hal.machine.telemetry import Telemetry
from cim_hal.protocol.core import ServerCore
from cim_hal.protocol.couplings.content import LoweredCouplings
from cim_hal.protocol.effects import Audit, Calibrate, Effect, Lower, Persist, Reply, Run
from cim_hal.protocol.wire.errors import to_wire
from cim_hal.protocol.wire.packet import Packet, answer
from cim_hal.protocol.wire.results import Result
from cim_hal.protocol.wire.roles import LOCAL
from cim_hal.server import audit
from cim_hal.server.clock import Clock
from cim_hal.server.collector import ResultCollector
from cim_hal.server.executor import Executor
from cim_hal.server.logs import about
from cim_hal.server.process_usage import memory_bytes, open_files
from cim_hal.server.storage.calibrations import age_s
from cim_hal.server.storage.memory_journal import MemoryJournal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from cim_hal.machine.capabilities import Capabilities
    from cim_hal.machine.driver import Driver
    from cim_hal.protocol.monitoring.counters import Counters
    from cim_hal.protocol.wire.limits import Limits
    from cim_hal.protocol.wire.roles import User
    from cim_hal.server.board import Board
    from cim_hal.server.executor import Outcome
    from cim_hal.server.storage.calibrations import CalibrationStore
    from cim_hal.server.storage.memory_journal import Journal

__all__ = ["TICK_S", "Service"]

TICK_S = 0.1
USAGE_S = 5.0  # how often memory and open files are looked at

log = logging.getLogger(__name__)


class Service:
    """One machine, ready to answer. Not thread-safe: the caller has one thread, or a lock.

    Parameters
    ----------
    driver : Driver
        The service closes it.
    announce : callable
        Called from another thread when `settle` has something to do.
    limits : Limits
    calibrations : CalibrationStore, optional
        Where records outlast the server.
    journal : Journal, optional
        What jobs are remembered in; the service closes it. In memory where it is None.

    Raises
    ------
    CimError
        The driver does not describe itself, or the journal is damaged, or of another machine.
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
        self._usage_at = 0.0
        with ExitStack() as undo:
            undo.callback(self._journal.close)
            self._executor = Executor(driver, announce, self._journal)
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
            self._close = undo.pop_all().close

    @property
    def capabilities(self) -> Capabilities:
        """What the driver described."""
        return self._executor.capabilities

    @property
    def counters(self) -> Counters:
        """What was counted; whoever moves the packets counts there too."""
        return self._core.counters

    def receive(self, peer: bytes, request: Packet, *, user: User = LOCAL) -> list[Reply]:
        """Take a request; the replies may be to others, and its own may come later."""
        job = vars(request.body).get("job", "")  # to miss an attribute takes a model 6 µs
        with about(peer=peer.hex(), session=request.session[-8:], user=user.name, job=job):
            log.debug("%s", request.body.t)
            try:
                effects = self._core.receive(peer, request, self._clock(), user=user)
                return self._perform(effects)
            except Exception:
                log.exception("a %s request failed", request.body.t)
                fault = to_wire(LocalProtocolError("internal error"))
                return [Reply(peer, answer(request, fault))]

    def settle(self) -> list[Reply]:
        """Take what the host has done, and let time pass; call it at least every `TICK_S`."""
        replies: list[Reply] = []
        for outcome in self._executor.outcomes():
            try:
                replies += self._perform(self._take(outcome, self._clock()))
            except Exception:
                log.exception("an outcome could not be taken")
        now = self._clock()
        for job, progress in self._executor.progress():
            replies += self._perform(self._core.progress(job, progress, now))
        if now >= self._usage_at:
            self._usage_at = now + USAGE_S
            self._measure_usage()
        return replies + self._perform(self._core.tick(now))

    def post(self, board: Board) -> None:
        """Put a report on the board if it is due."""
        if board.is_due:
            board.post(*self._core.reports(self._clock()))

    def close(self) -> None:
        """Stop what runs, close the driver and the journal."""
        self._close()

    def _restore(self) -> None:
        now = self._clock()
        for record in self._calibrations.read() if self._calibrations else ():
            self._core.instruments.restore(record, age_s(record), now)
        saved = self._journal.load(self._executor.capabilities.name)
        controls = self._journal.controls()
        self._perform(self._core.restore(saved, now, controls=controls))

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

    def _take(self, outcome: Outcome, now: float) -> list[Effect]:
        match outcome:
            case Lower(ticket=ticket), LoweredCouplings() | CimError() as lowered:
                return self._core.lowered(ticket, lowered, now)
            case Run(job=job), Result() | CimError() as result:
                return self._core.finish(job, result, now)
            case ResultCollector():
                return self._core.deliver(outcome.job, outcome.partial(), now)
            case Calibrate(key=key), Calibration() | CimError() as made:
                return self._calibrated(key, made, now)
            case Telemetry():
                self._core.instruments.heard(outcome, now)
                return []
            case DriverState():
                self._core.instruments.changed(outcome, now)
                return []
            case _:
                raise TypeError(outcome)

    def _calibrated(self, key: str, made: Calibration | CimError, now: float) -> list[Effect]:
        if isinstance(made, CimError):
            return self._core.instruments.calibrated(key, made, 0.0, now)
        if self._calibrations:
            self._calibrations.keep(made)
        return self._core.instruments.calibrated(key, made, age_s(made), now)

    def _perform(self, effects: Iterable[Effect]) -> list[Reply]:
        replies: list[Reply] = []
        to_do = deque(effects)
        while to_do:
            effect = to_do.popleft()
            match effect:
                case Reply():
                    replies.append(effect)
                case Persist():
                    to_do.extendleft(reversed(self._persist(effect)))
                case Audit():
                    audit.write(effect.event, effect.user, **effect.facts)
                case Run():
                    self._executor.perform(self._core.instruments.ready(effect, self._clock()))
                case _:
                    self._executor.perform(effect)
        return replies

    def _persist(self, effect: Persist) -> list[Effect]:
        """Write a record before anything else is done; what cannot be written has not happened."""
        try:
            self._journal.write(effect.record)
        except CimError as error:
            log.warning("%s was not written: %s", type(effect.record).__name__, error)
            return self._core.unsaved(effect.ticket, error, self._clock())
        return self._core.saved(effect.ticket, self._clock())
