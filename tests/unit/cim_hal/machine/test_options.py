"""Options of drivers are read from signatures, and checked before a driver is made."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal, Optional

import pytest

from cim_hal import Option, TargetError
from cim_hal.machine.options import checked_options, options_of

if TYPE_CHECKING:
    from decimal import Decimal


class BenchCim:
    def __init__(
        self,
        host: str,
        port: Annotated[int, Option(low=1, high=65535, description="of the bench")] = 5025,
        *,
        timeout_s: Annotated[float | None, Option(unit="s", low=0.1, high=60.0)] = None,
        is_dry: bool = False,
        mode: Literal["slow", "fast"] = "slow",
        serial: Optional[str] = None,  # noqa: UP045  as older code has it
        gain=0.5,
        trap: Any = None,
        **others: Any,
    ) -> None: ...


def unresolved(host: str, port: int = 3, rate: Decimal | None = None) -> None: ...


def test_options_are_the_parameters_of_plain_types():
    known = {name: (option.kind, option.range) for name, option in options_of(BenchCim).items()}
    assert known == {
        "host": ("str", "a text"),
        "port": ("int", "a whole number from 1 to 65535"),
        "timeout_s": ("float", "a number from 0.1 to 60 s"),
        "is_dry": ("bool", "true or false"),
        "mode": ("str", "one of slow, fast"),
        "serial": ("str", "a text"),
        "gain": ("float", "a number"),
    }
    assert [name for name, option in options_of(BenchCim).items() if option.is_required] == ["host"]


def test_annotations_that_only_type_checkers_can_read_leave_the_others():
    assert {name: option.kind for name, option in options_of(unresolved).items()} == {
        "host": "str",
        "port": "int",
    }


def test_values_of_texts_are_read_as_the_type_says():
    texts = {"host": "12", "port": "80", "timeout_s": "1", "is_dry": "true", "gain": "1e-3"}
    found = checked_options("bench", BenchCim, {"host": "a", "mode": "fast"}, texts)
    assert found == {
        "host": "12",
        "mode": "fast",
        "port": 80,
        "timeout_s": 1.0,
        "is_dry": True,
        "gain": 0.001,
    }
    assert {name: type(value) for name, value in found.items()}["timeout_s"] is float


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"prot": 80}, r"no option 'prot' \(did you mean port\?\)"),
        ({"trap": "x"}, "no option 'trap'"),
        ({"others": "x"}, "no option 'others'"),
        ({"self": "x"}, "no option 'self'"),
        ({"port": "80"}, r"port of 'bench' is '80' \(it must be a whole number from 1 to 65535\)"),
        ({"port": 80.0}, "it must be a whole number"),
        ({"port": True}, "it must be a whole number"),
        ({"port": 0}, "it must be a whole number from 1"),
        ({"port": 10**400}, "it must be a whole number from 1"),
        ({"port": None}, "it must be a whole number from 1"),
        ({"timeout_s": float("nan")}, "it must be a number from 0.1 to 60 s"),
        ({"timeout_s": 61}, "it must be a number from 0.1 to 60 s"),
        ({"gain": float("inf")}, "it must be a number"),
        ({"is_dry": 1}, "it must be true or false"),
        ({"mode": "middle"}, "it must be one of slow, fast"),
        ({"serial": 123}, "it must be a text"),
        ({"serial": ["a"]}, "it must be a text"),
    ],
)
def test_a_wrong_option_says_what_would_be_right(options, says):
    with pytest.raises(TargetError, match=says):
        checked_options("bench", BenchCim, {"host": "a", **options}, {})


@pytest.mark.parametrize("text", ["", "x", "1.5", "nan", "0x10", "true", "0", "65536"])
def test_a_text_that_is_no_such_number_is_refused(text):
    with pytest.raises(TargetError, match="it must be a whole number from 1 to 65535"):
        checked_options("bench", BenchCim, {"host": "a"}, {"port": text})


def test_an_option_without_a_default_must_be_given():
    with pytest.raises(TargetError, match=r"needs the option host, a text.*--option host=VALUE"):
        checked_options("bench", BenchCim, {}, {"port": "80"})


def test_a_driver_without_options_says_so():
    with pytest.raises(TargetError, match=r"no option 'port' \(it takes none\)"):
        checked_options("bench", lambda: None, {"port": 3}, {})


def test_words_that_no_description_can_hold_are_refused_where_they_are_written():
    with pytest.raises(ValueError, match="an Option: unit = "):
        Option(unit="m" * 60)


def test_defaults_that_are_no_plain_values_are_not_shown():
    def make(a: float = float("inf"), b: int = 2**70, c: str = "x" * 300) -> None: ...

    shown = {name: option.default for name, option in options_of(make).items()}
    assert shown == {"a": None, "b": None, "c": "x" * 200}
