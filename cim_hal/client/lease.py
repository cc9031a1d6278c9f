"""The lock of a machine and its emergency stop."""

from __future__ import annotations

import logging
import secrets
import threading
import weakref
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

from cim_hal.client.options import checked
from cim_hal.client.runner import SessionPart
from cim_hal.client.steps import Sleep
from cim_hal.errors import (
    ClosedError,
    LeaseHeldError,
    LeaseLostError,
    LocalProtocolError,
    ModelError,
    TransportError,
)
from cim_hal.model.conversion import duration, whole_number
from cim_hal.protocol.wire.messages import (
    EmergencyStop,
    LockDevice,
    LockInfo,
    LockState,
    ResetDevice,
    SafetyInfo,
    SafetyState,
    UnlockDevice,
)
from cim_hal.text import printable

if TYPE_CHECKING:
    from cim_hal.client.requests import RequestClient
    from cim_hal.client.runner import Runner
    from cim_hal.client.steps import Steps

__all__ = ["Lease", "LockMethods"]

RETRY_AFTER_S = 1.0  # at most, while another has the machine

log = logging.getLogger(__name__)

MAX_REASON = 200  # characters of it that travel
MAX_NUMBER = 2**63 - 1


class LockMethods(SessionPart):
    """The methods of a session for the lock and the emergency stop."""

    def lock(
        self,
        *,
        note: str = "",
        for_s: float | None = None,
        stands: bool = False,
        wait_s: float = 0.0,
    ) -> Lease:
        """Lock the machine for this session until the lease is released; use it in a ``with``.

        Jobs of other sessions wait meanwhile; one that runs is not interrupted.

        Parameters
        ----------
        note : str
            Why, for those who wait; at most 200 characters.
        for_s : float, optional
            The lock ends after so many seconds in any case.
        stands : bool
            The lock lasts for `for_s` even if this session ends, and serves any session of the
            user that is opened with its epoch.
        wait_s : float
            How long to wait while another session has the lock.

        Raises
        ------
        LeaseHeldError
            Another session has it; ``details`` says whose, why and for how long.
        """
        request = checked(
            LockDevice, key=secrets.token_hex(16), note=note, for_s=for_s, stands=stands
        )
        wait_s = duration("wait_s", wait_s, ModelError)
        state = self._run(_acquire(self._client, request, wait_s))
        return Lease(state, self._client, self._runner)

    def lock_info(self) -> LockState:
        """Ask who has locked the machine."""
        return self._ask(LockInfo(), LockState)

    def break_lock(self, epoch: int) -> LockState:
        """End a lock, by its epoch: one of the same user, or anybody's with the role admin.

        Raises
        ------
        LeaseLostError
            It has ended already, and another session has the lock.
        PermissionDeniedError
            It is another user's.
        """
        epoch = whole_number("epoch", epoch, ModelError, 0, MAX_NUMBER)
        return self._ask(UnlockDevice(breaks=epoch), LockState)

    def estop(self, reason: str = "") -> SafetyState:
        """Stop the machine, whoever uses it: an emergency stop; needs the role operator.

        The job that runs ends with `EmergencyStopError`, all outputs are switched off, and nothing
        starts until `reset`.
        """
        return self._ask(
            checked(EmergencyStop, reason=printable(str(reason))[:MAX_REASON]), SafetyState
        )

    def safety(self) -> SafetyState:
        """Ask whether the machine is stopped, by whom and why."""
        return self._ask(SafetyInfo(), SafetyState)

    def reset(self, stop: int) -> SafetyState:
        """End an emergency stop, by its number; needs the role operator.

        Raises
        ------
        ConflictError
            The machine was stopped again since.
        """
        stop = whole_number("stop", stop, ModelError, 0, MAX_NUMBER)
        return self._ask(ResetDevice(stop=stop), SafetyState)


class Lease:
    """The lock of a machine, held by one session; a context manager that releases it.

    Made by ``Session.lock``. A thread renews it, three times in the time it would last otherwise.
    If that fails for too long, because this process was stopped or the network is down, the lock
    ends; the server then refuses what uses the machine with `LeaseLostError`.
    """

    def __init__(self, state: LockState, client: RequestClient, runner: Runner) -> None:
        self._renewal = _Renewal(state.epoch, state.lease_s / 3, client, runner)
        weakref.finalize(self, self._renewal.is_over.set)
        if not state.stands:  # one that stands lasts for the time it was locked for
            threading.Thread(target=self._renewal.run, name="cim-hal lease", daemon=True).start()

    @property
    def epoch(self) -> int:
        """Number of the lock; the session sends it with its messages."""
        return self._renewal.epoch

    @property
    def is_lost(self) -> bool:
        """Whether the lock has ended without having been released, as far as is known."""
        return self._renewal.is_lost.is_set()

    def release(self) -> None:
        """Unlock the machine. Repeating this, or a lock that has ended, is no error."""
        self._renewal.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


@dataclass(frozen=True, eq=False)
class _Renewal:
    """What the renewing thread knows of a lease: not the lease, which may be collected."""

    epoch: int
    every_s: float
    client: RequestClient
    runner: Runner
    is_over: threading.Event = field(default_factory=threading.Event)
    is_lost: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        """Renew the lock until the lease is released or lost."""
        while not self.is_over.wait(self.every_s):
            try:
                # The question renews the lock of the session that asks it.
                state = self.runner.run(self.client.ask(LockInfo(), LockState))
            except (ClosedError, LocalProtocolError):  # the session is closed
                return
            except Exception as error:  # noqa: BLE001  whatever it is, the lock still stands
                log.warning("the lock could not be renewed, and is tried again: %s", error)
                continue
            if state.epoch != self.epoch and not self.is_over.is_set():
                self.is_lost.set()
                log.warning("the lock %d of the machine is lost", self.epoch)
                return

    def release(self) -> None:
        if self.is_over.is_set():
            return
        self.is_over.set()
        try:
            self.runner.run(_release(self.client, self.epoch))
        except LeaseLostError:
            self.is_lost.set()
        except TransportError as error:
            log.warning("the lock could not be released, and ends by itself: %s", error)


def _acquire(client: RequestClient, request: LockDevice, wait_s: float) -> Steps[LockState]:
    """Lock the machine; the session sends the epoch from now on."""
    deadline = client.deadline(wait_s)
    while True:
        try:
            state = yield from client.ask(request, LockState)
            break
        except LeaseHeldError as error:
            remaining_s = client.remaining_s(deadline)
            if remaining_s <= 0:
                raise
            expires_in_s = float(error.details.get("expires_in_s") or 0.0)
            yield Sleep(min(remaining_s, expires_in_s + 0.1, RETRY_AFTER_S))
    client.epoch = state.epoch
    return state


def _release(client: RequestClient, epoch: int) -> Steps[LockState]:
    try:
        return (yield from client.ask(UnlockDevice(), LockState))
    finally:
        if client.epoch == epoch:
            client.epoch = 0
