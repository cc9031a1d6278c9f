"""What the installed packages offer, and how to get those that not every install has.

What it says works in every install, from a checkout or not: it names the package itself, with the
versions that the metadata of this distribution ask for.
"""

from __future__ import annotations

import re
import sys
from functools import lru_cache
from importlib import import_module
from importlib.metadata import EntryPoints, entry_points, requires
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cim_hal.errors import CimError

__all__ = ["FULL_INSTALL", "how_to_install", "load_extra", "offered", "require_extra"]

FULL_INSTALL = "the full install has it: pip install . in the checkout of cim-hal"
DISTRIBUTIONS = {"kaiwu": "kaiwu-community", "sklearn": "scikit-learn"}  # of modules named else


def offered(group: str) -> EntryPoints:
    """Return what the installed packages offer in a group, as entry points.

    They are looked for once for each search path, because that takes longer than to open a machine.
    """
    return _offered(group, tuple(sys.path))


@lru_cache(32)
def _offered(group: str, _path: tuple[str, ...]) -> EntryPoints:
    return entry_points(group=group)


def how_to_install(module: str) -> str:
    """Return the command that installs the package of a module; nothing if none is asked for.

    >>> how_to_install("prometheus_client")
    "pip install 'prometheus-client>=0.20'"
    """
    name = DISTRIBUTIONS.get(module, module.replace("_", "-"))
    for line in requires("cim-hal") or ():
        wanted, _, _ = line.partition(";")
        if re.split(r"[^\w.-]", wanted.strip())[0] == name:
            return f"pip install '{wanted.strip()}'"
    return ""


def require_extra(module: str, what: str, error: type[CimError]) -> None:
    """Raise an `error` unless there is the module that `what` needs: before work, not after it."""
    if find_spec(module) is None:
        raise _missing(module, what, error)


def load_extra(name: str, what: str, error: type[CimError]) -> Any:
    """Import a module that `what` needs; an `error` says how to get it where it is missing."""
    try:
        return import_module(name)
    except ImportError:
        raise _missing(name.partition(".")[0], what, error) from None


def _missing(module: str, what: str, error: type[CimError]) -> CimError:
    return error(f"{what} needs {module}, which is not installed", hint=how_to_install(module))
