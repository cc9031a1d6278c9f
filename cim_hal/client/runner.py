"""Carries out the steps of a client, in the thread that calls it."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, closing, nullcontext
from functools import wraps
from inspect import signature
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, Protocol, TypeVar

from cim_hal.client import interrupts
from cim_hal.client.interrupts import CallCancelledError
from cim_hal.client.steps import Exchange, Exclusive, Pipeline, Receive, Sleep, Subscribe
from cim_hal.client.transport.base import closed_error
from cim_hal.errors import CimError, LocalProtocolError, TransportTimeoutError

if TYPE_CHECKING:
    from cim_hal.client.requests import RequestClient
    from cim_hal.client.steps import Step, Steps
    from cim_hal.client.transport.base import Transport
    from cim_hal.protocol.wire.messages import Message

__all__ = ["Runner", "Runs", "SessionPart", "blocking"]

T = TypeVar("T")
P = ParamSpec("P")
Answer = TypeVar("Answer", bound="Message")


class Runs(Protocol):
    """An object whose methods are made of steps."""

    def _run(self, steps: Steps[T]) -> T:
        """Carry out steps and return their result."""
        ...


S = TypeVar("S", bound=Runs)


def blocking(method: Callable[Concatenate[S, P], Steps[T]]) -> Callable[Concatenate[S, P], T]:
    """Make a method that returns steps one that carries them out and returns their result."""

    @wraps(method)
    def call(self: S, *args: P.args, **kwargs: P.kwargs) -> T:
        return self._run(method(self, *args, **kwargs))

    result = str(method.__annotations__["return"]).removeprefix("Steps[").removesuffix("]")
    call.__annotations__ = method.__annotations__ | {"return": result}
    vars(call)["__signature__"] = signature(method).replace(return_annotation=result)
    return call


class Runner:
    """Carries out steps over a transport that it opens at the first use; any thread may call it."""

    def __init__(self, open_transport: Callable[[], Transport]) -> None:
        self._open = open_transport
        self._transport: Transport | None = None
        self._is_closed = False
        self._pid = os.getpid()
        self._opening = threading.Lock()
        self._turn = threading.Lock()
        self._sleeping: set[threading.Event] = set()

    @property
    def is_usable(self) -> bool:
        """Whether there is an open transport, of this process."""
        return not self.is_forked and self._transport is not None and not self._is_closed

    @property
    def is_forked(self) -> bool:
        """Whether this is a process that was forked since."""
        return os.getpid() != self._pid

    @property
    def transport(self) -> Transport:
        """The transport; an error where it is closed, or the process was forked since."""
        self.check_process()  # before any lock: a child may have inherited it locked
        with self._opening:
            if self._is_closed:
                raise closed_error()
            if self._transport is None:
                self._transport = self._open()
            return self._transport

    def check_process(self) -> None:
        """Raise `LocalProtocolError` if the process was forked since."""
        if self.is_forked:
            raise LocalProtocolError(
                "the session was opened before a fork, and used after it",
                hint="open a session in the child process",
            )

    def close(self) -> None:
        """Close the transport; whoever waits or sleeps gets a `ClosedError`.

        In a forked child this does nothing.
        """
        if self.is_forked:
            return
        with self._opening:
            self._is_closed, transport = True, self._transport
        for woken in self._sleeping.copy():
            woken.set()
        if transport is not None:
            transport.close()

    def run(self, steps: Steps[T]) -> T:
        """Carry out all steps and return their result."""
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
                except (CimError, CallCancelledError) as caught:
                    error = caught

    def _do(self, step: Step, transport: Transport) -> Any:
        match step:
            case Exchange():
                with _observed(step):
                    return transport.exchange(step.packet, timeout_s=step.timeout_s)
            case Pipeline():
                return _send_all(step, transport)
            case Subscribe():
                return transport.subscribe(step.packet, timeout_s=step.timeout_s)
            case Receive():
                return step.stream.next(timeout_s=step.timeout_s)
            case Sleep():
                with _observed(step):
                    return self._sleep(step.seconds)
            case Exclusive():
                return self._exclusive(step)

    def _exclusive(self, step: Exclusive) -> Any:
        if not interrupts.acquire(self._turn, step.timeout_s):
            raise TransportTimeoutError("another thread waits for the server")
        try:
            with interrupts.observing(None):
                return self.run(step.steps)
        finally:
            self._turn.release()

    def _sleep(self, seconds: float) -> None:
        """Sleep; raise `ClosedError` if the session is closed meanwhile."""
        woken = threading.Event()
        self._sleeping.add(woken)
        try:
            if not self._is_closed:  # else `close` may not have seen the event
                interrupts.wait(woken, seconds)
        finally:
            self._sleeping.discard(woken)
        if self._is_closed:
            raise closed_error()


class SessionPart:
    """Base of the classes that hold the methods of a session, one class for each subject."""

    _runner: Runner
    _client: RequestClient

    def _run(self, steps: Steps[T]) -> T:
        return self._runner.run(steps)

    def _ask(self, body: Message, expected: type[Answer], timeout_s: float | None = None) -> Answer:
        """Send a request and return its answer."""
        deadline = self._client.deadline(timeout_s)
        return self._run(self._client.ask(body, expected, deadline=deadline))


def _observed(step: Exchange | Sleep) -> AbstractContextManager[None]:
    """Let a cancelled call leave a step, unless it has to be carried out to its end."""
    return interrupts.observing(None) if step.to_end else nullcontext()


def _send_all(step: Pipeline, transport: Transport) -> None:
    replies = transport.pipeline(
        step.packets, window=step.window, timeout_s=step.timeout_s, total_s=step.total_s
    )
    with closing(replies):  # at once, and not when the traceback of an error goes
        for reply in replies:
            step.take(reply)
