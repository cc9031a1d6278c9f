"""The calibrations of a machine: which is current, how old, and those that are being made."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cim_hal.errors import CalibrationError, CimError, ConflictError, UnknownReferenceError
from cim_hal.protocol.effects import Audit, Calibrate, Effect, Stop, reply
from cim_hal.protocol.wire.errors import to_wire
from cim_hal.protocol.wire.messages.instruments import (
    CalibrationEntry,
    CalibrationList,
    CalibrationRecord,
    CalibrationState,
)

if TYPE_CHECKING:
    from cim_hal.machine.telemetry import Calibration
    from cim_hal.protocol.wire.packet import Packet
    from cim_hal.protocol.wire.roles import User

__all__ = ["Calibrations"]

MAX_RECORDS = 1000  # kept in memory; the oldest are forgotten here, and not on disk
MAX_LISTED = 256  # in one message
MAX_TASKS = 64  # whose ends are remembered


@dataclass(frozen=True, eq=False)
class _Waiter:
    peer: bytes
    request: Packet
    deadline: float


@dataclass(eq=False)
class _Task:
    key: str
    user: User
    outcome: str | CimError | None = None
    waiters: list[_Waiter] = field(default_factory=list)

    def state(self) -> CalibrationState:
        match self.outcome:
            case None:
                return CalibrationState(key=self.key, state="running")
            case CimError():
                return CalibrationState(key=self.key, state="failed", error=to_wire(self.outcome))
            case fingerprint:
                return CalibrationState(key=self.key, state="done", fingerprint=fingerprint)


class Calibrations:
    """Records by fingerprint, oldest first; the newest is the current one."""

    def __init__(self) -> None:
        self._records: OrderedDict[str, tuple[Calibration, float]] = OrderedDict()
        self._tasks: OrderedDict[str, _Task] = OrderedDict()

    @property
    def current(self) -> Calibration | None:
        """The newest record."""
        return next(reversed(self._records.values()))[0] if self._records else None

    def age_s(self, record: Calibration, now: float) -> float:
        """Return the seconds since a record was made."""
        return max(now - self._records[record.fingerprint][1], 0.0)

    def add(self, record: Calibration, age_s: float, now: float) -> None:
        """Make a record of that age the current one."""
        self._records[record.fingerprint] = record, now - age_s
        self._records.move_to_end(record.fingerprint)
        if len(self._records) > MAX_RECORDS:
            self._records.popitem(last=False)

    def check(self, now: float) -> None:
        """Refuse to run without a record that is young enough.

        Raises
        ------
        CalibrationError
        """
        record, hint = self.current, "an operator calibrates it: cim-hal calibrate"
        if record is None:
            raise CalibrationError("the machine has no calibration", hint=hint)
        age_s = self.age_s(record, now)
        if record.is_stale(age_s):
            raise CalibrationError(
                f"the calibration is {age_s:.0f} s old and was valid for {record.valid_s:g} s",
                hint=hint,
                fingerprint=record.fingerprint,
                age_s=age_s,
                valid_s=record.valid_s,
            )

    def get(self, fingerprint: str | None, now: float) -> CalibrationRecord:
        """Return the message with a record, or with the current one.

        Raises
        ------
        UnknownReferenceError
            There is none.
        """
        current = self.current
        if fingerprint is None and current is not None:
            fingerprint = current.fingerprint
        if fingerprint not in self._records:
            raise UnknownReferenceError(
                "the server does not know that calibration"
                if fingerprint
                else "the machine has no calibration",
                hint="cim-hal calibrate makes one",
                kind="calibration",
            )
        record, _ = self._records[fingerprint]
        return CalibrationRecord(
            fingerprint=fingerprint,
            calibration=record,
            age_s=self.age_s(record, now),
            is_current=record is current,
        )

    def listed(self, first: int) -> CalibrationList:
        """Return the message with as many as fit, the newest first."""
        newest_first = [record for record, _ in reversed(self._records.values())]
        entries = tuple(
            CalibrationEntry(
                fingerprint=record.fingerprint, taken_at=record.taken_at, valid_s=record.valid_s
            )
            for record in newest_first[first : first + MAX_LISTED]
        )
        return CalibrationList(records=entries, first=first, total=len(newest_first))

    # ---- making one -------------------------------------------------------------------------

    def run(
        self, peer: bytes, request: Packet, key: str, user: User, *, deadline: float | None
    ) -> list[Effect]:
        """Begin a calibration, or wait for the end of the one of that key."""
        effects: list[Effect] = []
        task = self._tasks.get(key)
        if task is None:
            self._forget_ended()
            task = self._tasks[key] = _Task(key, user)
            effects = [Calibrate(key), Audit("calibration", user, {"key": key})]
        elif task.user.name != user.name:
            raise ConflictError("the key was used by another user", hint="make a new key")
        if task.outcome is not None or deadline is None:
            return [reply(peer, request, task.state()), *effects]
        task.waiters = [w for w in task.waiters if (w.peer, w.request.id) != (peer, request.id)]
        task.waiters.append(_Waiter(peer, request, deadline))
        return effects

    def cancel(self, peer: bytes, request: Packet, key: str, user: User) -> list[Effect]:
        """End a calibration early.

        Raises
        ------
        UnknownReferenceError
            There is none with that key.
        """
        task = self._tasks.get(key)
        if task is None:
            raise UnknownReferenceError("the server does not know that key", kind="calibration")
        stops: list[Effect] = [Stop(key)] if task.outcome is None else []
        audit = Audit("calibration cancelled", user, {"key": key})
        return [*stops, reply(peer, request, task.state()), audit]

    def finish(
        self, key: str, outcome: Calibration | CimError, age_s: float, now: float
    ) -> list[Effect]:
        """Record the outcome of a calibration, and answer those who wait for it."""
        task = self._tasks[key]
        if isinstance(outcome, CimError):
            task.outcome, facts = outcome, {"key": key, "error": outcome.code}
        else:
            self.add(outcome, age_s, now)
            task.outcome = outcome.fingerprint
            facts = {"key": key, "fingerprint": outcome.fingerprint}
        waiters, task.waiters = task.waiters, []
        return [*_tell(waiters, task), Audit("calibration ended", task.user, facts)]

    def tick(self, now: float) -> list[Effect]:
        """Answer waits that are over."""
        effects: list[Effect] = []
        for task in self._tasks.values():
            due = [waiter for waiter in task.waiters if waiter.deadline <= now]
            if due:
                task.waiters = [waiter for waiter in task.waiters if waiter.deadline > now]
                effects += _tell(due, task)
        return effects

    def _forget_ended(self) -> None:
        ended = [key for key, task in self._tasks.items() if task.outcome is not None]
        for key in ended[: max(len(self._tasks) - MAX_TASKS + 1, 0)]:
            del self._tasks[key]


def _tell(waiters: list[_Waiter], task: _Task) -> list[Effect]:
    return [reply(w.peer, w.request, task.state()) for w in waiters]
