"""Options: what a driver is built with. The signature of its factory declares and checks them."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, TypeAlias, Union, get_args, get_origin

from pydantic import ValidationError

from cim_hal.errors import TargetError
from cim_hal.machine.capabilities import DriverOption
from cim_hal.toml_files import did_you_mean, first_problem

__all__ = ["Option", "OptionValue", "checked_options", "options_of", "shown_with"]

OptionValue: TypeAlias = str | int | float | bool

KINDS = ("str", "int", "float", "bool")
LARGEST = 2**63
SHOWN = 200  # characters of a text in a description


@dataclass(frozen=True, kw_only=True)
class Option:
    """What an option of a driver is, beside its type: ``Annotated[float, Option(unit="s")]``.

    Parameters
    ----------
    description : str
        A few words for people.
    unit : str
        Empty for a pure number.
    low, high : float, optional
        Range of a number, both ends included.

    Examples
    --------
    >>> from typing import Annotated
    >>> def make(host: str, port: Annotated[int, Option(low=1, high=65535)] = 5025) -> Driver: ...
    """

    description: str = ""
    unit: str = ""
    low: float | None = None
    high: float | None = None

    def __post_init__(self) -> None:
        try:
            DriverOption(name="option", kind="float", **vars(self))
        except ValidationError as error:
            raise ValueError(f"an Option: {first_problem(error)}") from None


def options_of(factory: Callable[..., Any]) -> dict[str, DriverOption]:
    """Return the options of a driver's factory: its parameters of type str, int, float or bool.

    The type may be ``Annotated`` with an `Option`, a ``Literal`` of texts, or have ``| None``;
    without one it is that of the default.
    """
    found = (_option(parameter) for parameter in _parameters(factory))
    return {option.name: option for option in found if option is not None}


def checked_options(
    target: str,
    factory: Callable[..., Any],
    options: Mapping[str, OptionValue],
    texts: Mapping[str, str],
) -> dict[str, OptionValue]:
    """Return the keyword arguments for a factory, whose signature says what is right.

    Values of `texts` are read as the type of their option says. `TargetError` for an option that
    the factory does not have, one that it needs, a wrong type, and a value out of range.
    """
    known = options_of(factory)
    for name in {**options, **texts}:
        if name not in known:
            says = did_you_mean(name, known) if known else "it takes none"
            if texts:  # of a command
                says += f"{'' if says[-1] == '?' else ';'} what a job may change goes to --setting"
            raise TargetError(f"the driver of {target!r} has no option {name!r}", hint=says)
    found = {name: _checked(target, known[name], value) for name, value in options.items()}
    found |= {name: _read(target, known[name], text) for name, text in texts.items()}
    for name, option in known.items():
        if option.is_required and name not in found:
            said = f": {option.description}" if option.description else ""
            raise TargetError(
                f"the driver of {target!r} needs the option {name}, {option.range}{said}",
                hint=f"write --option {name}=VALUE, or give it in [options] of a machine file",
            )
    return found


def _parameters(factory: Callable[..., Any]) -> list[inspect.Parameter]:
    try:
        signature = inspect.signature(factory, eval_str=True)
    except Exception:  # noqa: BLE001  an annotation may name what only type checkers import
        try:
            signature = inspect.signature(factory)
        except (TypeError, ValueError):  # of a factory in C
            return []
    named = inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY
    return [each for each in signature.parameters.values() if each.kind in named]


def _option(parameter: inspect.Parameter) -> DriverOption | None:
    default = parameter.default
    is_required = default is inspect.Parameter.empty
    annotation, says = parameter.annotation, Option()
    if annotation is inspect.Parameter.empty:
        annotation = type(default)
    if get_origin(annotation) is Annotated:
        annotation, *notes = get_args(annotation)
        says = next((note for note in notes if isinstance(note, Option)), says)
    parts = get_args(annotation) if get_origin(annotation) in {Union, UnionType} else [annotation]
    kinds = [part for part in parts if part is not NoneType]
    choices = get_args(kinds[0]) if kinds and get_origin(kinds[0]) is Literal else ()
    kind = _kind_of(str if choices else kinds[0]) if len(kinds) == 1 else None
    if kind is None or not all(isinstance(choice, str) for choice in choices):
        return None
    return DriverOption(
        name=parameter.name,
        kind=kind,
        default=None if is_required else _shown(default),
        is_required=is_required,
        choices=choices,
        **vars(says),
    )


def _kind_of(annotation: Any) -> Any:
    """Return the name of a type, which is a word where an annotation was not evaluated."""
    is_type = annotation in {str, int, float, bool} if isinstance(annotation, type) else False
    name = annotation.__name__ if is_type else annotation
    return name if name in KINDS else None


def _shown(value: Any) -> Any:
    """Return a value as a description holds it; None for what is no plain value."""
    if isinstance(value, str):
        return value[:SHOWN]
    return value if isinstance(value, int | float) and _is_bounded(value) else None


def _is_bounded(value: float) -> bool:
    return abs(value) < LARGEST if isinstance(value, int) else math.isfinite(value)


def shown_with(option: DriverOption, given: Mapping[str, OptionValue]) -> DriverOption:
    """Return an option with the value that a machine was built with."""
    return option.model_copy(update={"value": _shown(given.get(option.name, option.default))})


def _checked(target: str, option: DriverOption, value: Any) -> OptionValue:
    if option.kind == "float" and type(value) is int:
        value = float(value)
    if type(value).__name__ != option.kind:
        raise _wrong(target, option, value)
    if not _is_within(option, value):
        raise _wrong(target, option, value)
    return value


def _is_within(option: DriverOption, value: Any) -> bool:
    if option.kind in {"str", "bool"}:
        return not option.choices or value in option.choices
    low = -math.inf if option.low is None else option.low
    high = math.inf if option.high is None else option.high
    return _is_bounded(value) and low <= value <= high


def _read(target: str, option: DriverOption, text: str) -> OptionValue:
    """Return the value that a text stands for, as a command line gives it."""
    if option.kind == "str":
        return _checked(target, option, text)
    if option.kind == "bool":
        value: Any = {"true": True, "false": False}.get(text)
    else:
        try:
            value = (int if option.kind == "int" else float)(text)
        except ValueError:
            value = None
    return _checked(target, option, text if value is None else value)


def _wrong(target: str, option: DriverOption, value: Any) -> TargetError:
    return TargetError(
        f"the option {option.name} of {target!r} is {value!r:.100}",
        hint=f"it must be {option.range}",
    )
