"""Kinds of options, and which of them were given."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Classes", "Samples", "Sizes", "given", "option", "refuse"]


class Classes(click.ParamType):
    """Class numbers, ``A,B`` or more of them, or ``all``."""

    name = "A,B|all"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, ...] | str:
        """Parse the text of the option."""
        if value == "all":
            return value
        try:
            return tuple(int(part) for part in value.split(","))
        except ValueError:
            self.fail(f"{value!r} is not class numbers such as 4,5, or all", param, ctx)


class Sizes(click.ParamType):
    """Neurons of hidden layers: one number, or several as in ``8,4``."""

    name = "N[,N...]"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> int | tuple[int, ...]:
        """Parse the text of the option."""
        parts: list[Any] = value.split(",") if isinstance(value, str) else [value]
        if len(parts) == 1:
            return click.IntRange(0, 1000).convert(parts[0], param, ctx)
        return tuple(click.IntRange(1, 1000).convert(part, param, ctx) for part in parts)


class Samples(click.ParamType):
    """A number of images, or ``all``."""

    name = "N|all"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> int | str:
        """Parse the text of the option."""
        if value == "all":
            return value
        return click.IntRange(2).convert(value, param, ctx)


def option(name: str, kind: Any, default: Any, text: str) -> Any:
    """Make an option that shows its default."""
    return click.option(name, type=kind, default=default, show_default=True, help=text)


def given(context: click.Context, names: Iterable[str]) -> dict[str, Any]:
    """Return the options among `names` that were given, not taken by default."""
    default = click.core.ParameterSource.DEFAULT
    return {
        name: context.params[name]
        for name in names
        if name in context.params and context.get_parameter_source(name) != default
    }


def refuse(context: click.Context, names: Iterable[str], why: str) -> None:
    """Refuse options that mean nothing here."""
    for name in given(context, names):
        raise click.UsageError(f"--{name.replace('_', '-')} {why}")
