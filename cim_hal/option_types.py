"""Types of the options of commands: whatever is wrong is refused before a command begins.

Numbers are finite and have both bounds. A file or folder to be written is tried out: what cannot be
written is said before the work whose result it is for.
"""

from __future__ import annotations

import math
import os
import stat
from pathlib import Path
from typing import Any

import click

from cim_hal.addresses import check_address, check_endpoint_form, check_host
from cim_hal.atomic_files import temporary
from cim_hal.errors import ModelError, TargetError

__all__ = [
    "CONNECT",
    "COUNT",
    "FILE",
    "LISTEN",
    "MAX_COUNT",
    "MAX_SECONDS",
    "MODEL_FILE",
    "POSITIVE_SECONDS",
    "SECONDS",
    "SEED",
    "Address",
    "Endpoint",
    "Lowering",
    "OutputFile",
    "OutputFolder",
    "Real",
    "Target",
    "driver_option",
    "real",
]

MAX_COUNT = 10**9
MAX_SECONDS = (
    365 * 86_400.0
)  # more than any wait; the operating system takes no more than 292 years


class Real(click.FloatRange):
    """A finite number within bounds; `click.FloatRange` lets NaN through."""

    def __init__(self, low: float, high: float, *, above: bool = False, below: bool = False):
        super().__init__(low, high, min_open=above, max_open=below)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the number."""
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value} is not in the range {self._describe_range()}.", param, ctx)
        return number


def real(text: str, what: str, option: str | None = None) -> float:
    """Return a finite number that is a part of a value, or raise a `click.BadParameter`."""
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise click.BadParameter(f"{text!r} is not {what}", param_hint=option)
    return number


SECONDS = Real(0.0, MAX_SECONDS)
POSITIVE_SECONDS = Real(0.0, MAX_SECONDS, above=True)
COUNT = click.IntRange(1, MAX_COUNT)
SEED = click.IntRange(0, 2**63 - 1)
FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


class _ModelFile(click.Path):
    """A file that is there, or ``-`` for standard input; ``./-`` is a file."""

    def __init__(self) -> None:
        super().__init__(exists=True, dir_okay=False, allow_dash=True, path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the path."""
        return _unlike_dash(value, Path(str(super().convert(value, param, ctx))))


def _unlike_dash(value: Any, path: Path) -> Path:
    """Return a path that is ``-`` only where that was written."""
    return path.absolute() if str(path) == "-" and str(value) != "-" else path


MODEL_FILE = _ModelFile()


class OutputFile(click.Path):
    """A file that can be written, in a folder that exists; of a known suffix, if there are any.

    With `is_new` it must not exist, with `exists` it must; `allow_dash` lets ``-`` through.
    """

    def __init__(
        self,
        *suffixes: str,
        is_new: bool = False,
        exists: bool = False,
        allow_dash: bool = False,
    ) -> None:
        super().__init__(exists=exists, dir_okay=False, path_type=Path, allow_dash=allow_dash)
        self._suffixes, self._is_new = suffixes, is_new

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the path, once it was tried out."""
        path = _unlike_dash(value, Path(str(super().convert(value, param, ctx))))
        if str(path) == "-":
            if self.allow_dash:
                return path
            self.fail("this is not written to standard output (a file - is ./-)", param, ctx)
        if self._suffixes and path.suffix not in self._suffixes:
            self.fail(f"{path} is not {' or '.join(self._suffixes)}", param, ctx)
        if problem := self._problem(path):
            self.fail(problem, param, ctx)
        return path

    def _problem(self, path: Path) -> str:
        try:
            if self._is_new and os.path.lexists(path):
                return f"{path} exists already, and is not overwritten"
            if path.exists() and not stat.S_ISREG(path.stat().st_mode):
                return f"{path} is not a regular file"
            parent = path.absolute().parent
            if not parent.is_dir():
                return f"{parent} is not a folder"
            _try_out(parent / path.name)
        except (OSError, ValueError) as error:
            return f"cannot write {path}: {getattr(error, 'strerror', None) or error}"
        return ""


class OutputFolder(click.Path):
    """A folder that can be written, or made."""

    def __init__(self) -> None:
        super().__init__(file_okay=False, path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the folder, once it was tried out; it is not made."""
        path = Path(str(super().convert(value, param, ctx)))
        try:
            folder = path.absolute()
            while not folder.exists():
                folder = folder.parent
            if not folder.is_dir():
                self.fail(f"{folder} is not a folder", param, ctx)
            _try_out(folder / path.name)
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", None) or error
            self.fail(f"cannot write to {path}: {why}", param, ctx)
        return path


def _try_out(path: Path) -> None:
    """Write a file of a name that is a little longer, as atomic replacement does."""
    beside = temporary(path)
    try:
        with beside.open("xb") as file:
            file.write(b"\0")
    finally:
        beside.unlink(missing_ok=True)


class Endpoint(click.ParamType):
    """``tcp://host:port`` or ``ipc://path``: to connect, to listen, or only to be written down.

    The host must be known, unless the endpoint is only written down.
    """

    name = "endpoint"

    def __init__(self, *, listening: bool = False, is_known: bool = True) -> None:
        self._listening, self.is_known = listening, is_known

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the endpoint, or that of a name in the user's file of defaults."""
        from cim_hal.user_config import named_target  # brings pydantic along

        try:
            named = None if self._listening else named_target(value)
            value = named.target if named else value
            host = check_endpoint_form(value, listening=self._listening)
            if self.is_known:
                check_host(host)
        except (ValueError, TargetError) as error:
            self.fail(str(error), param, ctx)
        return value


class Address(click.ParamType):
    """``host:port`` of a page."""

    name = "host:port"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the address."""
        try:
            check_host(check_address(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)
        return value


class Target(Endpoint):
    """What names a machine; the value is a `MachineConfig`, the driver is not loaded.

    That is an endpoint, an installed driver, ``module:factory``, or a machine file, which is read.
    """

    name = "target"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return what the target stands for."""
        from cim_hal.machine.config import MachineConfig  # brings numpy along
        from cim_hal.machine.registry import check_name

        if isinstance(value, MachineConfig):
            return value
        try:
            config = MachineConfig.of(value)
            if "://" in config.driver:
                super().convert(config.driver, param, ctx)
            else:
                check_name(config.driver)
        except TargetError as error:
            self.fail(str(error), param, ctx)
        return config


class Lowering(click.ParamType):
    """A lowering policy, such as ``splitting`` or ``quantile:0.95``."""

    name = "lowering"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the policy as it was written."""
        from cim_hal.machine.policies import Policy  # brings numpy along

        try:
            Policy.of(value)
        except ModelError as error:
            self.fail(f"{error}", param, ctx)
        return value


def _option_texts(_context: object, _option: object, texts: tuple[str, ...]) -> dict[str, str]:
    """Read ``NAME=VALUE`` pairs; of two for one name the last one counts."""
    pairs = [text.partition("=") for text in texts]
    for (name, equals, _), text in zip(pairs, texts, strict=True):
        if not (name.strip() and equals):
            raise click.BadParameter(f"{text!r} is not NAME=VALUE")
    return {name.strip(): value for name, _, value in pairs}


driver_option = click.option(
    "--option",
    "option_texts",
    multiple=True,
    callback=_option_texts,
    metavar="NAME=VALUE",
    help="Build the driver with this, such as host=10.0.0.5; cim-hal describe lists what it takes. "
    "Overrides a machine file. Repeatable.",
)


LISTEN = Endpoint(listening=True)
CONNECT = Endpoint()
