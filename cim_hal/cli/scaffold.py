"""``cim-hal new-driver``: a small package with a working driver, to start from."""

from __future__ import annotations

import keyword
import re
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from string import Template

import click

from cim_hal.console import say
from cim_hal.errors import TargetError
from cim_hal.option_types import OutputFolder

__all__ = ["new_driver"]

# Template -> file; names in both are filled in.
LAYOUT = {
    "pyproject.toml.in": "pyproject.toml",
    "README.md.in": "README.md",
    "machine.toml.in": "$name.toml",
    "init.py.in": "$package/__init__.py",
    "driver.py.in": "$package/driver.py",
    "hardware.py.in": "$package/hardware.py",
    "test_driver.py.in": "tests/test_driver.py",
}


@click.command("new-driver")
@click.argument("name")
@click.option(
    "--into",
    "parent",
    type=OutputFolder(),
    default=Path(),
    metavar="FOLDER",
    help="Folder in which to make the folder NAME.  [default: the current one]",
)
def new_driver(name: str, *, parent: Path) -> None:
    """Make a package with a driver that runs: replace its simulated hardware by yours.

    NAME is the name of the machine, in lower case with hyphens, and of the installed driver.

    \b
    Examples:
      cim-hal new-driver bench-1
      cim-hal new-driver bench-1 --into ~/src
    """  # noqa: D301
    folder = parent / name
    if folder.exists():
        raise TargetError(f"{folder} exists already", hint="nothing is overwritten")
    for path, text in _filled(name).items():
        _write(folder / path, text)
    say(f"made {folder}: see {folder / 'README.md'}")


def _filled(name: str) -> dict[str, str]:
    names = _names(name)
    templates = files("cim_hal.cli") / "new_driver"
    return {
        Template(path).substitute(names): Template(
            (templates / template).read_text(encoding="utf-8")
        ).substitute(names)
        for template, path in LAYOUT.items()
    }


def _names(name: str) -> dict[str, str]:
    """Return the name of the machine, of its package and of its class, or raise `TargetError`."""
    package = name.replace("-", "_")
    if not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", name) or keyword.iskeyword(package):
        raise TargetError(
            f"{name!r} is no name for a driver",
            hint="lower case letters, digits and single hyphens, a letter first: bench-1",
        )
    if find_spec(package) is not None:
        raise TargetError(f"there is a module {package} already", hint="choose another name")
    machine = "".join(part.capitalize() for part in name.split("-")) + "Cim"
    return {"name": name, "package": package, "machine": machine}


def _write(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise click.FileError(str(path), error.strerror) from None
