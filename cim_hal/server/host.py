"""Effects to a driver: one thread that alone touches the machine, one that fits couplings."""

from __future__ import annotations

import logging
import threading
import time
from queue import SimpleQueue
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from cim_hal.errors import CimError, DriverFaultError
from cim_hal.machine.capabilities import Capabilities
from cim_hal.machine.driver import StopToken
from cim_hal.model.trace import Trace
from cim_hal.protocol.couplings import Prepared, prepare
from cim_hal.protocol.effects import Prepare, Run, Stop
from cim_hal.protocol.results import Measured, pack_spins

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cim_hal.machine.driver import Driver, Program, Readout

__all__ = ["Host", "Outcome"]

CLOSE_TIMEOUT_S = 10.0

Outcome: TypeAlias = tuple[Run, Measured | CimError] | tuple[Prepare, Prepared | CimError]

log = logging.getLogger(__name__)


class Host:
    """Runs what the core asks for, and announces each outcome.

    The driver is described, run and closed in one thread, one call at a time. It is closed
    exactly once.

    Parameters
    ----------
    driver : Driver
    announce : callable
        Called, in a worker's thread, after an outcome was added.

    Raises
    ------
    DriverFaultError
        The driver does not describe itself.
    """

    def __init__(self, driver: Driver, announce: Callable[[], None]) -> None:
        self._driver = driver
        self._announce = announce
        self._outcomes: SimpleQueue[Outcome] = SimpleQueue()
        self._tokens: dict[str, StopToken] = {}
        self._closing = threading.Lock()
        self._is_closed = False
        self._driver_worker = _Worker("cim-hal driver")
        self._fitting_worker = _Worker("cim-hal fitting")
        described: SimpleQueue[Capabilities | BaseException] = SimpleQueue()
        self._driver_worker.do(lambda: described.put(_describe(driver)))
        answer = described.get()
        if isinstance(answer, BaseException):
            self.close()
            raise _fault("describe", answer) from answer
        self.capabilities = answer

    def perform(self, effect: Run | Stop | Prepare) -> None:
        """Begin what the effect says; returns at once. After `close` nothing begins."""
        with self._closing:
            if self._is_closed:
                return
            match effect:
                case Run():
                    token = self._tokens[effect.job] = StopToken()
                    self._driver_worker.do(lambda: self._finish((effect, self._run(effect, token))))
                case Stop():
                    token = self._tokens.get(effect.job)
                    if token is not None:
                        token.set()
                case Prepare():
                    self._fitting_worker.do(lambda: self._finish((effect, self._prepare(effect))))

    def outcomes(self) -> Iterator[Outcome]:
        """Yield what has been done since the last call."""
        while not self._outcomes.empty():
            yield self._outcomes.get()

    def close(self) -> None:
        """Stop the running job, close the driver in its thread, and wait for that."""
        with self._closing:
            if self._is_closed:
                return
            self._is_closed = True
            for token in list(self._tokens.values()):
                token.set()
            self._driver_worker.do(self._close_driver)
        self._fitting_worker.end()
        self._driver_worker.end()

    def _finish(self, outcome: Outcome) -> None:
        self._outcomes.put(outcome)
        self._announce()

    def _run(self, effect: Run, token: StopToken) -> Measured | CimError:
        started = time.perf_counter()
        try:
            readout = self._driver.run(effect.program, token)
            device_s = time.perf_counter() - started
            readout.check(effect.program)
            return self._lift(readout, effect.program, device_s)
        except CimError as error:
            return error
        except BaseException as error:  # a driver that calls sys.exit must not end the thread
            log.exception("the driver failed in a run")
            return _fault("run", error)
        finally:
            self._tokens.pop(effect.job, None)

    def _lift(self, readout: Readout, program: Program, device_s: float) -> Measured:
        lowering, amplitudes = program.lowering, readout.amplitudes
        spins = lowering.lift(readout.spins)
        if amplitudes is not None:
            keeps = self.capabilities.reports_amplitudes
            amplitudes = lowering.lift(amplitudes) if keeps else None
        trace = None
        if readout.trace is not None and program.trace is not None:
            trace = Trace(
                np.asarray(readout.trace.round_trips, np.int64),
                np.asarray(readout.trace.pump, np.float64),
                lowering.lift(np.asarray(readout.trace.amplitudes, np.float32)),
            )
        n_spins = spins.shape[1]
        return Measured(pack_spins(spins), amplitudes, n_spins, device_s, trace, readout.notes)

    def _prepare(self, effect: Prepare) -> Prepared | CimError:
        try:
            return prepare(effect.source, effect.coupling, self.capabilities)
        except CimError as error:
            return error
        except (ArithmeticError, LookupError, MemoryError, TypeError, ValueError) as error:
            log.exception("couplings could not be prepared")
            return CimError(f"the couplings could not be prepared: {error}")

    def _close_driver(self) -> None:
        try:
            self._driver.close()
        except Exception:
            log.exception("the driver failed to close")


class _Worker:
    """A thread that does one thing after another."""

    def __init__(self, name: str) -> None:
        self._tasks: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        # A daemon: a driver that hangs must not keep the process alive.
        self._thread = threading.Thread(target=self._loop, name=name, daemon=True)
        self._thread.start()

    def do(self, task: Callable[[], None]) -> None:
        """Do `task` after all that was asked for before."""
        self._tasks.put(task)

    def end(self) -> None:
        """Do what is left, then end; waits, but not for ever."""
        self._tasks.put(None)
        if self._thread is threading.current_thread():
            return
        self._thread.join(CLOSE_TIMEOUT_S)
        if self._thread.is_alive():
            log.warning("%s did not stop within %g s", self._thread.name, CLOSE_TIMEOUT_S)

    def _loop(self) -> None:
        while (task := self._tasks.get()) is not None:
            task()
            del task  # it may hold the arrays of a job


def _describe(driver: Driver) -> Capabilities | BaseException:
    try:
        capabilities = driver.describe()
    except BaseException as error:  # noqa: BLE001  handed on to the caller's thread
        return error
    if isinstance(capabilities, Capabilities):
        return capabilities
    return TypeError(f"it returned a {type(capabilities).__name__}, not Capabilities")


def _fault(where: str, error: BaseException) -> DriverFaultError:
    return DriverFaultError(
        f"the driver failed in {where}: {type(error).__name__}: {error}",
        exception=type(error).__name__,
    )
