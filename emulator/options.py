"""Options of a dynamics: each is declared once, by `option`, and all else follows from it.

Range checks, the settings that a job may change, the properties a machine reports, the docstring
and the tables of the documentation are read from the metadata of the dataclass fields.
"""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, dataclass, field, fields, is_dataclass, replace
from functools import reduce
from typing import Any, TypeAlias, TypeVar

from cim_hal import Setting

__all__ = [
    "FINITE",
    "NON_NEGATIVE",
    "POSITIVE",
    "POSITIVE_OR_INFINITE",
    "POSITIVE_SHARE",
    "SHARE",
    "Interval",
    "Option",
    "Property",
    "check_options",
    "documented",
    "option",
    "options_of",
    "out_of_range",
    "properties_of",
    "setting_options",
    "settings_of",
    "units_of",
    "with_settings",
]

Property: TypeAlias = float | int | bool | str | None
Options = TypeVar("Options")
Class = TypeVar("Class", bound=type)

LONGEST_TEXT = 200


@dataclass(frozen=True)
class Interval:
    """Numbers between two ends; ``value in interval`` is false for NaN."""

    low: float
    high: float
    includes_low: bool = True
    includes_high: bool = True

    def __contains__(self, value: float) -> bool:
        is_above = self.low <= value if self.includes_low else self.low < value
        is_below = value <= self.high if self.includes_high else value < self.high
        return is_above and is_below

    def __str__(self) -> str:
        brackets = "[" if self.includes_low else "(", "]" if self.includes_high else ")"
        return f"{brackets[0]}{self.low:g}, {self.high:g}{brackets[1]}"


FINITE = Interval(-math.inf, math.inf, includes_low=False, includes_high=False)
POSITIVE = Interval(0, math.inf, includes_low=False, includes_high=False)
POSITIVE_OR_INFINITE = Interval(0, math.inf, includes_low=False)
NON_NEGATIVE = Interval(0, math.inf, includes_high=False)
SHARE = Interval(0, 1)
POSITIVE_SHARE = Interval(0, 1, includes_low=False)


@dataclass(frozen=True, kw_only=True)
class Option:
    """What an option declares of itself.

    Parameters
    ----------
    doc : str
        What it is. The first line is the description of the setting.
    symbol : str
        How the equation writes it, in LaTeX.
    within : Interval or tuple of str
        Valid numbers, or the choices. Of a tuple, each number must be valid.
    low, high : float
        The range a search is worth its time in; given where a job may set the option.
    unit : str
        ``1`` for a pure number.
    log : bool
        Whether a search is better made in the logarithm.
    integer, is_optional : bool
        Whether it is an integer, and whether it may be None: read from the default.
    none : float, optional
        The number by which a job asks for None.
    is_searched : bool
        Whether a search may try values: not of what is wrong with a machine.
    parts : mapping of str to Option
        Settings among the fields of an option that is itself a dataclass.
    """

    doc: str
    symbol: str = ""
    within: Interval | tuple[str, ...] | None = None
    low: float | None = None
    high: float | None = None
    unit: str = "1"
    log: bool = False
    integer: bool = False
    is_optional: bool = False
    none: float | None = None
    is_searched: bool = True
    parts: Mapping[str, Option] = field(default_factory=dict)

    @property
    def is_setting(self) -> bool:
        """Whether a job may change it."""
        return self.low is not None

    def accepts(self, value: Any) -> bool:
        """Whether a value, or each value of a tuple, is in range."""
        if self.within is None or (value is None and self.is_optional):
            return True
        values = value if isinstance(value, tuple) else (value,)
        return all(item is not None and item in self.within for item in values)


def option(default: Any = MISSING, **declared: Any) -> Any:
    """Return a dataclass field that declares an `Option`.

    A default of None makes None a valid value; an option without a default must be given.
    """
    is_integer = isinstance(default, int) and not isinstance(default, bool)
    known: dict[str, Any] = {"integer": is_integer, "is_optional": default is None}
    metadata = Option(**known | declared)
    return field(default=default, metadata={"option": metadata})


def options_of(kind: Any) -> dict[str, Option]:
    """Return the options that a dataclass, or an instance of it, declares."""
    return {f.name: f.metadata["option"] for f in fields(kind) if "option" in f.metadata}


def setting_options(kind: Any) -> dict[str, Option]:
    """Return the options that a job may set, by dotted name."""
    found: dict[str, Option] = {}
    for name, declared in options_of(kind).items():
        found |= {name: declared} if declared.is_setting else {}
        found |= {f"{name}.{part}": inner for part, inner in declared.parts.items()}
    return found


def out_of_range(options: Any, name: str) -> ValueError:
    """Return the error that names an option and its value."""
    return ValueError(f"{name} = {getattr(options, name)} is out of range")


def check_options(options: Any) -> None:
    """Refuse the first option that is out of its range.

    Raises
    ------
    ValueError
        There is one.
    """
    for name, declared in options_of(options).items():
        if not declared.accepts(getattr(options, name)):
            raise out_of_range(options, name)


def settings_of(options: Any) -> tuple[Setting, ...]:
    """Return the settings of a machine, with the values in `options` as defaults.

    An option that is switched off (infinite, or None without a number for it) is no setting of
    this machine, nor is one that its other options do not allow to change.
    """
    declarations: dict[str, Any] = setting_options(options)
    found = (
        (path, declared, _number(_get(options, path), declared))
        for path, declared in declarations.items()
    )
    return tuple(
        Setting(
            name=path,
            unit=declared.unit,
            description=_MATHS.sub(r"\1", declared.doc.partition("\n")[0]),
            default=value,
            low=min(declared.low, value),
            high=max(declared.high, value),
            log=declared.log and value > 0,
            integer=declared.integer,
            searched=declared.is_searched,
        )
        for path, declared, value in found
        if value is not None and math.isfinite(value) and _can_be_set(options, path, declared)
    )


def with_settings(
    options: Options,
    settings: Mapping[str, float],
    declared: Mapping[str, Option] | None = None,
) -> Options:
    """Return `options` with the values of a job for settings of `settings_of`, all at once.

    `declared` are their options, where these are not metadata of the fields.
    """
    if not settings:
        return options
    known = options_of(options) if declared is None else declared
    changes: dict[str, Any] = {}
    inner: dict[str, dict[str, float]] = {}
    for path, value in settings.items():
        name, _, rest = path.partition(".")
        if rest:
            inner.setdefault(name, {})[rest] = value
        else:
            changes[name] = _given(value, known[name])
    for name, values in inner.items():
        changes[name] = with_settings(getattr(options, name), values, known[name].parts)
    return replace(options, **changes)  # pyright: ignore[reportArgumentType]


def _given(value: float, declared: Option) -> float | None:
    """Return the value that a job means by a number."""
    if value == declared.none:
        return None
    return int(value) if declared.integer else value


def properties_of(options: Any) -> dict[str, Property]:
    """Return all options by dotted name, and the class as ``model``.

    An infinite value is None, a tuple is one text with commas, and a part is its class, followed
    by its options. `units_of` has their units.

    Examples
    --------
    >>> from emulator import MeasurementFeedback
    >>> properties_of(MeasurementFeedback())["adc.bits"]
    8
    """
    return {"model": type(options).__name__, **dict(_properties("", options))}


def units_of(options: Any) -> dict[str, str]:
    """Return the unit of each property that may be a number, ``1`` for a pure one.

    Examples
    --------
    >>> from emulator import MeasurementFeedback
    >>> units_of(MeasurementFeedback())["adc.bits"]
    'bits'
    """
    return dict(_units("", options, options_of(options)))


def documented(kind: Class) -> Class:
    """Write the options of a dataclass into its docstring, and that their ranges are checked.

    The section Parameters goes before Raises, which is written where the docstring has none.
    """
    text = inspect.cleandoc(kind.__doc__ or "")
    if "\nRaises\n------\n" not in text:
        end = _LATER_SECTION.search(text)
        at = end.start() if end else len(text)
        text = f"{text[:at].rstrip()}\n\n{_RAISES}\n{text[at:]}".rstrip()
    head, raises, tail = text.partition("\nRaises\n------")
    entries = "\n".join(_entry(f) for f in fields(kind) if "option" in f.metadata)
    kind.__doc__ = f"{head}\nParameters\n----------\n{entries}\n{raises}{tail}\n"
    return kind


# of a docstring, which a terminal does not set: the letter alone
_MATHS = re.compile(r":math:`\\?([^`]*)`")
_LATER_SECTION = re.compile(r"^(Notes|References|Examples)\n-", re.MULTILINE)
_RAISES = """Raises
------
ValueError
    A parameter out of its range.
"""


def _entry(f: Any) -> str:
    declared: Option = f.metadata["option"]
    symbol = f":math:`{declared.symbol}`. " if declared.symbol else ""
    text = (symbol + declared.doc).replace("\n", "\n    ")
    return f"{f.name} : {_kind(f, declared)}\n    {text}"


def _kind(f: Any, declared: Option) -> str:
    if isinstance(declared.within, tuple):
        return "{" + ", ".join(f'"{choice}"' for choice in declared.within) + "}"
    if isinstance(f.default, tuple):
        return "tuple of int" if "int" in str(f.type) else "tuple of float"
    return re.sub(r"\[.*\]", "", str(f.type)).replace(" | ", " or ")


def _can_be_set(options: Any, path: str, declared: Any) -> bool:
    try:
        for end in (declared.low, declared.high):
            with_settings(options, {path: end})
    except ValueError:
        return False
    return True


def _number(value: float | None, declared: Option) -> float | None:
    return declared.none if value is None else value


def _get(options: Any, path: str) -> float | None:
    return reduce(getattr, path.split("."), options)


def _properties(prefix: str, options: Any) -> Iterator[tuple[str, Property]]:
    for f in fields(options):
        name, value = f"{prefix}{f.name}", getattr(options, f.name)
        yield name, _plain(value)
        if is_dataclass(value):
            yield from _properties(f"{name}.", value)


def _units(prefix: str, options: Any, declared: Mapping[str, Option]) -> Iterator[tuple[str, str]]:
    for f in fields(options):
        name, value = f"{prefix}{f.name}", getattr(options, f.name)
        if is_dataclass(value):
            parts = declared[f.name].parts or options_of(value)
            yield from _units(f"{name}.", value, parts)
        elif not isinstance(value, str | tuple):
            yield name, declared[f.name].unit if f.name in declared else "1"


def _plain(value: Any) -> Property:
    match value:
        case float():
            return value if math.isfinite(value) else None
        case None | bool() | int():
            return value
        case str():
            text = value
        case tuple():
            text = ", ".join(str(_plain(item)) for item in value)
        case _:
            text = type(value).__name__
    return text if len(text) <= LONGEST_TEXT else text[: LONGEST_TEXT - 1] + "…"
