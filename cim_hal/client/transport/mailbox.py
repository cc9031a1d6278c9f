"""Packets on their way from the thread that receives them to the thread that waits for them."""

from __future__ import annotations

import threading
from contextlib import nullcontext
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

from cim_hal.client.interrupts import current
from cim_hal.errors import CimError

if TYPE_CHECKING:
    from cim_hal.protocol.wire.packet import Packet

__all__ = ["Mailbox"]


class Mailbox:
    """A queue of packets for one waiting thread, which may end with an error."""

    def __init__(self) -> None:
        self._queue: SimpleQueue[Packet | CimError | None] = SimpleQueue()

    def put(self, item: Packet | CimError) -> None:
        """Add a packet, or the error that is raised where it would be taken."""
        self._queue.put(item)

    def wake(self) -> None:
        """Let the thread that waits return without a packet."""
        self._queue.put(None)

    def take(self, timeout_s: float) -> Packet | None:
        """Return the next packet; None after `timeout_s` or `wake`.

        Raises
        ------
        CimError
            It was put in.
        CallCancelledError
            The call of this thread was cancelled.
        """
        interrupt = current()
        with nullcontext() if interrupt is None else interrupt.waking(self.wake):
            try:
                item = self._queue.get(timeout=max(min(timeout_s, threading.TIMEOUT_MAX), 0.0))
            except Empty:
                return None
        if isinstance(item, CimError):
            raise item
        return item

    def newest(self, first: Packet) -> Packet:
        """Return the newest packet that waits, `first` if none does; older ones are dropped."""
        while not self._queue.empty():
            first = self.take(0.0) or first
        return first
