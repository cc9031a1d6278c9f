"""Tables written from what the code declares: options of dynamics, capabilities, public names.

    python docs/option_tables.py    write docs/reference/options.md, the table of Capabilities in
                                    docs/how-to/write-a-driver.md, and what stands behind each name
                                    in docs/reference/api.md: the first line of its docstring

`tests/unit/emulator/test_options.py` and `tests/architecture/test_pages.py` compare.
"""

from __future__ import annotations

import inspect
import itertools
import re
from dataclasses import MISSING, fields
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import emulator
from cim_hal import Capabilities
from emulator.options import options_of, properties_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from emulator.options import Option

PAGE = Path(__file__).parent / "reference/options.md"
DRIVER_PAGE = Path(__file__).parent / "how-to/write-a-driver.md"
API_PAGE = Path(__file__).parent / "reference/api.md"
NAMES = re.compile(r"(?:^   [a-z_]+\.[\w.]+(?:  .*)?\n)+", re.MULTILINE)  # a block of them
ATTRIBUTE = re.compile(r"^(\w+) : (.+)\n((?: {4}.+\n?)+)", re.MULTILINE)
HEAD = """# Options of the dynamics

What a machine is built with, in the order of its settings. A job may change the options that have a range in the column *a job may set*: it says where a search is
worth its time, and `cim-hal describe` lists it. Valid values are wider. A unit of 1 is a pure number: rates are in loss rates of the cavity's field, amplitudes in those of a
lone oscillator at twice threshold. The equations are in [](../explanation/dynamics.md); this page is written by `python docs/option_tables.py`.
"""
FIELD_COLUMNS = ("field", "type", "valid", "default", "what it says")
COLUMNS = ("option", "default", "valid", "a job may set", "unit", "what it is")


def page() -> str:
    """Return the whole page."""
    kinds = (getattr(emulator, name) for name in emulator.__all__)
    dynamics = [
        kind for kind in kinds if inspect.isclass(kind) and issubclass(kind, emulator.Dynamics)
    ]
    tables = [_table(kind) for kind in dynamics if kind is not emulator.Dynamics]
    return "\n".join([HEAD, *tables])


def _table(kind: type[Any]) -> str:
    return "\n".join([f"## {kind.__name__}", "", _table_of(COLUMNS, _rows(kind)), ""])


def _table_of(columns: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = itertools.chain([columns, ("---",) * len(columns)], rows)
    return "\n".join("| " + " | ".join(row) + " |" for row in lines)


def _rows(kind: type[Any]) -> Iterator[tuple[str, ...]]:
    defaults = {f.name: f.default for f in fields(kind)}
    for name, option in options_of(kind).items():
        yield _row(name, defaults[name], option)
        for part, inner in option.parts.items():
            yield _row(f"{name}.{part}", getattr(defaults[name], part), inner)


def _row(name: str, default: Any, option: Option) -> tuple[str, ...]:
    cells = _default(default), _valid(option), _range(option), option.unit, _text(option)
    return f"`{name}`", *cells


def _default(value: Any) -> str:
    if value is MISSING:
        return "none: it must be given"
    if isinstance(value, float | int | str | tuple | None):
        return f"`{value!r}`"
    differing = properties_of(value)
    given = ", ".join(f"{k}={v!r}" for k, v in differing.items() if k in {"full_scale", "bits"})
    return f"`{type(value).__name__}({given})`"


def _valid(option: Option) -> str:
    if option.within is None:
        return ""
    if isinstance(option.within, tuple):
        return ", ".join(f'`"{choice}"`' for choice in option.within)
    return str(option.within) + (" or None" if option.is_optional else "")


def _range(option: Option) -> str:
    if not option.is_setting:
        return ""
    scale = ", logarithmic" if option.log else ""
    off = "" if option.none is None else f"; {option.none:g} for None"
    return f"{option.low:g} to {option.high:g}{scale}{off}"


def _text(option: Option) -> str:
    symbol = f"${option.symbol}$. " if option.symbol else ""
    text = symbol + option.doc.replace("\n", " ")
    return re.sub(r":math:`([^`]*)`", r"$\1$", text).replace("|", "\\|")


def driver_page() -> str:
    """Return the page about drivers with the present table of the fields of `Capabilities`."""
    before, found, rest = DRIVER_PAGE.read_text().partition("| " + " | ".join(FIELD_COLUMNS))
    if not found:
        raise ValueError(f"{DRIVER_PAGE} has no table of capabilities")
    return before + _table_of(FIELD_COLUMNS, _fields()) + rest[rest.index("\n\n") :]


def _fields() -> Iterator[tuple[str, ...]]:
    schema = Capabilities.model_json_schema()["properties"]
    for name, kind, text in ATTRIBUTE.findall(inspect.getdoc(Capabilities) or ""):
        field = Capabilities.model_fields[name]
        default = "it must be given" if field.is_required() else f"`{field.default!r}`"
        what = re.sub(r"`+", "`", " ".join(text.split()))
        yield f"`{name}`", kind, _bounds(schema[name]), default, what


def _bounds(schema: dict[str, Any]) -> str:
    """Return the range that a JSON schema gives a number, if it does."""
    known = schema | next(iter(schema.get("anyOf", [])), {})
    match known:
        case {"minimum": low, "maximum": high}:
            return f"{low:,} to {high:,}"
        case {"minimum": low}:
            return f"{low:,} or more"
        case {"exclusiveMinimum": low}:
            return f"more than {low:g}"
        case _:
            return ""


def api_page() -> str:
    """Return the page of public names with what each is, for those who read its source.

    Sphinx reads the first word of a line, and takes the rest from the docstring itself.
    """
    return NAMES.sub(_described, API_PAGE.read_text(encoding="utf-8"))


def _described(block: re.Match[str]) -> str:
    names = [line.split()[0] for line in block[0].splitlines()]
    width = max(map(len, names))
    return "".join(f"   {name:{width}}  {_first_line(name)}".rstrip() + "\n" for name in names)


def _first_line(name: str) -> str:
    """Return the first line of a docstring; a value has none of its own."""
    module, _, word = name.rpartition(".")
    named = getattr(import_module(module), word)
    own = str(getattr(named, "__module__", "")).partition(".")[0] == module.partition(".")[0]
    return (inspect.getdoc(named) or "").partition("\n")[0] if own else ""


if __name__ == "__main__":
    PAGE.write_text(page())
    DRIVER_PAGE.write_text(driver_page())
    API_PAGE.write_text(api_page(), encoding="utf-8")
