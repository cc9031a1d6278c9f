"""Main program of a driver's process: serves its server, and never outlives it."""

from __future__ import annotations

import faulthandler
import logging
import os
import signal
import socket
import threading
from collections.abc import Callable
from contextlib import nullcontext, suppress
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, NamedTuple

from pydantic import ValidationError

from cim_hal.errors import CimError, DriverFaultError, ProtocolError
from cim_hal.keeper import ORPHAN_S
from cim_hal.machine.capabilities import Capabilities
from cim_hal.machine.driver import PartialReadouts, Readout, StopToken
from cim_hal.machine.faulty_driver import FaultScript, FaultyDriver
from cim_hal.machine.registry import check_options, is_emulated, make_driver
from cim_hal.machine.telemetry import Calibration, Telemetry
from cim_hal.protocol.wire.packet import NO_ID, Kind, Packet, answer
from cim_hal.server.driver import messages
from cim_hal.server.driver.calls import DriverCalls
from cim_hal.server.driver.messages import Pipe, PipeClosedError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cim_hal.machine.driver import Driver
    from cim_hal.machine.lowering import Lowering
    from cim_hal.ownership import Claim
    from cim_hal.protocol.wire.base import Message

__all__ = ["main"]

HEARTBEAT_S = 0.25

log = logging.getLogger(__name__)


class _Task(NamedTuple):
    """A request with the token that stops its call."""

    request: Packet
    token: StopToken


def main(fd: int, claim: Claim) -> None:
    """Serve the server at the other end of a socket; its keeper ends this process if need be."""
    pipe = Pipe(socket.socket(fileno=fd))
    # The keeper's signal that the server is gone wakes a main thread blocked in a call of the
    # system; the end of the pipe wakes the receiving thread.
    signal.signal(signal.SIGTERM, lambda *_: pipe.shutdown())
    faulthandler.enable(all_threads=False)
    _Service(pipe, claim).serve()


class _Service:
    """Calls the driver in the main thread; one thread receives, one sends heartbeats."""

    def __init__(self, pipe: Pipe, claim: Claim) -> None:
        self._pipe = pipe
        self._claim = claim
        self._tasks: SimpleQueue[_Task | None] = SimpleQueue()
        self._latest = NO_ID, StopToken()  # id and token of the latest request
        self._driver: Driver | None = None
        self._calls = DriverCalls()
        self._lowering: Lowering | None = None
        self._running: tuple[_Task, PartialReadouts] | None = None
        self._handlers: dict[str, Callable[[Driver, _Task], Packet]] = {
            "program": self._program,
            "run": self._run,
            "status": self._status,
            "calibrate": self._calibrate,
            "safe": self._safe,
        }

    def serve(self) -> None:
        """Carry out requests in order, until the server closes the driver or is gone."""
        threading.Thread(target=self._receive_all, daemon=True).start()
        while (task := self._tasks.get()) is not None:
            if task.request.body.t == "close":
                break
            self._perform(task)
            del task  # it may hold the arrays of a job
        if self._driver is not None:
            self._calls.close(self._driver)
        os._exit(0)  # whatever threads the driver has left behind

    def _receive_all(self) -> None:
        """Queue requests; carry out events at once, during a call too."""
        try:
            while True:
                self._dispatch(self._pipe.receive())
        except (PipeClosedError, ProtocolError):
            self._exit_as_orphan()

    def _dispatch(self, packet: Packet) -> None:
        if packet.kind is Kind.REQUEST:
            token = StopToken(lambda telemetry: self._report(packet, telemetry), self._deliver)
            self._latest = packet.id, token
            self._tasks.put(_Task(packet, token))
        elif packet.body.t == "safe_now":
            threading.Thread(target=self._safe_now, daemon=True).start()  # it may wait for a stop
        elif packet.body.t == "stop" and self._latest[0] == packet.id:
            self._latest[1].set()

    def _exit_as_orphan(self) -> None:
        """End this process now that its server is gone: in good order, or by force."""
        self._latest[1].set()
        self._tasks.put(None)
        threading.Event().wait(ORPHAN_S)  # the main thread ends the process
        self._safe_now()
        os._exit(1)

    def _perform(self, task: _Task) -> None:
        with suppress(PipeClosedError):  # the receiving thread sees it too
            try:
                self._pipe.send(self._attempt(task))
            except CimError as error:
                self._pipe.send(answer(task.request, messages.encode_error(error)))

    def _attempt(self, task: _Task) -> Packet:
        body = task.request.body
        if isinstance(body, messages.Open):
            return self._open(task, body)
        if self._driver is None:
            raise DriverFaultError(f"a {body.t} request came before the driver was opened")
        self._event(task.request, messages.Signal(t="begun"))
        return self._handlers[body.t](self._driver, task)

    def _event(self, request: Packet, body: Message, *arrays: NDArray[Any]) -> None:
        self._pipe.send(Packet(Kind.EVENT, request.id, body, buffers=arrays))

    # ---- requests ---------------------------------------------------------------------------

    def _open(self, task: _Task, request: messages.Open) -> Packet:
        logging.basicConfig(level=request.log_level, handlers=[_PipeHandler(self._pipe)])
        check_options(request.machine)
        if not is_emulated(request.machine.driver):
            self._claim.take()
        driver = _make(request)
        capabilities = self._calls("describe", driver.describe, Capabilities)
        self._calls = DriverCalls(is_quiet=request.is_restart)
        with nullcontext() if request.is_restart else suppress(CimError):
            self._calls("safe", driver.safe)
        self._driver = driver
        interval_s = min(HEARTBEAT_S, request.hang_s / 4)
        threading.Thread(target=self._send_heartbeats, args=[interval_s], daemon=True).start()
        return answer(task.request, messages.Opened(capabilities=capabilities, pid=os.getpid()))

    def _program(self, driver: Driver, task: _Task) -> Packet:
        body: Any = task.request.body
        self._lowering = messages.decode_couplings(task.request)
        program = messages.decode_program(body.program, self._lowering)
        self._calls("program", lambda: driver.program(program))
        return answer(task.request, messages.Done())

    def _run(self, driver: Driver, task: _Task) -> Packet:
        if self._lowering is None:
            raise DriverFaultError("a run came before its couplings: a bug of the server")
        body: Any = task.request.body
        program = messages.decode_program(body.program, self._lowering)
        self._running = task, PartialReadouts(program)
        try:
            readout = self._calls("run", lambda: driver.run(program, task.token), Readout)
        finally:
            self._running = None
        self._calls("run", lambda: readout.check(program))
        reply, arrays = messages.encode_readout(readout, with_trace=program.trace is not None)
        return answer(task.request, reply, *arrays)

    def _status(self, driver: Driver, task: _Task) -> Packet:
        telemetry = self._calls("status", driver.status, Telemetry)
        return answer(task.request, messages.CurrentTelemetry(telemetry=telemetry))

    def _calibrate(self, driver: Driver, task: _Task) -> Packet:
        made = self._calls("calibrate", lambda: driver.calibrate(task.token), Calibration)
        return answer(task.request, messages.Calibrated(calibration=made))

    def _safe(self, driver: Driver, task: _Task) -> Packet:
        self._calls("safe", driver.safe)
        return answer(task.request, messages.Done())

    # ---- at any time ------------------------------------------------------------------------

    def _safe_now(self) -> None:
        if self._driver is not None:
            with suppress(CimError):
                self._calls("safe", self._driver.safe)

    def _report(self, request: Packet, telemetry: Telemetry) -> None:
        if isinstance(telemetry, Telemetry):
            with suppress(PipeClosedError):
                self._event(request, messages.Report(telemetry=telemetry))

    def _deliver(self, values: NDArray[Any]) -> None:
        if self._running is None:
            return
        task, partial = self._running
        partial.check(values)
        with suppress(PipeClosedError):
            self._event(task.request, messages.PartialReadout(), messages.plain(values))

    def _send_heartbeats(self, interval_s: float) -> None:
        """Show that Python runs, and how far the latest call is."""
        with suppress(PipeClosedError):
            while True:
                call, token = self._latest
                self._pipe.send(Packet(Kind.EVENT, call, _heartbeat(token)))
                threading.Event().wait(interval_s)


class _PipeHandler(logging.Handler):
    """Sends log records to the server, whose log they join."""

    def __init__(self, pipe: Pipe) -> None:
        super().__init__()
        self._pipe = pipe
        self.setFormatter(logging.Formatter("%(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        """Send a record; one that cannot be sent is lost."""
        with suppress(PipeClosedError, CimError, ValueError, TypeError):
            text = self.format(record)[: messages.MAX_LOG_TEXT]
            line = messages.LogLine(name=record.name, level=record.levelno, text=text)
            self._pipe.send(Packet(Kind.EVENT, NO_ID, line))


def _heartbeat(token: StopToken) -> messages.Heartbeat:
    try:
        return messages.Heartbeat(progress=token.last_progress)
    except ValidationError:  # a driver may report anything as its progress
        return messages.Heartbeat()


def _make(request: messages.Open) -> Driver:
    driver = make_driver(request.machine)
    if not request.faults:
        return driver
    script = FaultScript.read(Path(request.faults))
    return FaultyDriver(driver, script, may_crash=True, jobs_before=request.jobs_before)
