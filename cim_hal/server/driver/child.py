"""One start of a driver's process, as its server holds it."""

from __future__ import annotations

import contextvars
import itertools
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import deque
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, NamedTuple

from cim_hal.errors import DriverFaultError
from cim_hal.server.driver.link import Link, LinkClosedError, LinkError

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from cim_hal.machine.lowering import Lowering

__all__ = ["Answer", "Child"]

# Before anything else: what the driver, or what it imports, prints must not be lost to us.
CODE = """
import json, os, sys
os.dup2(2, 1)
sys.path[:] = json.loads(sys.argv[2])
from cim_hal.server.driver.child_main import main
main()
"""
TAIL_BYTES = 16_384
MAX_SAID = 1500
MAX_LINE = 500
ABORT_S = 0.5  # to write a traceback, before it is killed
END_S = 2.0

log = logging.getLogger("cim_hal.driver")


class Answer(NamedTuple):
    """What the driver answered to a call."""

    kind: str
    fields: dict[str, Any]
    arrays: list[NDArray[Any]]


class Child:
    """A process with a driver, started by the constructor.

    Parameters
    ----------
    name : str
        Of the driver, for those who list processes.
    max_bytes : int
        Most bytes of arrays in one of its messages.
    hear : callable
        Takes what the driver says in the midst of a call: ``progress`` or ``telemetry``.

    Attributes
    ----------
    loaded : Lowering or None
        The couplings that it has.
    seen_at : float
        When it last showed that Python runs, by ``time.monotonic``.
    has_ended : Event
        Set by `wait`, when all is known of its end.
    """

    def __init__(
        self, name: str, *, max_bytes: int, hear: Callable[[dict[str, Any]], None]
    ) -> None:
        ours, theirs = socket.socketpair()
        flags = [f"-W{option}" for option in sys.warnoptions]
        command = [sys.executable, *flags, "-c", CODE, str(theirs.fileno())]
        with theirs:
            try:
                self._process = subprocess.Popen(  # noqa: S603
                    [*command, json.dumps(sys.path), f"cim-hal driver {name}"],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.PIPE,
                    pass_fds=[theirs.fileno()],
                    start_new_session=True,  # a Ctrl-C at our terminal is ours to handle
                )
            except OSError:
                ours.close()
                raise
        self.loaded: Lowering | None = None
        self.has_ended = threading.Event()
        self.seen_at = time.monotonic()
        self._hear = hear
        self._link = Link(ours, max_bytes=max_bytes)
        self._ids = itertools.count(1)
        self._answers: SimpleQueue[Answer | None] = SimpleQueue()
        self._tail: deque[bytes] = deque()
        self._context = contextvars.copy_context()
        self._reason = ""
        self._terminated_at: float | None = None
        self._closed_at: float | None = None  # its end of the link
        self._threads = [
            threading.Thread(target=target, name=f"cim-hal driver {what}", daemon=True)
            for what, target in (("answers", self._listen), ("stderr", self._read_stderr))
        ]
        for thread in self._threads:
            thread.start()

    @property
    def pid(self) -> int:
        """Number of the process."""
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        """Whether the process has not ended, and is not about to."""
        return self._terminated_at is None and self._process.poll() is None

    # ---- calls ------------------------------------------------------------------------------

    def ask(self, kind: str, *arrays: NDArray[Any], **fields: Any) -> int:
        """Begin a call, one at a time; return its number."""
        number = next(self._ids)
        self._context = contextvars.copy_context()  # what is logged meanwhile is about this call
        self.tell(kind, *arrays, id=number, **fields)
        return number

    def tell(self, kind: str, *arrays: NDArray[Any], **fields: Any) -> None:
        """Send what has no answer; to a process that has gone it is no mistake."""
        try:
            self._link.send(kind, *arrays, **fields)
        except LinkError as error:
            log.debug("%s did not arrive: %s", kind, error)

    def bound(self, max_bytes: int) -> None:
        """Take at most so many bytes of arrays in one message."""
        self._link.max_bytes = max_bytes

    def answer(self, number: int, *, timeout_s: float) -> Answer | None:
        """Wait for the answer to a call; None where it is not there yet.

        Raises
        ------
        DriverFaultError
            The process has ended, or is about to.
        """
        try:
            answer = self._answers.get(timeout=timeout_s)
        except Empty:
            return None
        if answer is None:
            self._answers.put(None)
            self.has_ended.wait(ABORT_S + END_S + 1)
            raise self.exit_error()
        return answer if answer.fields.pop("re", None) == number else None

    # ---- the end ----------------------------------------------------------------------------

    def terminate(self, reason: str) -> None:
        """Have the process ended by `watch`; the first reason stands."""
        if self._terminated_at is None and not self.has_ended.is_set():
            self._reason = reason
            self._terminated_at = time.monotonic()
            log.warning("the process of the driver %s: it is ended", reason)
            self._signal(signal.SIGABRT)  # it writes where it stands

    def watch(self, *, timeout_s: float) -> bool:
        """Wait for the end for so long, and see to it where it is due; whether it has come."""
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            pass
        else:
            return True
        now = time.monotonic()
        if self._terminated_at is not None and now > self._terminated_at + ABORT_S:
            self._signal(signal.SIGKILL)
        if self._closed_at is not None and now > self._closed_at + END_S:
            self.terminate("closed its connection and lived on")
        return False

    def shutdown(self, timeout_s: float) -> None:
        """Ask the process to end in good order, and wait for that."""
        self.tell("close", id=next(self._ids))
        if not self.has_ended.wait(timeout_s):
            self.terminate(f"did not close within {timeout_s:g} s")
            self.has_ended.wait(ABORT_S + END_S)

    def wait(self) -> None:
        """Let go of all that belongs to a process that has ended."""
        for thread in self._threads:
            thread.join(END_S)
        self._link.shut()
        for thread in self._threads:
            thread.join()
        self._link.close()
        self.has_ended.set()

    def exit_error(self) -> DriverFaultError:
        """Return what is known of the end."""
        status = self._process.returncode
        said, last_line = _stderr_tail(b"".join(self._tail).decode("utf-8", "replace"))
        facts: dict[str, Any] = {"stderr": said}
        if status is not None and status < 0:
            facts["signal"] = how = _name_of(-status)
            how = f"was ended by {how}"
        else:
            facts["exit_status"] = status
            how = f"ended with exit status {status}"
        return DriverFaultError(
            f"the process of the driver {self._reason or how}",
            hint=f"its last words: {last_line}" if last_line else "",
            **facts,
        )

    def resident_bytes(self) -> int | None:
        """Return the memory of the process, where the system tells."""
        try:
            pages = int(Path(f"/proc/{self.pid}/statm").read_text(encoding="ascii").split()[1])
        except (OSError, ValueError, IndexError):
            return None
        return pages * os.sysconf("SC_PAGE_SIZE")

    # ---- threads ----------------------------------------------------------------------------

    def _listen(self) -> None:
        try:
            while True:
                kind, fields, arrays = self._link.receive()
                self.seen_at = time.monotonic()
                self._take(kind, fields, arrays)
        except LinkClosedError:
            self._closed_at = time.monotonic()
        except LinkError as error:
            self.terminate(f"did not keep to the format: {error}")
        except Exception as error:
            log.exception("a message of the driver could not be taken")
            self.terminate(f"sent what cannot be: {type(error).__name__}")
        finally:
            self._answers.put(None)

    def _take(self, kind: str, fields: dict[str, Any], arrays: list[NDArray[Any]]) -> None:
        match kind:
            case "beat" | "report":
                self._hear(fields)
            case "log":
                name, level, text = str(fields["name"]), int(fields["level"]), str(fields["text"])
                self._context.run(logging.getLogger(name).log, level, "%s", text)
            case _:
                self._answers.put(Answer(kind, fields, arrays))

    def _read_stderr(self) -> None:
        stream = self._process.stderr
        if stream is None:
            return
        with stream:
            while chunk := os.read(stream.fileno(), 65536):
                self._tail.append(chunk[-TAIL_BYTES:])
                while len(self._tail) > 1 and sum(map(len, self._tail)) > 2 * TAIL_BYTES:
                    self._tail.popleft()
                if log.isEnabledFor(logging.INFO):
                    for line in chunk.decode("utf-8", "replace").splitlines():
                        log.info("%s", line[:MAX_LINE])

    def _signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)  # harmless where it has been waited for


def _stderr_tail(text: str) -> tuple[str, str]:
    """Return the end of what was written on stderr, or what Python wrote of a crash; and a line."""
    fatal = text.rfind("Fatal Python error")
    if fatal >= 0:
        said = text[fatal : fatal + MAX_SAID]
        return said, said.partition("\n")[0]
    said = text[-MAX_SAID:]
    return said, said.strip().rpartition("\n")[2][:200]


def _name_of(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
