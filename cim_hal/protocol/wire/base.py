"""What all messages have in common: strict, frozen, and the types of their fields."""

from __future__ import annotations

from functools import reduce
from operator import or_
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from cim_hal.errors import PermissionDeniedError
from cim_hal.model.record import ONE_LINE
from cim_hal.protocol.wire.roles import Role, User

__all__ = [
    "DIGEST",
    "TOKEN",
    "Detail",
    "Digest",
    "ErrorMessage",
    "Line",
    "Message",
    "Number",
    "Reply",
    "Request",
    "Text",
    "Token",
    "Wire",
    "WireVersion",
    "denied",
    "one_of",
]

TOKEN, DIGEST = r"^[0-9a-f]{32}$", r"^sha256:[0-9a-f]{64}$"
Token = Annotated[str, Field(pattern=TOKEN)]
Digest = Annotated[str, Field(pattern=DIGEST)]
Text = Annotated[str, Field(max_length=1000)]
Line = Annotated[str, Field(max_length=1000, pattern=ONE_LINE)]  # what a user says of himself
Number = Annotated[int, Field(ge=0, lt=2**63)]
Detail = str | int | float | bool | None
WireVersion = tuple[Annotated[int, Field(ge=0, le=255)], Annotated[int, Field(ge=0, le=255)]]


class Wire(BaseModel):
    """Base of all messages and their parts."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Message(Wire):
    """Base of all messages: `t`, a literal string in each, tells them apart."""

    t: Any
    # Least and most buffers that travel with the message.
    buffers: ClassVar[tuple[int, int]] = (0, 0)


class Request(Message):
    """Base of what clients send to a server.

    `role` is the lowest that may send it, and `of_others` the lowest that may send it about what
    belongs to another user; without it nobody may. A request for `safety` needs nothing that can
    be used up: no session, no rate, no lock.
    """

    role: ClassVar[Role]
    of_others: ClassVar[Role]
    safety: ClassVar[bool]

    def __init_subclass__(
        cls, *, role: Role, of_others: Role | None = None, safety: bool = False, **more: Any
    ) -> None:
        super().__init_subclass__(**more)
        cls.role = role
        cls.safety = safety
        if of_others is not None:
            cls.of_others = of_others

    def check(self, user: User) -> None:
        """Refuse the request of a user whose role is too low."""
        if user.role < self.role:
            raise denied(user, self.t, self.t, self.role)


class Reply(Message):
    """Base of what a server answers."""


class ErrorMessage(Reply):
    """An error: a code of the table in `errors`, a sentence, and fields a program can read."""

    t: Literal["error"] = "error"
    code: Annotated[str, Field(max_length=100)]
    message: Annotated[str, Field(max_length=2000)]
    hint: Annotated[str, Field(max_length=2000)] = ""
    details: Annotated[dict[str, Detail], Field(max_length=32)] = {}


def one_of(*messages: type[Message]) -> TypeAdapter[Any]:
    """Return what validates one of several messages, told apart by `t`."""
    either: Any = Annotated
    return TypeAdapter(either[reduce(or_, messages), Field(discriminator="t")])


def denied(
    user: User, to_do: str, what: str, needed: Role, hint: str = ""
) -> PermissionDeniedError:
    """Return the error of a user whose role is not the `needed` one.

    `to_do` begins the sentence; `what` is the type of the message.
    """
    return PermissionDeniedError(
        f"{to_do} needs the role {needed.label}, and {user.name} is {user.role.label}",
        hint=hint or "ask those who run the machine for another role",
        what=what,
        required=needed.label,
        role=user.role.label,
    )
