"""What a server takes: limits from a file and from options."""

from __future__ import annotations

import tomllib
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, TypeVar

import click
from pydantic import ValidationError

from cim_hal.cli.common import FILE
from cim_hal.protocol.wire.limits import Limits

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

__all__ = ["limit_options", "read_limits"]

Command = TypeVar("Command", bound="Callable[..., Any]")


def limit_options(command: Command) -> Command:
    """Add ``--limits`` and ``--limit``."""
    command = click.option(
        "--limit",
        "limits",
        multiple=True,
        metavar="NAME=VALUE",
        help="Set one limit, such as lease_s=60; goes before the file.",
    )(command)
    return click.option(
        "--limits",
        "limits_path",
        type=FILE,
        metavar="FILE.toml",
        help="Sizes, numbers and times to keep to, NAME = VALUE a line.",
    )(command)


def read_limits(path: Path | None, assignments: Iterable[str], **defaults: float) -> Limits:
    """Return the limits of a file and of assignments such as ``lease_s=60``.

    What neither names is as `defaults` say, if they do.

    Raises
    ------
    click.BadParameter
        The file cannot be read; there is no limit of that name, or it cannot have that value.
    """
    fields = defaults | ({} if path is None else _read(path))
    source = f"{path}: " if path else ""
    for assignment in assignments:
        name, equals, value = assignment.partition("=")
        if not equals:
            raise click.BadParameter(f"{assignment!r} is not NAME=VALUE")
        fields[name.strip()] = _number(name, value)
        source = ""
    return _checked(fields, source)


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise click.BadParameter(f"{path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise click.BadParameter(f"{path} is not TOML: {error}") from None


def _number(name: str, text: str) -> float:
    try:
        return int(text)
    except ValueError:
        pass
    try:
        return float(text)
    except ValueError:
        raise click.BadParameter(f"{name} = {text!r} is not a number") from None


def _checked(fields: Mapping[str, Any], source: str) -> Limits:
    for name in fields:
        if name not in Limits.model_fields:
            near = get_close_matches(name, Limits.model_fields, n=1)
            hint = f"; did you mean {near[0]}?" if near else f": {', '.join(Limits.model_fields)}"
            raise click.BadParameter(f"{source}there is no limit {name!r}{hint}")
    try:
        return Limits(**fields)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise click.BadParameter(f"{source}{where} = {first['input']}: {first['msg']}") from None
