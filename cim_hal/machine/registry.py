"""Drivers by name, ``module:factory`` or machine file, built with options; and who may make one.

Of a driver with hardware only one process at a time may make an object: it holds the lock of the
machine. Modules of drivers are imported without it, so they must not touch the hardware.
"""

from __future__ import annotations

import importlib
import inspect
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from importlib.metadata import EntryPoint
from typing import Any, TypeVar

from cim_hal.errors import CapabilityError, TargetError
from cim_hal.extras import FULL_INSTALL, how_to_install, offered
from cim_hal.machine.capabilities import Capabilities, DriverOption
from cim_hal.machine.config import MachineConfig
from cim_hal.machine.driver import Driver
from cim_hal.machine.options import OptionValue, checked_options, options_of, shown_with
from cim_hal.machine.wrapped_driver import WrappedDriver
from cim_hal.model.conversion import with_article
from cim_hal.ownership import Lock, lock_file, open_lock, own, release
from cim_hal.toml_files import one_line
from cim_hal.user_config import DRIVERS, read_user_config

__all__ = [
    "GROUP",
    "RegisteredDriver",
    "check_name",
    "check_options",
    "claim",
    "emulated",
    "factory_of",
    "is_emulated",
    "lock_name",
    "make_driver",
    "registered_drivers",
    "summary_of",
]

GROUP = DRIVERS
BRIDGES = "cim_hal.bridges"  # factories of drivers by what stands behind their name and a colon

Factory = TypeVar("Factory", bound=Any)


@dataclass(frozen=True)
class RegisteredDriver:
    """A driver that an installed package offers under a name."""

    name: str
    factory: str
    package: str


def registered_drivers() -> list[RegisteredDriver]:
    """Return the drivers of all installed packages, sorted by name."""
    found = sorted(offered(GROUP), key=lambda entry: entry.name)
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
        raise TargetError(
            f"factory is {with_article(type(factory).__name__)}", hint="pass what makes a driver"
        )
    setattr(given, "is_emulated", True)  # noqa: B010  of any callable
    return factory


def is_emulated(driver: str) -> bool:
    """Return whether a driver is marked as `emulated`; `TargetError` if there is no such driver."""
    return getattr(_load(driver), "is_emulated", False) is True


def summary_of(driver: str) -> str:
    """Return the first line of the docstring of a driver's factory."""
    return (inspect.getdoc(_load(driver)) or "").partition("\n")[0]


def factory_of(target: str) -> str:
    """Return the ``module:factory`` of a target; the target itself if it is not installed."""
    return next((entry.value for entry in offered(GROUP).select(name=target)), target)


def lock_name(config: MachineConfig, hardware: str = "") -> str:
    """Return whose lock a driver holds: `hardware` if that is named, or the file's, or its own."""
    return hardware or config.hardware or factory_of(config.driver)


def claim(config: MachineConfig, *, hardware: str = "", server: int | None = None) -> Lock | None:
    """Take the lock of the machine of a target for a driver in this process: see `own`.

    `hardware` is its name where that is neither in the file nor the driver's factory. None for an
    emulated one.
    """
    check_options(config)
    if is_emulated(config.driver):
        return None
    lock = open_lock(lock_file(lock_name(config, hardware)))
    try:
        own(lock, server=server)
    except TargetError:
        release(lock)
        raise
    return lock


def check_options(config: MachineConfig) -> None:
    """Raise the `TargetError` of options that the driver of a target does not take; make nothing.

    Before its lock is asked for: who types a wrong option hears of it, not of who has the machine.
    """
    checked_options(config.target, _load(config.driver), config.options, config.texts)


def make_driver(
    target: str | os.PathLike[str] | MachineConfig,
    options: Mapping[str, OptionValue] | None = None,
) -> Driver:
    """Make the driver that a target names.

    Parameters
    ----------
    target : str, path or MachineConfig
        An entry-point name such as ``"emulator"``; ``"module:factory"``, where the factory returns
        a `Driver`; or the path of a machine file, which names a driver.
    options : mapping of str to str, int, float or bool, optional
        Keyword arguments of the factory, whose signature says what is right; they go before those
        of a machine file.

    Raises
    ------
    TargetError
        No driver has that name, it is not a driver factory, or an option is not right.
    """
    config = MachineConfig.of(target, options)
    if config.is_endpoint:
        what = f"{config.driver} is a server, and no driver of this process"
        raise TargetError(what, hint="open_device connects to it")
    factory = _load(config.driver)
    given = checked_options(config.target, factory, config.options, config.texts)
    try:
        driver = factory(**given)
    except Exception as error:
        raise TargetError(
            f"the driver {config.target!r} did not start: {type(error).__name__}: {one_line(error)}"
        ) from error
    if not isinstance(driver, Driver):
        raise TargetError(
            f"{config.target!r} made {with_article(type(driver).__name__)}",
            hint="it must make a cim_hal.Driver",
        )
    known = tuple(shown_with(option, given) for option in options_of(factory).values())
    if known or config.settings or config.name or config.description:
        return _ConfiguredDriver(driver, config, known)
    return driver


class _ConfiguredDriver(WrappedDriver):
    """A driver that describes itself as its machine file says, and names its options."""

    def __init__(
        self, driver: Driver, config: MachineConfig, options: tuple[DriverOption, ...]
    ) -> None:
        super().__init__(driver)
        self._config = config
        self._options = options

    def describe(self) -> Capabilities:
        """Return what the driver says, with the defaults and words of the file."""
        known = self._driver.describe()
        if not isinstance(known, Capabilities):
            return known
        config = self._config
        try:
            known = known.with_defaults(config.settings)
        except CapabilityError as error:
            raise TargetError(f"{config.target}: [settings]: {error}") from None
        words = {"name": config.name, "description": config.description}
        said = {name: word for name, word in words.items() if word}
        changes: dict[str, Any] = {"options": known.options or self._options, **said}
        return Capabilities(**(dict(known) | changes))


def check_name(target: str) -> None:
    """Refuse a target that is neither the name of an installed driver nor ``module:factory``.

    Nothing is imported. `TargetError` names the nearest of those that are installed.
    """
    if offered(GROUP).select(name=target) or (":" in target and "//" not in target):
        return
    names = [*(driver.name for driver in registered_drivers()), *read_user_config().targets]
    near = get_close_matches(target, names, n=1)
    known = f"known: {', '.join(names) or 'none is installed'}"
    if near:
        known = f"did you mean {near[0]}? cim-hal list shows all"
    elif target.startswith("emulator"):
        known = FULL_INSTALL
    raise TargetError(
        f"no device goes by the name {target!r}",
        hint=f"{known}; or tcp://host:port, ipc://path, module:factory, FILE.toml",
    )


def _load(target: str) -> Callable[..., Any]:
    check_name(target)
    bridge, colon, name = target.partition(":")
    for entry in offered(BRIDGES).select(name=bridge) if colon else ():
        return _import(target, entry)(name)
    entries = offered(GROUP).select(name=target)
    return _import(target, next(iter(entries), EntryPoint(target, target, GROUP)))


def _import(target: str, entry: EntryPoint) -> Callable[..., Any]:
    importlib.invalidate_caches()
    try:
        factory = entry.load()
    except (Exception, SystemExit) as error:  # whatever a module does when it is imported
        is_plain = isinstance(error, ImportError | AttributeError | ValueError)
        says = f"{error}" if is_plain else f"{type(error).__name__}: {error}"
        raise TargetError(
            f"cannot load the driver {target!r}: {says}", hint=_hint(error)
        ) from error
    if not callable(factory):
        raise TargetError(
            f"{target!r} is {with_article(type(factory).__name__)}",
            hint="it must be a callable that returns a cim_hal.Driver",
        )
    return factory


def _hint(error: BaseException) -> str:
    """Return how to get a missing package, or the nearest name in a module."""
    match error:
        case ModuleNotFoundError(name=str(name)):
            return how_to_install(name)
        case AttributeError(name=str(name), obj=module):
            return "".join(
                f"did you mean {near}?" for near in get_close_matches(name, dir(module), 1)
            )
        case _:
            return ""
