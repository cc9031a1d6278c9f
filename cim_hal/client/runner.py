"""Does the steps of a conversation in the thread that asks for it."""

from __future__ import annotations

import os
import threading
import time
from contextlib import closing
from typing import TYPE_CHECKING, Any, TypeVar

from cim_hal.client.steps import Compute, Exchange, Exclusive, Pipeline, Receive, Sleep, Subscribe
from cim_hal.errors import CimError, ClosedError, LocalProtocolError, TransportTimeoutError

if TYPE_CHECKING:
    from collections.abc import Callable

    from cim_hal.client.steps import Step, Steps
    from cim_hal.client.transport.base import Transport

__all__ = ["Runner"]

T = TypeVar("T")


class Runner:
    """Runs conversations over a transport that it opens when it is needed; any thread may.

    Parameters
    ----------
    open_transport : callable
        Returns the transport; the runner closes it.
    """

    def __init__(self, open_transport: Callable[[], Transport]) -> None:
        self._open = open_transport
        self._transport: Transport | None = None
        self._is_closed = False
        self._pid = os.getpid()
        self._opening = threading.Lock()
        self._turn = threading.Lock()

    @property
    def is_usable(self) -> bool:
        """Whether there is an open transport, of this process."""
        return os.getpid() == self._pid and self._transport is not None and not self._is_closed

    @property
    def transport(self) -> Transport:
        """The transport.

        Raises
        ------
        LocalProtocolError
            The process was forked since.
        ClosedError
            It is closed.
        """
        self.check_process()  # before any lock: a child may have inherited it locked
        with self._opening:
            if self._is_closed:
                raise ClosedError("the session is closed", hint="open another one")
            if self._transport is None:
                self._transport = self._open()
            return self._transport

    def check_process(self) -> None:
        """Raise `LocalProtocolError` where the process was forked since."""
        if os.getpid() != self._pid:
            raise LocalProtocolError(
                "the session was opened before a fork, and used after it",
                hint="open a session in the child process",
            )

    def close(self) -> None:
        """Close the transport; in a forked child this does nothing."""
        if os.getpid() != self._pid:
            return
        with self._opening:
            self._is_closed, transport = True, self._transport
        if transport is not None:
            transport.close()

    def run(self, steps: Steps[T]) -> T:
        """Do all steps and return the result of the conversation."""
        transport, outcome, error = self.transport, None, None
        with closing(steps):
            while True:
                try:
                    step = steps.send(outcome) if error is None else steps.throw(error)
                except StopIteration as end:
                    return end.value
                outcome, error = None, None
                try:
                    outcome = self._do(step, transport)
                except CimError as caught:
                    error = caught

    def _do(self, step: Step, transport: Transport) -> Any:  # noqa: PLR0911  one for each step
        match step:
            case Exchange():
                return transport.exchange(step.packet, timeout_s=step.timeout_s)
            case Pipeline():
                return _send_all(step, transport)
            case Subscribe():
                return transport.subscribe(step.packet, timeout_s=step.timeout_s)
            case Receive():
                return step.line.next(timeout_s=step.timeout_s)
            case Sleep():
                return time.sleep(step.seconds)
            case Exclusive():
                return self._alone(step)
            case Compute():
                return step.work()

    def _alone(self, step: Exclusive) -> Any:
        if not self._turn.acquire(timeout=min(step.timeout_s, threading.TIMEOUT_MAX)):
            raise TransportTimeoutError("another thread waits for the server")
        try:
            return self.run(step.steps)
        finally:
            self._turn.release()


def _send_all(step: Pipeline, transport: Transport) -> None:
    replies = transport.pipeline(
        step.packets, window=step.window, timeout_s=step.timeout_s, total_s=step.total_s
    )
    with closing(replies):  # at once, and not when the traceback of an error goes
        for reply in replies:
            step.take(reply)
