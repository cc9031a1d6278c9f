"""A server in this process: the same core, the packet itself instead of its bytes."""

from __future__ import annotations

import math
import threading
import time
from typing import TYPE_CHECKING

from cim_hal.errors import ClosedError, TransportTimeoutError
from cim_hal.server.station import TICK_S, Station

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable

    from cim_hal.machine.driver import Driver
    from cim_hal.protocol.effects import Reply
    from cim_hal.protocol.limits import Limits
    from cim_hal.protocol.packet import Packet

__all__ = ["LocalTransport"]

PEER = b"local"


class LocalTransport:
    """Calls a driver in this process; any thread may use it.

    Parameters
    ----------
    driver : Driver
        The transport closes it.
    limits : Limits
    """

    def __init__(self, driver: Driver, limits: Limits | None = None) -> None:
        self._changed = threading.Condition(threading.RLock())
        self._replies: dict[bytes, Packet] = {}
        self._wanted: set[bytes] = set()
        self._is_closed = False
        with self._changed:  # the driver may speak before its station is there
            self._station = Station(driver, self._settle, limits)

    def exchange(self, request: Packet, *, patience_s: float) -> Packet:
        """Hand a request to the core and wait for its reply."""
        deadline = time.monotonic() + patience_s
        with self._changed:
            if self._is_closed:
                raise ClosedError("the session is closed", hint="open another one")
            self._wanted.add(request.id)
            try:
                self._keep(self._station.receive(PEER, request))
                while request.id not in self._replies:
                    if time.monotonic() > deadline:
                        raise TransportTimeoutError("the machine in this process gave no answer")
                    self._changed.wait(TICK_S)
                    self._settle()
                return self._replies[request.id]
            finally:
                self._wanted.discard(request.id)
                self._replies.pop(request.id, None)

    def pipeline(
        self,
        requests: Iterable[Packet],
        *,
        window: int,
        patience_s: float,
        total_s: float = math.inf,
    ) -> Generator[Packet]:
        """Answer one request after another: here nothing is gained by sending ahead."""
        del window
        until = time.monotonic() + total_s
        for request in requests:
            left_s = max(until - time.monotonic(), 0.0)
            yield self.exchange(request, patience_s=min(patience_s, left_s))

    def close(self) -> None:
        """Stop what runs and close the driver."""
        with self._changed:
            was_closed, self._is_closed = self._is_closed, True
        if not was_closed:
            self._station.close()

    def _settle(self) -> None:
        with self._changed:
            self._keep(self._station.settle())
            self._changed.notify_all()

    def _keep(self, replies: Iterable[Reply]) -> None:
        # A reply to a caller that gave up is dropped.
        wanted = (reply.packet for reply in replies if reply.packet.id in self._wanted)
        self._replies.update((packet.id, packet) for packet in wanted)
