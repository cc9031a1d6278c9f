"""Messages about who may use the machine, and whether anybody may."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from cim_hal.model.record import ONE_LINE
from cim_hal.protocol.wire.base import Number, Reply, Request, Text, Token
from cim_hal.protocol.wire.roles import Role

__all__ = [
    "MAX_LOCK_S",
    "EmergencyStop",
    "LockDevice",
    "LockInfo",
    "LockState",
    "ResetDevice",
    "SafetyInfo",
    "SafetyState",
    "UnlockDevice",
]

MAX_LOCK_S = 7 * 86400.0
Remark = Annotated[str, Field(max_length=200, pattern=ONE_LINE)]


class LockDevice(Request, role=Role.USER):
    """Have the machine alone, until it is given back or the lease runs out.

    The same key is the same lock, however often it arrives. A lock that `stands` lasts for `for_s`
    seconds, also when the session ends, and any session of the user may use it.
    """

    t: Literal["device.lock"] = "device.lock"
    key: Token
    note: Remark = ""
    for_s: Annotated[float, Field(gt=0, le=MAX_LOCK_S)] | None = None
    stands: bool = False


class UnlockDevice(Request, role=Role.USER, of_others=Role.ADMIN, safety=True):
    """Give the machine back; with `breaks`, end the lock of that epoch whoever has it."""

    t: Literal["device.unlock"] = "device.unlock"
    breaks: Number = 0


class LockInfo(Request, role=Role.OBSERVER, safety=True):
    """Ask who has the machine."""

    t: Literal["lock.info"] = "lock.info"


class EmergencyStop(Request, role=Role.OPERATOR, safety=True):
    """Stop what runs, switch everything off, and start nothing until a reset.

    No stop is refused for its words: what is not printable in `reason` is escaped by the server.
    """

    t: Literal["device.estop"] = "device.estop"
    reason: Annotated[str, Field(max_length=200)] = ""


class ResetDevice(Request, role=Role.OPERATOR, safety=True):
    """End the emergency stop of that number."""

    t: Literal["device.reset"] = "device.reset"
    stop: Number


class SafetyInfo(Request, role=Role.OBSERVER, safety=True):
    """Ask whether an emergency stop holds."""

    t: Literal["safety.info"] = "safety.info"


class LockState(Reply):
    """Who has the machine; epoch 0 where nobody does."""

    t: Literal["lock.state"] = "lock.state"
    epoch: Number = 0
    holder: Text = ""
    note: Text = ""
    expires_in_s: Annotated[float, Field(ge=0)] | None = None
    is_yours: bool = False
    stands: bool = False
    lease_s: Annotated[float, Field(gt=0)]


class SafetyState(Reply):
    """Which emergency stop holds: its number, 0 for none; who pressed it, why, and since when."""

    t: Literal["safety.state"] = "safety.state"
    stop: Number = 0
    by: Text = ""
    reason: Text = ""
    for_s: Annotated[float, Field(ge=0)] = 0.0
