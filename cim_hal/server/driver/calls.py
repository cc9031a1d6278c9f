"""Calls of a driver's methods: every exception an error, each traceback once; building it anew."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeVar, runtime_checkable

from cim_hal.errors import CimError, DriverFaultError, JobCancelledError
from cim_hal.machine.wrapped_driver import WrappedDriver

if TYPE_CHECKING:
    from cim_hal.machine.capabilities import Capabilities
    from cim_hal.machine.driver import Driver, StopToken
    from cim_hal.machine.telemetry import DriverState

__all__ = [
    "Backoff",
    "DriverCalls",
    "NeverBegunError",
    "Rebuildable",
    "RebuildableDriver",
    "Supervised",
]

PHRASES = {"safe": "to make the machine safe", "close": "to close"}

Result = TypeVar("Result")

log = logging.getLogger(__name__)


class NeverBegunError(JobCancelledError):
    """A call was cancelled before the driver had begun it: its job may run later."""


@dataclass(frozen=True)
class Backoff:
    """Exponential back-off: each pause before a restart is twice the last one, up to a bound.

    >>> [Backoff(0.1, 0.5).pause_s(failures) for failures in range(1, 6)]
    [0.1, 0.2, 0.4, 0.5, 0.5]
    """

    first_s: float = 0.1
    most_s: float = 30.0
    broken_after: int = 5

    def pause_s(self, failures: int) -> float:
        """Return the pause after this many failures in a row, in seconds."""
        return min(self.first_s * 2.0 ** min(failures - 1, 60), self.most_s)


class DriverCalls:
    """Calls methods of a driver; whatever they raise becomes a `CimError`.

    The traceback of an exception is logged once, and again after the method has succeeded; with
    `is_quiet` it goes to level debug until a call has succeeded. Any thread may call.
    """

    def __init__(self, *, is_quiet: bool = False) -> None:
        self._is_quiet = is_quiet
        self._known: dict[str, str] = {}

    def __call__(
        self, where: str, action: Callable[[], Result], expected: type[Result] | None = None
    ) -> Result:
        """Return the result of a driver's method `where`, or raise a `CimError` as it did.

        Any other exception, and a result that is not `expected`, is a `DriverFaultError`; one of
        input or output is retryable.
        """
        try:
            result = action()
        except CimError:
            raise
        except BaseException as error:  # sys.exit in a driver must not end the thread
            self._log(where, error)
            raise _fault(where, error) from error
        if expected is not None and not isinstance(result, expected):
            sentence = f"it returned a {type(result).__name__}, not {expected.__name__}"
            raise _fault(where, TypeError(sentence))
        self._known.pop(where, None)
        self._is_quiet = self._is_quiet and where == "safe"  # which may do nothing at all
        return result

    def _log(self, where: str, error: BaseException) -> None:
        frames = traceback.extract_tb(error.__traceback__)
        place = f"{type(error).__name__} in {frames[-1].filename}:{frames[-1].lineno}"
        if self._known.get(where) != place:
            self._known[where] = place
            level = logging.DEBUG if self._is_quiet else logging.ERROR
            log.log(
                level, "the driver failed %s", PHRASES.get(where, f"in {where}"), exc_info=error
            )

    def close(self, driver: Driver) -> None:
        """Make the machine safe and close the driver; exceptions are logged."""
        for where, action in (("safe", driver.safe), ("close", driver.close)):
            with suppress(CimError):
                self(where, action)


def _fault(where: str, error: BaseException) -> DriverFaultError:
    name = type(error).__name__
    message = f"the driver failed in {where}: {name}: {error}"
    if isinstance(error, OSError | EOFError):  # of a socket, a serial line, a device file
        hint = "its connection is renewed: try again"
        return DriverFaultError(message, hint=hint, exception=name, retryable=True)
    return DriverFaultError(message, exception=name)


@runtime_checkable
class Supervised(Protocol):
    """A driver whose process is supervised and restarted."""

    def subscribe(self, tell: Callable[[DriverState], None]) -> None:
        """Call `tell`, from any thread, with the present state and at each change."""
        ...

    def wait_until_ready(self, stop: StopToken) -> None:
        """Wait while the process restarts; `UnavailableError` where it does not."""
        ...


@runtime_checkable
class Rebuildable(Protocol):
    """A driver that can be built anew after it has lost its machine."""

    def rebuild(self, reason: str) -> None:
        """Close what there is, and begin to build it again; may end before that is done."""
        ...


class RebuildableDriver(WrappedDriver):
    """A driver in this process that is made anew, by its factory, where it has failed."""

    def __init__(self, make: Callable[[], Driver]) -> None:
        super().__init__(make())
        self._make = make
        self._described: Capabilities | None = None

    def rebuild(self, reason: str) -> None:
        """Close the driver and make another, which must describe the same machine."""
        log.debug("the driver is made anew: %s", reason)
        DriverCalls(is_quiet=True).close(self._driver)
        self._driver = self._make()
        if self._described not in (None, self._driver.describe()):
            raise DriverFaultError("the driver describes itself otherwise than when it started")

    def describe(self) -> Capabilities:
        """Return the capabilities of the machine."""
        self._described = self._driver.describe()
        return self._described
