"""Users, roles, and the table of the roles that requests need."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from types import MappingProxyType
from typing import TYPE_CHECKING

from cim_hal.errors import PermissionDeniedError
from cim_hal.protocol.wire.messages import (
    AckJob,
    AskDevice,
    AskMetrics,
    AskStatus,
    BeginCouplings,
    Bye,
    CancelCalibration,
    CancelJob,
    CommitCouplings,
    CouplingChunk,
    Describe,
    DropCouplings,
    EmergencyStop,
    FetchHistory,
    FetchResult,
    FetchTrace,
    GetCalibration,
    Hello,
    ListCalibrations,
    ListCouplings,
    ListJobs,
    LockDevice,
    LockInfo,
    Message,
    Ping,
    ResetDevice,
    RunCalibration,
    SafetyInfo,
    Sample,
    StatCouplings,
    UnlockDevice,
    WaitJob,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["ANONYMOUS", "LEAST", "LEAST_FOR_OTHERS", "LOCAL", "Role", "User", "check_role"]


class Role(IntEnum):
    """Roles, in ascending order: each may do all that the ones before may."""

    OBSERVER = 1
    USER = 2
    OPERATOR = 3
    ADMIN = 4

    @property
    def label(self) -> str:
        """The word for it in files, logs and sentences."""
        return self.name.lower()


@dataclass(frozen=True)
class User:
    """Who sent a message, as the transport knows it; nothing of it stands in the message."""

    name: str
    role: Role


# The caller is this very process: it could do to the driver what it likes.
LOCAL = User("local", Role.ADMIN)
# Whoever reached a server without keys. Nobody can be told apart there, and the emergency stop must
# be within everybody's reach.
ANONYMOUS = User("anonymous", Role.OPERATOR)

LEAST: Mapping[type[Message], Role] = MappingProxyType(
    {
        Hello: Role.OBSERVER,
        Ping: Role.OBSERVER,
        Bye: Role.OBSERVER,
        Describe: Role.OBSERVER,
        AskStatus: Role.OBSERVER,
        AskMetrics: Role.OBSERVER,
        WaitJob: Role.OBSERVER,
        FetchResult: Role.OBSERVER,
        FetchTrace: Role.OBSERVER,
        AskDevice: Role.OBSERVER,
        FetchHistory: Role.OBSERVER,
        GetCalibration: Role.OBSERVER,
        ListCalibrations: Role.OBSERVER,
        LockInfo: Role.OBSERVER,
        SafetyInfo: Role.OBSERVER,
        ListCouplings: Role.OBSERVER,
        ListJobs: Role.OBSERVER,
        BeginCouplings: Role.USER,
        StatCouplings: Role.USER,
        DropCouplings: Role.USER,
        CouplingChunk: Role.USER,
        CommitCouplings: Role.USER,
        Sample: Role.USER,
        CancelJob: Role.USER,
        RunCalibration: Role.OPERATOR,
        CancelCalibration: Role.OPERATOR,
        LockDevice: Role.USER,
        UnlockDevice: Role.USER,
        EmergencyStop: Role.OPERATOR,
        ResetDevice: Role.OPERATOR,
        AckJob: Role.USER,
    }
)

# Jobs and couplings belong to users, locks to sessions. What is not here nobody may ask of those
# of another.
LEAST_FOR_OTHERS: Mapping[type[Message], Role] = MappingProxyType(
    {
        CancelJob: Role.OPERATOR,
        ListJobs: Role.OPERATOR,
        DropCouplings: Role.OPERATOR,
        UnlockDevice: Role.ADMIN,
    }
)


def check_role(user: User, request: Message) -> None:
    """Refuse a request that the role of the user does not allow.

    Raises
    ------
    PermissionDeniedError
        The request needs another role.
    """
    least = LEAST[type(request)]
    if user.role < least:
        raise PermissionDeniedError(
            f"{request.t} needs the role {least.label}, and {user.name} is {user.role.label}",
            hint="ask those who run the machine for another role",
            what=request.t,
            required=least.label,
            role=user.role.label,
        )
