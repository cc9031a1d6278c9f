"""One operating-system process with a driver, as the server holds it."""

from __future__ import annotations

import contextvars
import json
import logging
import os
import re
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

from cim_hal.errors import DriverFaultError, ProtocolError
from cim_hal.ownership import MARK, end_marked
from cim_hal.protocol.wire.packet import NO_ID, Kind, Packet
from cim_hal.server.driver import messages
from cim_hal.server.driver.messages import Pipe, PipeClosedError

if TYPE_CHECKING:
    from cim_hal.errors import CimError
    from cim_hal.machine.lowering import Lowering

__all__ = ["Child", "calls_under_way"]

# First of all: output of the driver, and of what it imports, must reach our pipe of stderr. The
# keeper forks before anything else is imported.
CODE = """
import json, os, pathlib, sys
os.dup2(2, 1)
pipe, server, lock = int(sys.argv[1]), int(sys.argv[2]), pathlib.Path(sys.argv[3])
sys.path[:] = json.loads(sys.argv[4])
from cim_hal.keeper import keep
claim = keep(pipe, lock, server)
from cim_hal.server.driver.child_main import main
main(pipe, claim)
"""
FATAL = "Fatal Python error"  # begins what Python writes about a crash, with all calls
TAIL_BYTES = 16_384
MAX_STDERR = 1500  # characters, in an error
MAX_LINE = 500
FRAME = re.compile(r'File "([^"\n]+)", line (\d+) in (\S+)')
LIBRARY = Path(os.__file__).parent
KEEPER_S = 2.0  # for the keeper to end the driver, before it is killed itself
END_S = 2.0

log = logging.getLogger("cim_hal.driver")


class Child:
    """A process with a driver, and its keeper, started by the constructor.

    The keeper is our child; it ends as the driver does, once nothing is left of it. Two
    threads of its own receive messages, of `max_bytes` at most, and read stderr. The thread that
    made it calls `poll` and `wait`; any thread may call the other methods. `on_report` receives
    heartbeats and telemetry that arrive during a call, in the receiving thread.
    """

    def __init__(
        self, name: str, lock: Path, *, max_bytes: int, on_report: Callable[[Packet], None]
    ) -> None:
        ours, theirs = socket.socketpair()
        flags = [f"-W{option}" for option in sys.warnoptions]
        command = [sys.executable, *flags, "-c", CODE, str(theirs.fileno()), str(os.getpid())]
        self._token = secrets.token_hex(16)
        with theirs:
            try:
                self._process = subprocess.Popen(  # noqa: S603
                    [*command, str(lock), json.dumps(sys.path), f"cim-hal driver {name}"],
                    stdin=subprocess.PIPE,  # closed by our end, whatever that is
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.PIPE,
                    pass_fds=[theirs.fileno()],
                    env=os.environ | {MARK: self._token},
                    start_new_session=True,  # Ctrl-C in our terminal is for us alone
                )
            except OSError:
                ours.close()
                raise
        self.pid = self._process.pid  # of the keeper, until the driver has told its own
        self.loaded: Lowering | None = None  # the couplings that the process holds
        self.has_ended = threading.Event()  # set when all facts about the end are known
        self.last_seen = time.monotonic()
        self._on_report = on_report
        self._pipe = Pipe(ours, max_bytes=max_bytes)
        self._received: SimpleQueue[Packet | None] = SimpleQueue()  # None after the last
        self._stderr: deque[bytes] = deque()
        self._context = contextvars.copy_context()
        self._reason = ""
        self._terminated_at: float | None = None
        self._closed_at: float | None = None  # its end of the pipe
        self._threads = [
            threading.Thread(target=target, name=f"cim-hal driver {what}", daemon=True)
            for what, target in (("messages", self._receive_all), ("stderr", self._read_stderr))
        ]
        for thread in self._threads:
            thread.start()

    @property
    def is_alive(self) -> bool:
        """Whether the process runs and is not about to be ended."""
        return self._terminated_at is None and self._process.poll() is None

    # ---- calls ------------------------------------------------------------------------------

    def request(self, packet: Packet) -> None:
        """Send a request, one at a time; lines that the driver logs from now on belong to it."""
        self._context = contextvars.copy_context()
        self._send(packet)

    def notify(self, event: messages.Signal, call: bytes = NO_ID) -> None:
        """Send an event, for a call with that id."""
        self._send(Packet(Kind.EVENT, call, event))

    def limit(self, max_bytes: int) -> None:
        """Accept messages up to this size."""
        self._pipe.max_bytes = max_bytes

    def receive(self, call: bytes, *, timeout_s: float) -> Packet | None:
        """Return the next event or the reply of a call; None if none arrives in time.

        `DriverFaultError` if the process has ended, or is being ended.
        """
        try:
            packet = self._received.get(timeout=timeout_s)
        except Empty:
            return None
        if packet is None:
            self._received.put(None)
            self.has_ended.wait(KEEPER_S + END_S + 1)
            raise self.exit_error()
        return packet if packet.id == call else None

    # ---- the end ----------------------------------------------------------------------------

    def terminate(self, reason: str) -> None:
        """End the process: its keeper does so, with SIGABRT first, which writes a traceback.

        The first reason stands in the error.
        """
        if self._terminated_at is None and not self.has_ended.is_set():
            self._reason = reason
            self._terminated_at = time.monotonic()
            log.warning("the process of the driver %s: it is ended", reason)
            self._signal(signal.SIGABRT)

    def poll(self, *, timeout_s: float) -> bool:
        """Wait so long for the end and return whether it came; kill the process when it is due."""
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            pass
        else:
            return True
        now = time.monotonic()
        if self._terminated_at is not None and now > self._terminated_at + KEEPER_S:
            self._signal(signal.SIGKILL)
        if self._closed_at is not None and now > self._closed_at + END_S:
            self.terminate("closed its connection and lived on")
        return False

    def close(self) -> None:
        """Ask the process to close its driver and exit."""
        self._send(Packet(Kind.REQUEST, NO_ID, messages.Call(t="close")))

    def shutdown(self, timeout_s: float) -> None:
        """Close the driver and wait for the end of the process; after `timeout_s` force it."""
        self.close()
        if not self.has_ended.wait(timeout_s):
            self.terminate(f"did not close within {timeout_s:g} s")
            self.has_ended.wait(KEEPER_S + END_S)

    def wait(self) -> None:
        """End what a keeper that was killed has left, and release what belongs to the process.

        A thread that cannot be ended, because somebody else holds its pipe, is left behind.
        """
        end_marked(self._token)
        messages_thread, stderr_thread = self._threads
        messages_thread.join(END_S)
        self._pipe.shutdown()
        for thread in (messages_thread, stderr_thread):
            thread.join(END_S)
        self._pipe.close()
        if self._process.stdin:
            self._process.stdin.close()
        self.has_ended.set()

    def exit_error(self) -> DriverFaultError:
        """Return the error that tells how the process ended."""
        status = self._process.returncode
        text, place, last_line = _stderr_tail(b"".join(self._stderr).decode("utf-8", "replace"))
        details: dict[str, Any] = {"stderr": text}
        if status is not None and status < 0:
            details["signal"] = name = _signal_name(-status)
            how = f"was ended by {name}"
        else:
            details["exit_status"] = status
            how = f"ended with exit status {status}"
        said = ", ".join(each for each in (self._reason or how, place and f"in {place}") if each)
        hint = "" if place and self._reason else last_line and f"its last words: {last_line}"
        return DriverFaultError(f"the process of the driver {said}", hint=hint, **details)

    # ---- threads ----------------------------------------------------------------------------

    def _receive_all(self) -> None:
        try:
            while True:
                packet = self._pipe.receive()
                self.last_seen = time.monotonic()
                self._dispatch(packet)
        except PipeClosedError:
            self._closed_at = time.monotonic()
        except ProtocolError as error:
            self.terminate(f"did not keep to the format: {error}")
        except Exception as error:
            log.exception("a message of the driver could not be handled")
            self.terminate(f"sent a message that cannot be handled: {type(error).__name__}")
        finally:
            self._received.put(None)

    def _dispatch(self, packet: Packet) -> None:
        match body := packet.body:
            case messages.Heartbeat() | messages.Report():
                self._on_report(packet)
            case messages.LogLine():
                logger = logging.getLogger(body.name)
                self._context.run(logger.log, body.level, "%s", body.text)
            case _:
                if isinstance(body, messages.Opened):
                    self.pid = body.pid
                self._received.put(packet)

    def _read_stderr(self) -> None:
        stream = self._process.stderr
        if stream is None:
            return
        with stream:
            while chunk := os.read(stream.fileno(), 65536):
                self._stderr.append(chunk[-TAIL_BYTES:])
                while len(self._stderr) > 1 and sum(map(len, self._stderr)) > 2 * TAIL_BYTES:
                    self._stderr.popleft()
                if log.isEnabledFor(logging.INFO):
                    for line in chunk.decode("utf-8", "replace").splitlines():
                        log.info("%s", line[:MAX_LINE])

    def _send(self, packet: Packet) -> None:
        try:
            self._pipe.send(packet)
        except PipeClosedError as error:  # the process has ended: the receiver sees it too
            log.debug("%s did not arrive: %s", packet.body.t, error)

    def _signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)  # does nothing once the process was waited for


def calls_under_way(error: CimError) -> list[str]:
    """Return the calls that ended with a process, the innermost first, as lines for the log."""
    text = str(error.details.get("stderr", ""))
    return [line for line in text.splitlines() if FRAME.search(line)] if FATAL in text else []


def _stderr_tail(text: str) -> tuple[str, str, str]:
    """Return the end of stderr, or what Python wrote about a crash; its place; its telling line.

    The place is that of the innermost call outside of Python's own library: ``bench.py line 30
    (read)``.
    """
    fatal = text.rfind(FATAL)
    if fatal >= 0:
        tail = text[fatal : fatal + MAX_STDERR]
        calls = FRAME.findall(tail)
        calls = [call for call in calls if not _is_of_python(call[0])] or calls
        places = [f"{Path(file).name} line {line} ({name})" for file, line, name in calls]
        return tail, "".join(places[:1]), tail.partition("\n")[0]
    tail = text[-MAX_STDERR:]
    return tail, "", tail.strip().rpartition("\n")[2][:200]


def _is_of_python(file: str) -> bool:
    return Path(file).is_relative_to(LIBRARY) and "site-packages" not in file


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
