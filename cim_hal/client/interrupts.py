"""Cancellation of a call that blocks, from another thread.

An asyncio caller that is cancelled sets the `Interrupt` of its call; every wait of the thread that
runs the call observes it and raises `CallCancelledError`. Without an interrupt (the blocking
session) the waits are plain ones.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext

__all__ = ["CallCancelledError", "Interrupt", "acquire", "current", "observing", "wait"]

TURN_S = 0.05  # how often a thread that waits for a lock looks at its interrupt

_thread = threading.local()


class CallCancelledError(BaseException):
    """The call was cancelled; not an `Exception`, so that no retry takes it for an error."""


class Interrupt:
    """Set once, by any thread, to end the waits of one call."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self._lock = threading.Lock()
        self._wake: Callable[[], None] | None = None

    def set(self) -> None:
        """Cancel the call; it ends at its next wait, or in the present one."""
        self._event.set()
        with self._lock:
            wake = self._wake
        if wake is not None:
            wake()

    def check(self) -> None:
        """Raise `CallCancelledError` once it is set."""
        if self._event.is_set():
            raise CallCancelledError

    @contextmanager
    def waking(self, wake: Callable[[], None]) -> Iterator[None]:
        """Call `wake` if it is set within the block."""
        with self._lock:
            self._wake = wake
        try:
            self.check()  # after `wake` is registered: a set between the two would be missed
            yield
            self.check()
        finally:
            with self._lock:
                self._wake = None


def current() -> Interrupt | None:
    """Return the interrupt that the waits of this thread observe; None where there is none."""
    return getattr(_thread, "interrupt", None)


@contextmanager
def observing(interrupt: Interrupt | None) -> Iterator[None]:
    """Let the waits of this thread observe `interrupt` within the block; none if it is None."""
    before, _thread.interrupt = current(), interrupt
    try:
        yield
    finally:
        _thread.interrupt = before


def wait(event: threading.Event, timeout_s: float) -> None:
    """Wait for an event, no longer than `timeout_s`; an interrupt sets it.

    `CallCancelledError` if the call of this thread was cancelled.
    """
    interrupt = current()
    with nullcontext() if interrupt is None else interrupt.waking(event.set):
        event.wait(min(timeout_s, threading.TIMEOUT_MAX))


def acquire(lock: threading.Lock, timeout_s: float) -> bool:
    """Acquire a lock; return False if it is not free within `timeout_s`."""
    timeout_s = min(timeout_s, threading.TIMEOUT_MAX)
    interrupt = current()
    if interrupt is None:
        return lock.acquire(timeout=timeout_s)
    deadline = time.monotonic() + timeout_s
    while not lock.acquire(timeout=max(min(deadline - time.monotonic(), TURN_S), 0.0)):
        interrupt.check()
        if time.monotonic() >= deadline:
            return False
    return True
