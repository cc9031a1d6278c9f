"""The process of a driver: answers its server, and never outlives it."""

from __future__ import annotations

import ctypes
import faulthandler
import logging
import os
import signal
import socket
import sys
import threading
from contextlib import suppress
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, NamedTuple

from cim_hal.errors import CimError, DriverFaultError, TargetError
from cim_hal.machine.calibration import Calibration
from cim_hal.machine.capabilities import Capabilities
from cim_hal.machine.driver import PartialReadouts
from cim_hal.machine.faulty_driver import FaultScript, FaultyDriver
from cim_hal.machine.registry import make_driver
from cim_hal.machine.stop import StopToken
from cim_hal.machine.telemetry import Telemetry
from cim_hal.protocol.wire.errors import to_wire
from cim_hal.server.driver.guard import as_driver_fault
from cim_hal.server.driver.link import Link, LinkError
from cim_hal.server.driver.speech import lowering_of, plain, program_of, tell_readout

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from cim_hal.machine.driver import Driver
    from cim_hal.machine.lowering import Lowering

__all__ = ["main"]

BEAT_S = 0.25
ORPHAN_S = 3.0  # what a call may still take once the server has gone
PR_SET_PDEATHSIG = 1

log = logging.getLogger(__name__)


class _Task(NamedTuple):
    kind: str
    fields: dict[str, Any]
    arrays: list[NDArray[Any]]
    token: StopToken


def main() -> None:
    """Serve the server at the other end of the socket whose number is the first argument."""
    link = Link(socket.socket(fileno=int(sys.argv[1])))
    _exit_with_parent(link)
    faulthandler.enable(all_threads=False)
    _Child(link).serve()


class _Child:
    """Calls the driver in the main thread; another listens, and a third beats."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._tasks: SimpleQueue[_Task | None] = SimpleQueue()
        self._latest = 0, StopToken()  # number of the call that came last
        self._driver: Driver | None = None
        self._lowering: Lowering | None = None
        self._running: tuple[_Task, PartialReadouts] | None = None
        self._handlers: dict[str, Callable[[Driver, _Task], None]] = {
            "program": self._program,
            "run": self._run,
            "status": self._status,
            "calibrate": self._calibrate,
            "safe": self._safe,
        }

    def serve(self) -> None:
        """Do what comes in, in order, until the server lets go or has gone."""
        threading.Thread(target=self._listen, daemon=True).start()
        while (task := self._tasks.get()) is not None and task.kind != "close":
            self._do(task)
            del task  # it may hold the arrays of a job
        self._shutdown()
        os._exit(0)  # whatever threads the driver has left behind

    def _listen(self) -> None:
        """Receive; a stop, and an emergency, do not wait for their turn."""
        try:
            while True:
                kind, fields, arrays = self._link.receive()
                if kind == "stop":
                    self._latest[1].set()
                elif kind == "safe_now":
                    self._safe_now()
                else:
                    token = StopToken(self._report, self._deliver)
                    self._latest = int(fields["id"]), token
                    self._tasks.put(_Task(kind, fields, arrays, self._latest[1]))
        except LinkError:
            self._leave()

    def _leave(self) -> None:
        """End this process, now that its server has gone: in good order, or by force."""
        self._latest[1].set()
        self._tasks.put(None)
        threading.Event().wait(ORPHAN_S)  # the main thread ends the process
        self._safe_now()
        os._exit(1)

    def _do(self, task: _Task) -> None:
        with suppress(LinkError):  # the listening thread sees it too
            try:
                self._attempt(task)
            except CimError as error:
                self._answer(task, "error", **_fault(error))

    def _attempt(self, task: _Task) -> None:
        if self._driver is None:
            self._driver = self._open(task)
        else:
            self._answer(task, "begun")
            self._handlers[task.kind](self._driver, task)

    def _answer(self, task: _Task, kind: str, *arrays: NDArray[Any], **fields: Any) -> None:
        self._link.send(kind, *arrays, re=task.fields["id"], **fields)

    # ---- what the server asks for -----------------------------------------------------------

    def _open(self, task: _Task) -> Driver:
        fields = task.fields
        logging.basicConfig(level=fields["log_level"], handlers=[_ToServer(self._link)])
        driver = _made(fields["target"], fields["faults"], fields["jobs_before"])
        capabilities = _called("describe", driver.describe, Capabilities)
        with suppress(Exception):
            driver.safe()
        hang_s = float(fields["hang_s"])
        threading.Thread(target=self._beat, args=[hang_s], daemon=True).start()
        self._answer(task, "opened", capabilities=capabilities.model_dump())
        return driver

    def _program(self, driver: Driver, task: _Task) -> None:
        self._lowering = lowering_of(task.fields["lowering"], task.arrays)
        program = program_of(task.fields["program"], self._lowering)
        _called("program", lambda: driver.program(program))
        self._answer(task, "done")

    def _run(self, driver: Driver, task: _Task) -> None:
        if self._lowering is None:
            raise DriverFaultError("a run came before its couplings: a bug of the server")
        program = program_of(task.fields["program"], self._lowering)
        self._running = task, PartialReadouts(program)
        try:
            readout = _called("run", lambda: driver.run(program, task.token))
        finally:
            self._running = None
        _called("run", lambda: readout.check(program))
        fields, arrays = tell_readout(readout, with_trace=program.trace is not None)
        self._answer(task, "readout", *arrays, **fields)

    def _status(self, driver: Driver, task: _Task) -> None:
        telemetry = _called("status", driver.status, Telemetry)
        self._answer(task, "telemetry", telemetry=telemetry.model_dump())

    def _calibrate(self, driver: Driver, task: _Task) -> None:
        made = _called("calibrate", lambda: driver.calibrate(task.token), Calibration)
        self._answer(task, "calibration", calibration=made.model_dump())

    def _safe(self, driver: Driver, task: _Task) -> None:
        _called("safe", driver.safe)
        self._answer(task, "done")

    # ---- at any time ------------------------------------------------------------------------

    def _safe_now(self) -> None:
        try:
            if self._driver is not None:
                self._driver.safe()
        except Exception:
            log.exception("the driver failed to make the machine safe")

    def _shutdown(self) -> None:
        self._safe_now()
        try:
            if self._driver is not None:
                self._driver.close()
        except Exception:
            log.exception("the driver failed to close")

    def _report(self, telemetry: Telemetry) -> None:
        if isinstance(telemetry, Telemetry):
            with suppress(LinkError):
                self._link.send("report", telemetry=telemetry.model_dump())

    def _deliver(self, values: NDArray[Any]) -> None:
        if self._running is None:
            return
        task, deliveries = self._running
        deliveries.check(values)
        with suppress(LinkError):
            self._answer(task, "delivery", plain(values))

    def _beat(self, hang_s: float) -> None:
        """Show that Python runs, and how far the run is.

        Where Python does not run, a thread without it ends the process.
        """
        with suppress(LinkError):
            while True:
                faulthandler.dump_traceback_later(2 * hang_s, exit=True)
                number, token = self._latest
                self._link.send("beat", of=number, progress=token.last_progress)
                threading.Event().wait(min(BEAT_S, hang_s / 4))


class _ToServer(logging.Handler):
    """Hands what is logged to the server, whose log it becomes part of."""

    def __init__(self, link: Link) -> None:
        super().__init__()
        self._link = link
        self.setFormatter(logging.Formatter("%(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        """Send a record; one that cannot be sent is lost."""
        with suppress(LinkError, ValueError, TypeError):
            text = self.format(record)[:10_000]
            self._link.send("log", name=record.name, level=record.levelno, text=text)


def _made(target: str, faults: str, jobs_before: int) -> Driver:
    driver = make_driver(target)
    if not faults:
        return driver
    script = FaultScript.read(Path(faults))
    return FaultyDriver(driver, script, may_crash=True, jobs_before=jobs_before)


def _called(where: str, action: Callable[[], Any], expected: type | None = None) -> Any:
    try:
        result = action()
    except CimError:
        raise
    except BaseException as error:
        log.exception("the driver failed in %s", where)
        raise as_driver_fault(where, error) from None
    if expected is not None and not isinstance(result, expected):
        sentence = f"it returned a {type(result).__name__}, not {expected.__name__}"
        raise as_driver_fault(where, TypeError(sentence))
    return result


def _fault(error: CimError) -> Mapping[str, Any]:
    """Return the fields of an error; a wrong target keeps its name, which the wire has none for."""
    fields = to_wire(error).model_dump(exclude={"t"})
    return fields | ({"code": error.code} if isinstance(error, TargetError) else {})


def _exit_with_parent(link: Link) -> None:
    """On Linux a signal says that the server has died; the end of the socket says so everywhere."""
    signal.signal(signal.SIGTERM, lambda *_: link.shut())
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
