"""Threads for calls that block, as many as there are calls at a time."""

from __future__ import annotations

import threading
import time
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Workers"]

IDLE_S = 5.0  # a thread that had nothing to do for so long ends


class Workers:
    """Runs each call in a thread at once; a thread that is idle takes the next call.

    Unlike those of `concurrent.futures` the threads are daemons: a process whose calls still wait
    can end. `submit` belongs to one thread.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._calls: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._idle = threading.Semaphore(0)
        self._threads: list[threading.Thread] = []

    def submit(self, call: Callable[[], None]) -> None:
        """Run `call`, which raises nothing, in a thread."""
        self._calls.put(call)
        if self._idle.acquire(blocking=False):
            return
        self._threads = [thread for thread in self._threads if thread.is_alive()]
        thread = threading.Thread(
            target=_work, args=(self._calls, self._idle), name=self._name, daemon=True
        )
        thread.start()
        self._threads.append(thread)

    def close(self, timeout_s: float) -> None:
        """Wait for the calls that run, and end all threads; for another thread to call.

        A thread whose call has not ended after `timeout_s` ends with its call.
        """
        for _ in self._threads:
            self._calls.put(None)
        deadline = time.monotonic() + timeout_s
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join(max(deadline - time.monotonic(), 0.0))


def _work(calls: SimpleQueue[Callable[[], None] | None], idle: threading.Semaphore) -> None:
    """Run calls until None comes, or none for `IDLE_S`; knows the queue, not the owner."""
    while True:
        try:
            call = calls.get(timeout=IDLE_S)
        except Empty:
            if idle.acquire(blocking=False):
                return
            continue  # a call is on its way to this thread
        if call is None:
            return
        call()
        del call  # else it keeps what it refers to until the next
        idle.release()
