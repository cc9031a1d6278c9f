"""Effects: what the core asks of the server around it, as data; and requests with their senders.

An `Operation` takes time and ends in exactly one `Done`. A `Persist` takes time as well: records
are written in the order in which they were asked for, and the core is told of each in that order.
A `Command` has no outcome.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from cim_hal.errors import CimError
from cim_hal.protocol.wire.errors import to_wire
from cim_hal.protocol.wire.packet import Packet, answer, event

if TYPE_CHECKING:
    from typing import Any

    from numpy.typing import NDArray

    from cim_hal.errors import Detail
    from cim_hal.machine.driver import Program
    from cim_hal.machine.telemetry import Calibration
    from cim_hal.protocol.couplings.content import Couplings, EncodedCouplings, LoweredCouplings
    from cim_hal.protocol.jobs.records import Record
    from cim_hal.protocol.wire.base import Message
    from cim_hal.protocol.wire.messages.couplings import CouplingRef
    from cim_hal.protocol.wire.results import Result
    from cim_hal.protocol.wire.roles import User

__all__ = [
    "Answer",
    "Asked",
    "Audit",
    "Calibrate",
    "Command",
    "Done",
    "Effect",
    "Handlers",
    "Lower",
    "MakeSafe",
    "Operation",
    "Otherwise",
    "Persist",
    "Reply",
    "Run",
    "Stop",
    "Then",
    "answered",
]

# What follows a record that was written, and one that could not be: called with the time.
Then: TypeAlias = "Callable[[float], list[Effect]]"
Otherwise: TypeAlias = "Callable[[CimError, float], list[Effect]]"
# What answers a request: the message that is the reply, or effects.
Answer: TypeAlias = "Message | list[Effect]"
# Handlers by the type of the message: called with request, message and time.
Handlers: TypeAlias = "Mapping[type[Message], Callable[[Asked, Any, float], Answer]]"


@dataclass(frozen=True, eq=False)
class Asked:
    """A request, and who sent it."""

    peer: bytes
    packet: Packet
    user: User

    @property
    def session(self) -> str:
        """Token of the session."""
        return self.packet.session

    def reply(self, body: Message, *buffers: NDArray[Any]) -> Reply:
        """Return the effect that answers with `body`."""
        return Reply(self.peer, answer(self.packet, body, *buffers), self.session)

    def event(self, body: Message) -> Reply:
        """Return the effect that tells something ahead of the answer."""
        return Reply(self.peer, event(self.packet, body), self.session)

    def refuse(self, error: CimError, _now: float = 0.0) -> list[Effect]:
        """Return the effect that answers with an error."""
        return [self.reply(to_wire(error))]


@dataclass(frozen=True, eq=False)
class Reply:
    """Send a packet to a peer: the reply to its request, or an event before that.

    `session` is that of the request; the version agreed with it decides what the reply holds.
    """

    peer: bytes
    packet: Packet
    session: str = ""


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

    coupling: CouplingRef
    source: EncodedCouplings | Couplings | None
    base: Couplings | None = None


@dataclass(frozen=True, eq=False)
class Persist:
    """Write a record so that it outlasts a crash, then call ``ServerCore.saved``.

    Where it cannot be written, call ``ServerCore.unsaved``: what is not saved has not happened.
    The core goes on with `then` or `otherwise`, which are for nobody else to call.
    """

    record: Record
    then: Then
    otherwise: Otherwise


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


def answered(asked: Asked, handle: Callable[[], Answer]) -> list[Effect]:
    """Return what answers a request: what `handle` returns or, where it raises one, the error."""
    try:
        answer = handle()
    except CimError as error:
        return asked.refuse(error)
    return answer if isinstance(answer, list) else [asked.reply(answer)]
