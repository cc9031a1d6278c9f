"""Drivers by name: entry points of installed packages, or ``module:factory``; and who may make one.

Of a driver with hardware only one process at a time may make an object: it holds the lock of the
machine. Modules of drivers are imported without it, so they must not touch the hardware.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches
from importlib.metadata import EntryPoint, entry_points
from typing import Any, TypeVar

from cim_hal.errors import TargetError
from cim_hal.machine.driver import Driver
from cim_hal.ownership import Lock, lock_file, open_lock, own, release

__all__ = [
    "GROUP",
    "RegisteredDriver",
    "check_name",
    "claim",
    "emulated",
    "factory_of",
    "is_emulated",
    "make_driver",
    "registered_drivers",
]

GROUP = "cim_hal.drivers"

Factory = TypeVar("Factory", bound=Any)


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


def emulated(factory: Factory) -> Factory:
    """Mark a driver's class, or its factory, as one that touches no hardware.

    Any number of processes may have such a driver. Of any other only one process at a time may
    make a driver; it holds the lock of the machine while it lives.

    >>> @emulated
    ... def make_bench() -> Driver: ...
    """
    given: Any = factory
    if not callable(given):
        raise TargetError(f"factory is a {type(factory).__name__}", hint="pass what makes a driver")
    setattr(given, "is_emulated", True)  # noqa: B010  of any callable
    return factory


def is_emulated(target: str) -> bool:
    """Return whether the driver of a target is marked as `emulated`; `TargetError` if unknown."""
    return getattr(_load(target), "is_emulated", False) is True


def factory_of(target: str) -> str:
    """Return the ``module:factory`` of a target; the target itself if it is not installed."""
    return next((entry.value for entry in entry_points(group=GROUP, name=target)), target)


def claim(target: str, *, hardware: str = "", server: int | None = None) -> Lock | None:
    """Take the lock of the machine of a target for a driver in this process: see `own`.

    `hardware` is its name where that is not the driver's factory. None for an emulated one.
    """
    if is_emulated(target):
        return None
    lock = open_lock(lock_file(hardware or factory_of(target)))
    try:
        own(lock, server=server)
    except TargetError:
        release(lock)
        raise
    return lock


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
    if not isinstance(target, str):
        what = f"the target is a {type(target).__name__}"
        raise TargetError(what, hint="pass a name, or module:factory")
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


def check_name(target: str) -> None:
    """Refuse a target that is neither the name of an installed driver nor ``module:factory``.

    Nothing is imported. `TargetError` names the nearest of those that are installed.
    """
    if entry_points(group=GROUP, name=target) or (":" in target and "//" not in target):
        return
    names = [driver.name for driver in registered_drivers()]
    near = "".join(f"did you mean {name}? " for name in get_close_matches(target, names, n=1))
    raise TargetError(
        f"no device goes by the name {target!r}",
        hint=f"{near}known: {', '.join(names) or 'none is installed'}; or tcp://host:port, "
        "ipc://path, module:factory",
    )


def _load(target: str) -> Callable[[], Any]:
    check_name(target)
    entries = entry_points(group=GROUP, name=target)
    return _import(target, next(iter(entries), EntryPoint(target, target, GROUP)))


def _import(target: str, entry: EntryPoint) -> Callable[[], Any]:
    importlib.invalidate_caches()
    try:
        factory = entry.load()
    except (ImportError, AttributeError, ValueError) as error:
        raise TargetError(f"cannot load the driver {target!r}: {error}") from error
    given: Any = factory
    if not callable(given):
        raise TargetError(
            f"{target!r} is a {type(factory).__name__}",
            hint="it must be a callable that takes nothing and returns a cim_hal.Driver",
        )
    return factory
