"""The one reader of TOML files: what a file says is read whole, or the file is refused.

Every kind of file is a `FileTable`, which knows its keys, their types and ranges.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Collection
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError, ValidationInfo, model_validator

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

    from cim_hal.errors import CimError

__all__ = [
    "MAX_FILE_BYTES",
    "FileTable",
    "did_you_mean",
    "first_problem",
    "nearest",
    "one_line",
    "read_file",
]

MAX_FILE_BYTES = 1 << 20
MAX_KEY_PARTS = 100  # the time of the parser grows as their square
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
        return tomllib.loads(text)
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
    found = error.errors(include_url=False, include_context=False)
    infinite = {each["loc"][:-1] for each in found if _is_infinite_choice(each)}
    told = [each for each in found if each["loc"][:-1] not in infinite or _is_infinite_choice(each)]
    return [_problem(each) for each in told]


def _is_infinite_choice(found: ErrorDetails) -> bool:
    """Return whether one of several types takes numbers, and this one is not finite."""
    return found["type"] == "finite_number" and found["loc"][-1:] == ("float",)


def _problem(found: ErrorDetails) -> str:
    says = found["msg"].removeprefix("Value error, ").replace("tuple", "list")
    says = says.replace("Input should", "it should").replace("Field required", "it is missing")
    says = says.replace("Extra inputs are not permitted", "there is no such field")
    place = _place(found["loc"][:-1] if _is_infinite_choice(found) else found["loc"])
    value = found["input"]
    shown = f" = {value!r:.100}" if isinstance(value, str | int | float) else ""
    return f"{place}{shown}: {says}" if place else says


def _place(steps: tuple[int | str, ...]) -> str:
    """Return for example ``[[fault]] number 2: jobs[0]``."""
    match steps:
        case (str(name), int(table), *rest) if rest or name in {"fault", "client"}:
            return f"[[{name}]] number {table + 1}{': ' if rest else ''}{_place(tuple(rest))}"
        case _:
            parts = (f"[{step}]" if isinstance(step, int) else f".{step}" for step in steps)
            return "".join(parts).removeprefix(".")
