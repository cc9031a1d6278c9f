"""The lock of a machine and its emergency stop, as steps."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, TypeVar

from cim_hal.client.messages import checked
from cim_hal.client.steps import Sleep
from cim_hal.errors import LeaseHeldError
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

if TYPE_CHECKING:
    from cim_hal.client.requests import RequestClient
    from cim_hal.client.steps import Steps
    from cim_hal.protocol.wire.messages import Message

__all__ = ["Control"]

SINCE = (1, 0)
ASK_AGAIN_S = 1.0  # at most, while another has the machine

Answer = TypeVar("Answer", bound="Message")


class Control:
    """What a session says of locks and stops, as steps.

    Parameters
    ----------
    dialogue : RequestClient
        It carries the epoch, once there is one.
    """

    def __init__(self, dialogue: RequestClient) -> None:
        self._dialogue = dialogue

    def lock(
        self, *, note: str, for_s: float | None, stands: bool, wait_s: float
    ) -> Steps[LockState]:
        """Lock the machine, and carry the epoch from now on."""
        key = secrets.token_hex(16)
        request = checked(LockDevice, key=key, note=note, for_s=for_s, stands=stands)
        until = self._dialogue.until(wait_s)
        while True:
            try:
                state = yield from self._ask(request, LockState)
                break
            except LeaseHeldError as error:
                left_s = self._dialogue.left(until)
                if left_s <= 0:
                    raise
                expires_in_s = float(error.details.get("expires_in_s") or 0.0)
                yield Sleep(min(left_s, expires_in_s + 0.1, ASK_AGAIN_S))
        self._dialogue.epoch = state.epoch
        return state

    def info(self) -> Steps[LockState]:
        """Return who has the machine; where that is this session, it stays so for a while."""
        return (yield from self._ask(LockInfo(), LockState))

    def unlock(self, epoch: int) -> Steps[LockState]:
        """Give back the lock of that epoch."""
        try:
            return (yield from self._ask(UnlockDevice(), LockState))
        finally:
            if self._dialogue.epoch == epoch:
                self._dialogue.epoch = 0

    def break_lock(self, epoch: int) -> Steps[LockState]:
        """End the lock of that epoch, whoever has it."""
        return (yield from self._ask(checked(UnlockDevice, breaks=epoch), LockState))

    def stop(self, reason: str) -> Steps[SafetyState]:
        """Stop the machine."""
        return (yield from self._ask(checked(EmergencyStop, reason=reason), SafetyState))

    def safety(self) -> Steps[SafetyState]:
        """Return whether the machine is stopped."""
        return (yield from self._ask(SafetyInfo(), SafetyState))

    def reset(self, stop: int) -> Steps[SafetyState]:
        """End the stop of that number."""
        return (yield from self._ask(checked(ResetDevice, stop=stop), SafetyState))

    def _ask(self, body: Message, expected: type[Answer]) -> Steps[Answer]:
        yield from self._dialogue.need(SINCE, body.t)
        return (yield from self._dialogue.ask(body, expected))
