"""The one reader of TOML files: what a file says is read whole, or the file is refused.

Every kind of file is a `FileTable`, which knows its keys, their types and ranges.
"""

from __future__ import annotations

import itertools
import re
import tomllib
from collections.abc import Collection, Iterator
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    ValidationError,
    ValidationInfo,
    model_validator,
)

from cim_hal.text import counted

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

    from cim_hal.errors import CimError

__all__ = [
    "MAX_FILE_BYTES",
    "Dotted",
    "FileTable",
    "did_you_mean",
    "first_problem",
    "flat_table",
    "nearest",
    "one_line",
    "read_file",
]

MAX_FILE_BYTES = 1 << 20
MAX_DEPTH = 20
MAX_KEY_PARTS = 100  # the time of the parser grows as their square
TAG = re.compile(r"(bool|int|float|str|constrained-\w+)$|(list|tuple|dict|function-\w+)[\[(]")
FORMS = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "string_type": "a text",
    "bool_type": "true or false",
    "list_type": "a list",
    "tuple_type": "a list",
    "dict_type": "a table",
    "model_type": "a table",
    "dataclass_type": "a table",
}
QUOTED = re.compile(r""" "(?:\\.|[^"\\])*" | '[^']*' """, re.VERBOSE)

Table = TypeVar("Table", bound=BaseModel)


def did_you_mean(name: str, known: Collection[str]) -> str:
    """Return what to say after an unknown name: the nearest one, or all there are."""
    found = nearest(name, known)
    return f"did you mean {found}?" if found else f"known: {', '.join(known)}"


def nearest(name: str, known: Collection[str]) -> str | None:
    """Return the known name that was meant: that which begins so, or the most similar one."""
    longer = [each for each in known if name and each.startswith(name)]
    return longer[0] if len(longer) == 1 else next(iter(get_close_matches(name, known, n=1)), None)


def flat_table(table: Any) -> Any:
    """Return the values of a table by name; an unquoted ``adc.bits = 8`` is a table in a table."""
    if not isinstance(table, dict):
        return table
    found: dict[str, Any] = {}
    for name, value in _leaves(table):
        if name in found:
            raise ValueError(f"{name} is there twice, quoted and not")
        found[name] = value
    return found


Dotted = BeforeValidator(flat_table)


def _leaves(table: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    left = [iter(table.items())]
    while left:
        for name, value in left[-1]:
            if isinstance(value, dict) and value:
                if len(left) > MAX_DEPTH:
                    raise ValueError("tables are nested too deep")
                left.append(iter([(f"{name}.{key}", below) for key, below in value.items()]))
                break
            yield name, value
        else:
            left.pop()


def _check_whole_numbers(table: dict[str, Any]) -> None:
    """Refuse whole numbers that TOML does not have; Python reads them all."""
    left: list[tuple[str, Any]] = [("", table)]
    while left:
        place, value = left.pop()
        if isinstance(value, dict):
            left += [(f"{place}.{name}", below) for name, below in value.items()]
        elif isinstance(value, list):
            left += [(f"{place}[{number}]", below) for number, below in enumerate(value)]
        elif isinstance(value, int) and not -(2**63) <= value < 2**63:
            raise ValueError(f"{place[1:]}: a whole number has at most 64 bits")


class FileTable(BaseModel):
    """A table of a file: no unknown keys, no other types than those declared, finite numbers."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _has_no_other_keys(cls, table: Any, info: ValidationInfo) -> Any:
        names = [str(field.validation_alias or name) for name, field in cls.model_fields.items()]
        if not isinstance(table, dict):
            return table
        known = {*names, *cls.model_fields}  # Python code may use the names of the fields
        for key in table if info.mode == "python" else ():
            if key not in known:
                raise ValueError(f"there is no key {key!r}; {did_you_mean(str(key), names)}")
        return table


def read_file(
    file: Path,
    kind: type[Table],
    what: str,
    error: type[CimError],
    hint: str = "",
    *,
    title: str = "",
    max_bytes: int = MAX_FILE_BYTES,
) -> Table:
    """Read a TOML file that holds `what`, a noun for messages; `title` stands before its path.

    Raises an `error` if the file is missing, too large, not TOML, or not of its kind; the message
    says where it is wrong, and what would be right.
    """
    try:
        return kind.model_validate(_read(file, what, error, hint, title, max_bytes))
    except ValidationError as cause:
        raise error(f"{file}: {first_problem(cause)}") from None


def _read(  # noqa: PLR0917  as above
    file: Path, what: str, error: type[CimError], hint: str, title: str, max_bytes: int
) -> dict[str, Any]:
    try:
        if file.exists() and not file.is_file():
            raise error(f"{file} is not a file", hint=f"pass a TOML file with {what}")
        with file.open("rb") as stream:
            data = stream.read(max_bytes + 1)
        if len(data) > max_bytes:
            raise error(f"{file} is too large for {what}", hint=f"at most {max_bytes} bytes")
        text = data.decode("utf-8")
        _check_keys(text)
        found = tomllib.loads(text)
        _check_whole_numbers(found)
        return found
    except OSError as cause:
        name = f"{title} {file}".lstrip()
        raise error(f"cannot read {name}: {cause.strerror}", hint=hint) from None
    except (ValueError, RecursionError) as cause:
        raise error(f"{file} is not TOML: {cause}", hint=f"it must hold {what}") from None


def _check_keys(text: str) -> None:
    """Refuse a key of so many parts that the parser would not end."""
    keys = (QUOTED.sub("", line).partition("=")[0] for line in text.splitlines())
    if any(key.count(".") > MAX_KEY_PARTS for key in keys):
        raise ValueError(f"a key has more than {MAX_KEY_PARTS} parts")


def first_problem(error: ValidationError) -> str:
    """Return where a table is wrong first, and how: ``schedule.pump: Input should be …``."""
    return _problems(error)[0]


def one_line(error: BaseException) -> str:
    """Return the sentence of an exception; of pydantic, each thing that is wrong with the value."""
    if not isinstance(error, ValidationError):
        return str(error)
    return f"{error.title}: {'; '.join(_problems(error))}"


def _problems(error: ValidationError) -> list[str]:
    found = error.errors(include_url=False)
    groups = itertools.groupby(found, key=lambda each: each["loc"][: _depth_of_choice(each)])
    return [problem for place, each in groups for problem in _at(place, list(each))]


def _depth_of_choice(found: ErrorDetails) -> int:
    """Return how many steps lead to the value, without those into one of several types for it."""
    steps = found["loc"]
    tags = [k for k, step in enumerate(steps) if k and isinstance(step, str) and TAG.match(step)]
    return tags[-1] if tags else len(steps)


def _at(place: tuple[int | str, ...], found: list[ErrorDetails]) -> list[str]:
    """Return what is wrong at a place; of several types for it, with that which was meant."""
    if len(found) == 1 or all(each["loc"] == place for each in found):
        return [_problem(each["loc"], each) for each in found]
    meant = [each for each in found if len(each["loc"]) > len(place) + 1 or _form(each) is None]
    if meant:
        return [_problem(place + each["loc"][len(place) + 1 :], each) for each in meant]
    forms = list(dict.fromkeys(filter(None, map(_form, found))))
    if "a number" in forms and "a whole number" in forms:
        forms.remove("a whole number")
    return [_problem(place, found[0], f"it should be {_or(forms)}")]


def _or(forms: list[str]) -> str:
    *first, last = forms
    return f"{', '.join(first)} or {last}" if first else last


def _form(found: ErrorDetails) -> str | None:
    """Return which form a value should have, None where its form is right."""
    return FORMS.get(found["type"])


def _problem(place: tuple[int | str, ...], found: ErrorDetails, says: str = "") -> str:
    value, where, says = found["input"], _place(place), says or _says(found)
    shown = f" = {value!r:.100}" if isinstance(value, str | int | float | list) else ""
    return f"{where}{shown}: {says}" if where else says


def _says(found: ErrorDetails) -> str:
    """Return what is wrong, in words of files and not of Python."""
    known = found.get("ctx", {})
    if form := _form(found):
        return f"it should be {form}"
    match found["type"]:
        case "missing":
            return "it is missing"
        case "extra_forbidden":
            return "there is no such field"
        case "too_short":
            return f"it should have at least {counted(known['min_length'], 'entry')}"
        case "too_long":
            return f"it should have at most {counted(known['max_length'], 'entry')}"
        case _:
            says = found["msg"].removeprefix("Value error, ")
            return re.sub(r"^(Input|String|List|Dictionary) should", "it should", says)


def _place(steps: tuple[int | str, ...]) -> str:
    """Return for example ``[[fault]] number 2: jobs[0]``."""
    match steps:
        case (str(name), int(table), *rest) if rest or name in {"fault", "client"}:
            return f"[[{name}]] number {table + 1}{': ' if rest else ''}{_place(tuple(rest))}"
        case _:
            parts = (f"[{step}]" if isinstance(step, int) else f".{step}" for step in steps)
            return "".join(parts).removeprefix(".")
