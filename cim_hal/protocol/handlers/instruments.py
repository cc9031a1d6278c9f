"""The instruments of a machine: what it reports, whether it may run, and its calibrations."""

from __future__ import annotations

from collections import OrderedDict, deque
from dataclasses import dataclass, field, replace
from itertools import count, islice
from typing import TYPE_CHECKING

from cim_hal.errors import (
    CalibrationError,
    CimError,
    ConflictError,
    UnavailableError,
    UnknownReferenceError,
)
from cim_hal.machine.telemetry import DriverPhase, DriverState
from cim_hal.protocol.effects import Audit, Calibrate, Effect, Run, Stop
from cim_hal.protocol.index import OrderedIndex, page
from cim_hal.protocol.jobs.scheduler import ending_error
from cim_hal.protocol.sharing.sessions import check_quota
from cim_hal.protocol.wire import messages
from cim_hal.protocol.wire.errors import to_wire

if TYPE_CHECKING:
    from cim_hal.machine.telemetry import Calibration, Telemetry
    from cim_hal.protocol.effects import Answer, Asked, Handlers
    from cim_hal.protocol.server_state import ServerState
    from cim_hal.protocol.wire.roles import User

__all__ = ["HISTORY", "InstrumentHandlers"]

HISTORY = 3600  # telemetry kept: an hour, at one a second
HISTORY_BYTES = 40_000  # of JSON, in one message
STALE_S = 5.0  # telemetry is polled once a second between runs
MAX_RECORDS = 1000  # kept in memory; the oldest are forgotten here, and not on disk
MAX_LISTED = 256  # in one message
MAX_TASKS = 64  # whose ends are remembered
MAX_RUNNING = 4  # of one user: that runs, or waits for the machine


@dataclass(frozen=True, eq=False)
class _Kept:
    """A calibration, when it was made, and its number: later ones have larger numbers."""

    record: Calibration
    made_at: float
    number: int

    def age_s(self, now: float) -> float:
        return max(now - self.made_at, 0.0)


@dataclass(eq=False)
class _Task:
    """A calibration that is made: its user, its end, and who waits for that until when."""

    key: str
    user: User
    outcome: str | CimError | None = None
    waiters: list[tuple[Asked, float]] = field(default_factory=list)

    def state(self) -> messages.CalibrationState:
        match self.outcome:
            case None:
                return messages.CalibrationState(key=self.key, state="running")
            case CimError():
                return messages.CalibrationState(
                    key=self.key, state="failed", error=to_wire(self.outcome)
                )
            case fingerprint:
                return messages.CalibrationState(
                    key=self.key, state="done", fingerprint=fingerprint
                )

    def tell(self, now: float) -> list[Effect]:
        """Answer those who wait and whose time is over, all of them after the end."""
        is_over = self.outcome is not None
        due = [waiter for waiter in self.waiters if is_over or waiter[1] <= now]
        self.waiters = [waiter for waiter in self.waiters if waiter not in due]
        return [asked.reply(self.state()) for asked, _ in due]


class InstrumentHandlers:
    """What the server knows of its machine beside its capabilities."""

    def __init__(self, state: ServerState) -> None:
        self._state = state
        self._history: deque[tuple[Telemetry, float]] = deque(maxlen=HISTORY)
        self._newest, self._taken_at = 0, 0.0
        self._condition, self._changed_at = DriverState(), 0.0
        self._numbers = count(1)
        # By fingerprint, the oldest first; the newest is the current one.
        self._records: OrderedDict[str, _Kept] = OrderedDict()
        self._by_number: OrderedIndex[_Kept] = OrderedIndex()
        self._tasks: OrderedDict[str, _Task] = OrderedDict()
        self._is_ending = False
        self.handlers: Handlers = {
            messages.AskDevice: lambda _asked, _, now: self.status(now),
            messages.FetchHistory: self._fetch_history,
            messages.GetCalibration: self._get_calibration,
            messages.ListCalibrations: self._list_calibrations,
            messages.RunCalibration: self._run_calibration,
            messages.CancelCalibration: self._cancel_calibration,
        }

    # ---- what the driver says ---------------------------------------------------------------

    def heard(self, telemetry: Telemetry, now: float) -> None:
        """Take telemetry."""
        if not self._history or telemetry.taken_at != self._history[-1][0].taken_at:
            self._taken_at = now  # a driver whose clock stands still tells nothing new
        self._history.append((telemetry, now))
        self._newest += 1

    def changed(self, condition: DriverState, now: float) -> None:
        """Take how the driver is."""
        self._condition, self._changed_at = condition, now

    def calibrated(
        self, key: str, outcome: Calibration | CimError, age_s: float, now: float
    ) -> list[Effect]:
        """Handle the outcome of a `Calibrate` effect: record it, and answer those who wait."""
        task = self._tasks[key]
        if isinstance(outcome, CimError):
            task.outcome, facts = outcome, {"key": key, "error": outcome.code}
        else:
            self.restore(outcome, age_s, now)
            task.outcome = outcome.fingerprint
            facts = {"key": key, "fingerprint": outcome.fingerprint}
        return [*task.tell(now), Audit("calibration ended", task.user, facts)]

    def restore(self, record: Calibration, age_s: float, now: float) -> None:
        """Make a calibration of that age the current one, also one of before the start."""
        kept = _Kept(record, now - age_s, next(self._numbers))
        old = self._records.pop(record.fingerprint, None)
        if old is None and len(self._records) == MAX_RECORDS:
            _, old = self._records.popitem(last=False)
        if old is not None:
            self._by_number.discard(old.number)
        self._records[record.fingerprint] = kept
        self._by_number.add(kept.number, kept)

    # ---- rules ------------------------------------------------------------------------------

    def check(self, now: float) -> None:
        """Refuse jobs where the machine cannot, or must not, run them.

        `UnavailableError` if its driver is broken, `InterlockError` if an interlock is open,
        `CalibrationError` if the machine needs a calibration and has none that is young enough.
        """
        if self.is_broken:
            condition = self._driver(now)
            raise UnavailableError(
                f"the driver of the machine is broken: {condition.fault}",
                hint=f"it is tried again in {condition.retry_after_s:.0f} s",
                retry_after_s=condition.retry_after_s,
            )
        if self._history:
            self._history[-1][0].check_interlocks()
        if self._state.capabilities.needs_calibration:
            self._check_calibration(now)

    @property
    def is_broken(self) -> bool:
        """Whether jobs wait until the driver works again."""
        return self._condition.phase is DriverPhase.BROKEN

    def ready(self, run: Run, now: float) -> Run:
        """Return a run with the current calibration, or with what forbids it."""
        try:
            self.check(now)
        except CimError as error:
            return replace(run, refusal=error)
        current = self._current
        if current is None:
            return run
        return replace(run, program=replace(run.program, calibration=current.record))

    def drain(self) -> bool:
        """Take no new calibrations; return whether one runs or waits for the machine."""
        self._is_ending = True
        return any(task.outcome is None for task in self._tasks.values())

    def tick(self, now: float) -> list[Effect]:
        """Answer waits that are over."""
        return [effect for task in self._tasks.values() for effect in task.tell(now)]

    def status(self, now: float) -> messages.DeviceStatus:
        """Return how the machine and its driver are."""
        telemetry = self._history[-1][0] if self._history else None
        telemetry_age_s = max(now - self._taken_at, 0.0) if self._history else 0.0
        is_ready = self._condition.phase is DriverPhase.READY
        running = self._state.jobs.running  # a driver need not report during a run
        is_old = (running.started_at if running else now) - self._taken_at > STALE_S
        current = self._current
        age_s = current.age_s(now) if current else 0.0
        return messages.DeviceStatus(
            driver=self._driver(now),
            telemetry=telemetry,
            number=self._newest,
            age_s=telemetry_age_s,
            telemetry_stale=telemetry is not None and (is_old or not is_ready),
            calibration=current and current.record.fingerprint,
            calibration_age_s=age_s,
            calibration_stale=current is not None and current.record.is_stale(age_s),
        )

    @property
    def _current(self) -> _Kept | None:
        return next(reversed(self._records.values()), None)

    def _check_calibration(self, now: float) -> None:
        current, hint = self._current, "an operator calibrates it: cim-hal calibrate"
        if current is None:
            raise CalibrationError("the machine has no calibration", hint=hint)
        record, age_s = current.record, current.age_s(now)
        if record.is_stale(age_s):
            raise CalibrationError(
                f"the calibration is {age_s:.0f} s old and was valid for {record.valid_s:g} s",
                hint=hint,
                fingerprint=record.fingerprint,
                age_s=age_s,
                valid_s=record.valid_s,
            )

    def _driver(self, now: float) -> DriverState:
        left = max(self._condition.retry_after_s - (now - self._changed_at), 0.0)
        return self._condition.model_copy(update={"retry_after_s": left})

    # ---- requests ---------------------------------------------------------------------------

    def _fetch_history(
        self, _asked: Asked, fetch: messages.FetchHistory, _now: float
    ) -> messages.History:
        oldest = self._newest - len(self._history) + 1
        first = min(max(fetch.after + 1, oldest), self._newest + 1)
        found: list[Telemetry] = []
        n_bytes = 0
        for telemetry, _ in islice(self._history, first - oldest, None):
            n_bytes += len(telemetry.model_dump_json())
            if found and n_bytes > HISTORY_BYTES:
                break
            found.append(telemetry)
        return messages.History(telemetry=tuple(found), first=first, newest=self._newest)

    def _get_calibration(
        self, _asked: Asked, ask: messages.GetCalibration, now: float
    ) -> messages.CalibrationRecord:
        named, current = ask.fingerprint, self._current
        found = current if named is None else self._records.get(named)
        if found is None:
            raise UnknownReferenceError(
                "the server does not know that calibration"
                if named
                else "the machine has no calibration",
                hint="cim-hal calibrate makes one",
                kind="calibration",
            )
        return messages.CalibrationRecord(
            fingerprint=found.record.fingerprint,
            calibration=found.record,
            age_s=found.age_s(now),
            is_current=found is current,
        )

    def _list_calibrations(
        self, _asked: Asked, ask: messages.ListCalibrations, _now: float
    ) -> messages.CalibrationList:
        kept, has_more = page(self._by_number.before(ask.first or None), MAX_LISTED)
        return messages.CalibrationList(
            records=tuple(_entry(each.record) for each in kept),
            first=ask.first,
            total=len(self._records),
            cursor=kept[-1].number if has_more else 0,
        )

    def _run_calibration(self, asked: Asked, run: messages.RunCalibration, now: float) -> Answer:
        """Begin a calibration, or wait for the end of the one of that key."""
        effects: list[Effect] = []
        task = self._tasks.get(run.key)
        if task is None:
            if self._is_ending:
                raise ending_error("calibrations")
            self._check_quota(asked.user)
            self._forget_ended()
            task = self._tasks[run.key] = _Task(run.key, asked.user)
            effects = [Calibrate(run.key), Audit("calibration", asked.user, {"key": run.key})]
        elif task.user.name != asked.user.name:
            raise ConflictError("the key was used by another user", hint="make a new key")
        if task.outcome is not None or not run.timeout_s:
            return [asked.reply(task.state()), *effects]
        again = asked.peer, asked.packet.id
        task.waiters = [w for w in task.waiters if (w[0].peer, w[0].packet.id) != again]
        task.waiters.append((asked, now + min(run.timeout_s, self._state.limits.wait_s)))
        return effects

    def _cancel_calibration(
        self, asked: Asked, cancel: messages.CancelCalibration, _now: float
    ) -> list[Effect]:
        task = self._tasks.get(cancel.key)
        if task is None:
            raise UnknownReferenceError("the server does not know that key", kind="calibration")
        stops: list[Effect] = [Stop(cancel.key)] if task.outcome is None else []
        audit = Audit("calibration cancelled", asked.user, {"key": cancel.key})
        return [*stops, asked.reply(task.state()), audit]

    def _check_quota(self, user: User) -> None:
        running = [task for task in self._tasks.values() if task.outcome is None]
        own = sum(task.user.name == user.name for task in running)
        hint = "wait for the end of those that were asked for, or cancel them"
        check_quota(user.name, "calibrations", used=own + 1, available=MAX_RUNNING, hint=hint)

    def _forget_ended(self) -> None:
        ended = [key for key, task in self._tasks.items() if task.outcome is not None]
        for key in ended[: max(len(self._tasks) - MAX_TASKS + 1, 0)]:
            del self._tasks[key]


def _entry(record: Calibration) -> messages.CalibrationEntry:
    return messages.CalibrationEntry(
        fingerprint=record.fingerprint, taken_at=record.taken_at, valid_s=record.valid_s
    )
