"""Registry of drivers: entry points of installed packages, or ``module:factory``."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Any

from cim_hal.errors import TargetError
from cim_hal.machine.driver import Driver

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["GROUP", "RegisteredDriver", "make_driver", "registered_drivers"]

GROUP = "cim_hal.drivers"


@dataclass(frozen=True)
class RegisteredDriver:
    """A driver that an installed package offers under a name."""

    name: str
    factory: str
    package: str


def registered_drivers() -> list[RegisteredDriver]:
    """Return the drivers of all installed packages, sorted by name."""
    found = sorted(entry_points(group=GROUP), key=lambda entry: entry.name)
    return [RegisteredDriver(e.name, e.value, e.dist.name if e.dist else "?") for e in found]


def make_driver(target: str) -> Driver:
    """Make the driver that a target names.

    Parameters
    ----------
    target : str
        An entry-point name such as ``"emulator"``, or ``"module:factory"``, where the factory
        takes no arguments and returns a `Driver`.

    Raises
    ------
    TargetError
        No driver has that name, or it is not a driver factory.
    """
    factory = _load(target)
    try:
        driver = factory()
    except Exception as error:
        raise TargetError(
            f"the driver {target!r} did not start: {type(error).__name__}: {error}"
        ) from error
    if not isinstance(driver, Driver):
        raise TargetError(
            f"{target!r} made a {type(driver).__name__}", hint="it must make a cim_hal.Driver"
        )
    return driver


def _load(target: str) -> Callable[[], Any]:
    entries = entry_points(group=GROUP, name=target)
    if entries:
        return _import(target, next(iter(entries)))
    if ":" in target and "//" not in target:
        return _import(target, EntryPoint(target, target, GROUP))
    names = ", ".join(entry.name for entry in registered_drivers()) or "none is installed"
    raise TargetError(
        f"no device goes by the name {target!r}",
        hint=f"known: {names}; or tcp://host:port, ipc://path, module:factory",
    )


def _import(target: str, entry: EntryPoint) -> Callable[[], Any]:
    importlib.invalidate_caches()
    try:
        factory = entry.load()
    except (ImportError, AttributeError, ValueError) as error:
        raise TargetError(f"cannot load the driver {target!r}: {error}") from error
    if not callable(factory):
        raise TargetError(
            f"{target!r} is a {type(factory).__name__}",
            hint="it must be a callable that takes nothing and returns a cim_hal.Driver",
        )
    return factory
