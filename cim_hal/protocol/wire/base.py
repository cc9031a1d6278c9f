"""What all messages have in common: strict, frozen, and the types of their fields."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["Detail", "Digest", "ErrorMessage", "Number", "Text", "Token", "Wire", "WireVersion"]

Token = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
Digest = Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")]
Text = Annotated[str, Field(max_length=1000)]
Number = Annotated[int, Field(ge=0, lt=2**63)]
Detail = str | int | float | bool | None
WireVersion = tuple[Annotated[int, Field(ge=0, le=255)], Annotated[int, Field(ge=0, le=255)]]


class Wire(BaseModel):
    """Base of all messages and their parts."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    # Least and most buffers that travel with the message.
    buffers: ClassVar[tuple[int, int]] = (0, 0)


class ErrorMessage(Wire):
    """An error: a code of the table in `faults`, a sentence, and fields a program can read."""

    t: Literal["error"] = "error"
    code: Annotated[str, Field(max_length=100)]
    message: Annotated[str, Field(max_length=2000)]
    hint: Annotated[str, Field(max_length=2000)] = ""
    details: Annotated[dict[str, Detail], Field(max_length=32)] = {}
