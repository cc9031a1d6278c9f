"""What the core asks of the server around it; data, not calls.

An `Operation` takes time and ends in exactly one `Done`. A `Persist` is done at once, and the core
told at once. A `Command` has no outcome.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cim_hal.errors import CimError, Detail
    from cim_hal.machine.calibration import Calibration
    from cim_hal.machine.driver import Program
    from cim_hal.protocol.couplings.content import Couplings, EncodedCouplings, LoweredCouplings
    from cim_hal.protocol.jobs.records import Record
    from cim_hal.protocol.wire.messages import CouplingRef
    from cim_hal.protocol.wire.packet import Packet
    from cim_hal.protocol.wire.results import Result
    from cim_hal.protocol.wire.roles import User

__all__ = [
    "Audit",
    "Calibrate",
    "Command",
    "Done",
    "Effect",
    "Lower",
    "MakeSafe",
    "Operation",
    "Persist",
    "Reply",
    "Run",
    "Stop",
]


@dataclass(frozen=True, eq=False)
class Reply:
    """Send a packet to a peer: the reply to a request of it, or an event before that."""

    peer: bytes
    packet: Packet


@dataclass(frozen=True, eq=False)
class Run:
    """Run a program on the driver, then call ``ServerCore.finish``.

    Where there is a `refusal` the driver is not called: that is the outcome.
    """

    job: str
    program: Program
    refusal: CimError | None = None


@dataclass(frozen=True, eq=False)
class Stop:
    """Ask the driver to end a job, or a calibration, early."""

    job: str


@dataclass(frozen=True, eq=False)
class MakeSafe:
    """Stop what runs and switch all outputs off, now."""


@dataclass(frozen=True, eq=False)
class Calibrate:
    """Calibrate the machine when it is free, then call ``InstrumentHandlers.calibrated``."""

    key: str


@dataclass(frozen=True, eq=False)
class Lower:
    """Call `lower_encoded` away from the thread that serves, then ``ServerCore.lowered``.

    It costs a few hundredths of a second for 2000 spins: verify, check, fit to the machine. Where
    `source` is None the content is what the journal keeps.
    """

    ticket: str
    coupling: CouplingRef
    source: EncodedCouplings | Couplings | None
    base: Couplings | None = None


@dataclass(frozen=True, eq=False)
class Persist:
    """Write a record so that it outlasts a crash, then call ``ServerCore.saved`` at once.

    Where it cannot be written, call ``ServerCore.unsaved``: what is not saved has not happened.
    """

    ticket: str
    record: Record


@dataclass(frozen=True, eq=False)
class Audit:
    """Write down who did what."""

    event: str
    user: User
    facts: Mapping[str, Detail]


Operation: TypeAlias = Run | Calibrate | Lower
Command: TypeAlias = Reply | Stop | MakeSafe | Audit
Effect: TypeAlias = Operation | Persist | Command


@dataclass(frozen=True, eq=False)
class Done:
    """The one outcome of an operation, whatever happened to it."""

    effect: Operation
    result: Result | Calibration | LoweredCouplings | CimError
