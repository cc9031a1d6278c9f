"""A driver in a process of its own, behind the interface of any driver."""

from __future__ import annotations

import os
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from cim_hal.errors import DriverFaultError, JobCancelledError, RemoteProtocolError, rebuild
from cim_hal.machine.config import MachineConfig
from cim_hal.machine.driver import Driver
from cim_hal.protocol.wire.base import ErrorMessage
from cim_hal.protocol.wire.packet import ID_BYTES, Kind, Packet
from cim_hal.server.driver import messages
from cim_hal.server.driver.calls import NeverBegunError
from cim_hal.server.driver.supervisor import DriverOptions, Supervisor

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cim_hal.machine.capabilities import Capabilities
    from cim_hal.machine.driver import Program, Readout, StopToken
    from cim_hal.machine.telemetry import Calibration, DriverState, Telemetry
    from cim_hal.server.driver.child import Child

__all__ = ["DriverProcess"]

POLL_S = 0.02
HELD_S = 2.0  # without a sign of life, of which there are four a second, in an emergency
CALL_S = 60.0  # limit of `program` and `status`

ATTEMPTS = 3  # at a call that no driver has begun, because the process ended before

Result = TypeVar("Result")


class _NotBegunError(DriverFaultError):
    """The process ended before its driver began the call, which may be repeated in the next."""


class _Call(NamedTuple):
    """A call under way."""

    id: bytes
    stop: StopToken | None


class DriverProcess(Driver):
    """Calls a driver in another process, and keeps that process alive.

    Every call ends, whatever happens to the process: with a result, or with a `DriverFaultError`
    that says how the process ended. The process is then restarted after a pause; meanwhile calls
    wait. After several failed starts they are refused. `target` is the name of an installed driver,
    ``module:factory`` or a machine file; `faults` is the path of a fault script, empty for none.
    """

    def __init__(
        self,
        target: str | os.PathLike[str] | MachineConfig,
        *,
        faults: str = "",
        options: DriverOptions | None = None,
    ) -> None:
        self._options = options or DriverOptions()
        config = MachineConfig.of(target)
        self._supervisor = Supervisor(config, faults, self._options, self._on_report)
        self._calling = threading.Lock()
        # Written by the thread that holds the lock; the child's receiving thread reads it once
        # for each message, so that id and stop token always belong together.
        self._call: _Call | None = None

    @property
    def pid(self) -> int | None:
        """Number of the process; None while there is none."""
        child = self._supervisor.child
        return child.pid if child else None

    def describe(self) -> Capabilities:
        """Start the process, and return what its driver describes.

        `TargetError` if the driver is not known, or cannot be made; `DriverFaultError` if the
        process ended, or was not ready in time.
        """
        return self._supervisor.start()

    def program(self, program: Program) -> None:
        """Send the couplings, and have the driver program them."""
        self._retry(lambda: self._load(self._supervisor.ready(), program))

    def run(self, program: Program, stop: StopToken) -> Readout:
        """Run a program; couplings that the process does not hold are sent before."""
        self._supervisor.n_runs += 1
        readout = self._retry(lambda: self._run(program, stop))
        self._supervisor.reset_backoff()
        return readout

    def status(self) -> Telemetry:
        """Ask the driver for telemetry; `UnavailableError` while the process restarts."""
        child = self._supervisor.child
        if child is None:
            raise self._supervisor.unavailable()
        try:
            reply = self._request(child, messages.Call(t="status"), limit_s=CALL_S)
        except _NotBegunError:
            raise self._supervisor.unavailable() from None
        return _expect(messages.CurrentTelemetry, reply, child).telemetry

    def calibrate(self, stop: StopToken) -> Calibration:
        """Have the driver calibrate the machine."""

        def calibrate_once() -> Calibration:
            child = self._supervisor.ready(stop)
            request, limit_s = messages.Call(t="calibrate"), self._options.calibrate_s
            reply = self._request(child, request, stop=stop, limit_s=limit_s)
            return _expect(messages.Calibrated, reply, child).calibration

        return self._retry(calibrate_once)

    def safe(self) -> None:
        """Have the driver make the machine safe, during another call if there is one.

        If the process has ended, the next one makes the machine safe when it starts. So it does
        where a call holds the interpreter, or `safe` takes longer than the grace, for then the
        process is ended.
        """
        child = self._supervisor.child
        if child is None:
            return
        if not self._calling.acquire(blocking=False):
            signal = messages.Signal(t="safe_now")  # in a thread: the pipe may be full of couplings
            threading.Thread(target=child.notify, args=[signal], daemon=True).start()
            _end_unless_alive(child)
            return
        try:
            self._exchange(child, messages.Call(t="safe"), limit_s=self._options.grace_s)
        except DriverFaultError:
            if not child.has_ended.is_set():
                raise
        finally:
            self._calling.release()

    def wait_until_ready(self, stop: StopToken) -> None:
        """Wait while the process restarts; `UnavailableError` after several failed starts."""
        self._supervisor.ready(stop)

    def rebuild(self, reason: str) -> None:
        """Close the driver, which has lost its machine, and restart the process after a pause."""
        self._supervisor.rebuild(reason)

    def close(self) -> None:
        """Close the driver and end the process, by force if need be."""
        self._supervisor.close()

    def subscribe(self, publish: Callable[[DriverState], None]) -> None:
        """Call `publish` with the state of the process now and at each change."""
        self._supervisor.subscribe(publish)

    # ---- calls ------------------------------------------------------------------------------

    def _load(self, child: Child, program: Program) -> None:
        body, arrays = messages.encode_couplings(program)
        reply = self._request(child, body, *arrays, limit_s=CALL_S)
        _expect(messages.Done, reply, child)
        child.loaded = program.lowering

    def _run(self, program: Program, stop: StopToken) -> Readout:
        child = self._supervisor.ready(stop)
        if child.loaded is not program.lowering:
            self._load(child, program)
        described = self._supervisor.capabilities
        limit_s = self._options.run_s or (described.max_run_s if described else None)
        request = messages.Run(program=messages.encode_program(program))
        reply = self._request(child, request, stop=stop, limit_s=limit_s)
        _expect(messages.Readout, reply, child)
        try:
            return messages.decode_readout(reply)
        except RemoteProtocolError as error:
            raise _unexpected(str(error), child) from None

    def _retry(self, call: Callable[[], Result]) -> Result:
        """Call again if no driver has begun the call."""
        for _ in range(ATTEMPTS - 1):
            try:
                return call()
            except _NotBegunError:
                continue
        return call()

    def _request(
        self,
        child: Child,
        body: Any,
        *arrays: NDArray[Any],
        stop: StopToken | None = None,
        limit_s: float | None = None,
    ) -> Packet:
        """Make a call once no other one is under way, and return the reply.

        `DriverFaultError` if the process ended, or took longer than `limit_s`; `JobCancelledError`
        if `stop` was set: by the driver, or because its process was ended for ignoring it.
        """
        with self._calling:
            return self._exchange(child, body, *arrays, stop=stop, limit_s=limit_s)

    def _exchange(
        self,
        child: Child,
        body: Any,
        *arrays: NDArray[Any],
        stop: StopToken | None = None,
        limit_s: float | None = None,
    ) -> Packet:
        """Make a call and wait for its reply; the caller holds the lock."""
        self._call = call = _Call(secrets.token_bytes(ID_BYTES), stop)
        timeout = _CallTimeout(child, call, body.t, limit_s, self._options.grace_s)
        reply, has_begun = None, False
        try:
            child.request(Packet(Kind.REQUEST, call.id, body, buffers=arrays))
            while reply is None or reply.kind is Kind.EVENT:
                timeout.check()
                has_begun = has_begun or reply is not None
                reply = child.receive(call.id, timeout_s=POLL_S)
                if stop is not None and reply and isinstance(reply.body, messages.PartialReadout):
                    stop.deliver(*reply.buffers)
        except DriverFaultError as error:
            if timeout.is_stopping:
                sentence = "the job was cancelled; its driver did not heed that, and was ended"
                kind = JobCancelledError if has_begun else NeverBegunError
                raise kind(sentence) from None
            if has_begun:
                raise
            raise rebuild(_NotBegunError, error.message, error.hint, error.details) from None
        finally:
            self._call = None
        if isinstance(reply.body, ErrorMessage):
            raise messages.decode_error(reply.body)
        return reply

    def _on_report(self, packet: Packet) -> None:
        """Handle telemetry and progress of the call under way; runs in the receiving thread."""
        call = self._call
        body = packet.body
        if call is None or call.stop is None or packet.id != call.id:
            return
        if isinstance(body, messages.Report):
            call.stop.report(body.telemetry)
        elif isinstance(body, messages.Heartbeat) and body.progress is not None:
            call.stop.progress(*body.progress)


@dataclass
class _CallTimeout:
    """Forwards a stop, and ends a process that ignores it or takes too long for a call."""

    child: Child
    call: _Call
    kind: str
    limit_s: float | None
    grace_s: float
    began: float = field(default_factory=time.monotonic)
    stopping_since: float | None = None

    @property
    def is_stopping(self) -> bool:
        """Whether a stop was forwarded."""
        return self.stopping_since is not None

    def check(self) -> None:
        """Do what is due by now."""
        now = time.monotonic()
        if self.call.stop is not None and self.call.stop.is_set():
            if self.stopping_since is None:
                self.stopping_since = now
                self.child.notify(messages.Signal(t="stop"), self.call.id)
            elif now - self.stopping_since > self.grace_s:
                self.child.terminate(f"did not heed a stop within {self.grace_s:g} s")
        elif self.limit_s is not None and now - self.began > self.limit_s:
            self.child.terminate(f"hung: {self.kind} took longer than {self.limit_s:g} s")


def _end_unless_alive(child: Child) -> None:
    """End a process that shows no sign of life in an emergency: it cannot make anything safe."""
    seen, deadline = child.last_seen, time.monotonic() + HELD_S
    while child.is_alive and child.last_seen == seen:
        if time.monotonic() > deadline:
            child.terminate(f"held the interpreter for {HELD_S:g} s in an emergency")
            return
        time.sleep(POLL_S)


def _expect(expected: type[Result], reply: Packet, child: Child) -> Result:
    if isinstance(reply.body, expected):
        return reply.body
    raise _unexpected(reply.body.t, child)


def _unexpected(what: str, child: Child) -> DriverFaultError:
    child.terminate(f"sent an unexpected reply: {what}")
    return DriverFaultError(f"the process of the driver sent an unexpected reply: {what}")
