from __future__ import annotations

from typing import Literal

import pytest
from pydantic import TypeAdapter, ValidationError

from cim_hal.protocol.wire.base import Digest, Message, Number, Request, Token, denied, one_of
from cim_hal.protocol.wire.roles import Role, User


class Left(Message):
    t: Literal["left"] = "left"
    steps: Number = 0


class Right(Message):
    t: Literal["right"] = "right"


class Reset(Request, role=Role.OPERATOR):
    t: Literal["reset"] = "reset"


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        (Token, "0123456789abcdef" * 2, ["", "0" * 31, "0" * 33, "A" * 32, "0" * 32 + "\n"]),
        (Digest, "sha256:" + "a" * 64, ["a" * 64, "sha256:" + "a" * 63, "sha1:" + "a" * 64]),
        (Number, 2**63 - 1, [2**63, -1]),
    ],
)
def test_fields_are_what_they_say_to_the_last_character(kind, good, bad):
    adapter = TypeAdapter(kind)
    assert adapter.validate_python(good) == good
    for value in bad:
        with pytest.raises(ValidationError):
            adapter.validate_python(value)


def test_messages_are_told_apart_by_their_first_field():
    either = one_of(Left, Right)
    assert either.validate_python({"t": "left", "steps": 2}) == Left(steps=2)
    assert either.validate_python({"t": "right"}) == Right()
    with pytest.raises(ValidationError, match="'left', 'right'"):
        either.validate_python({"t": "up"})


@pytest.mark.parametrize("fields", [{"pace": 1}, {"steps": "2"}, {"steps": 2.0}])
def test_unknown_fields_and_other_types_are_refused(fields):
    with pytest.raises(ValidationError):
        Left.model_validate(fields)


def test_messages_are_frozen():
    with pytest.raises(ValidationError, match="frozen"):
        Left().steps = 3


def test_a_role_that_is_too_low_is_named_with_the_one_it_takes():
    Reset().check(User("olga", Role.OPERATOR))
    error = denied(User("ulf", Role.USER), "to reset", "reset", Role.OPERATOR)
    assert error.message == "to reset needs the role operator, and ulf is user"
    assert error.details == {"what": "reset", "required": "operator", "role": "user"}
