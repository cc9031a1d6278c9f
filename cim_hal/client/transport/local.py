"""A server in this process: the same core, the packet itself instead of its bytes."""

from __future__ import annotations

import math
import threading
import time
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

from cim_hal.errors import ClosedError, TransportTimeoutError
from cim_hal.protocol.wire.packet import Kind
from cim_hal.server.service import TICK_S, Service

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable

    from cim_hal.machine.driver import Driver
    from cim_hal.protocol.effects import Reply
    from cim_hal.protocol.wire.limits import Limits
    from cim_hal.protocol.wire.packet import Packet

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
        self._lock = threading.RLock()
        self._takers: dict[bytes, Callable[[Packet], None]] = {}
        self._is_closed = False
        self._settled_at = 0.0
        with self._lock:  # the driver may speak before its service is there
            self._service = Service(driver, self.settle, limits)

    def post(self, request: Packet, take: Callable[[Packet], None]) -> None:
        """Hand a request to the core; `take` is called with its reply, now or in another thread."""
        with self._lock:
            self.check_open()
            if time.monotonic() - self._settled_at >= TICK_S:
                self.settle()  # nobody waited, and so let time pass
            self._takers[request.id] = take
            try:
                self._deliver(self._service.receive(PEER, request))
            except BaseException:
                self.forget(request.id)
                raise

    def forget(self, request_id: bytes) -> None:
        """Drop the reply to a request."""
        self._takers.pop(request_id, None)

    def check_open(self) -> None:
        """Raise `ClosedError` where it is closed."""
        if self._is_closed:
            raise ClosedError("the session is closed", hint="open another one")

    def settle(self) -> None:
        """Let time pass; who waits calls it every `TICK_S`."""
        with self._lock:
            if not self._is_closed:
                self._settled_at = time.monotonic()
                self._deliver(self._service.settle())

    def exchange(self, request: Packet, *, timeout_s: float) -> Packet:
        """Hand a request to the core and wait for its reply."""
        line = self.subscribe(request, timeout_s=timeout_s)
        try:
            return line.next(timeout_s=timeout_s)
        finally:
            line.close()

    def subscribe(self, request: Packet, *, timeout_s: float) -> _LocalReplyStream:
        """Hand a request to the core and return the line on which it is answered."""
        del timeout_s
        packets: SimpleQueue[Packet] = SimpleQueue()
        self.post(request, packets.put)
        return _LocalReplyStream(self, request.id, packets)

    def pipeline(
        self,
        requests: Iterable[Packet],
        *,
        window: int,
        timeout_s: float,
        total_s: float = math.inf,
    ) -> Generator[Packet]:
        """Answer one request after another: here nothing is gained by sending ahead."""
        del window
        until = time.monotonic() + total_s
        for request in requests:
            left_s = max(until - time.monotonic(), 0.0)
            yield self.exchange(request, timeout_s=min(timeout_s, left_s))

    def close(self) -> None:
        """Stop what runs and close the driver."""
        with self._lock:
            was_closed, self._is_closed = self._is_closed, True
        if not was_closed:
            self._service.close()

    def _deliver(self, replies: Iterable[Reply]) -> None:
        for reply in replies:
            # A reply to a caller that gave up is dropped.
            take = self._takers.get(reply.packet.id)
            if reply.packet.kind is not Kind.EVENT:
                self.forget(reply.packet.id)
            if take is not None:
                take(reply.packet)


class _LocalReplyStream:
    """Where the answers to one request come; who waits here lets time pass."""

    def __init__(self, local: LocalTransport, request: bytes, packets: SimpleQueue[Packet]) -> None:
        self._local = local
        self._request = request
        self._packets = packets

    def next(self, *, timeout_s: float) -> Packet:
        until = time.monotonic() + timeout_s
        while True:
            try:
                packet = self._packets.get(timeout=max(min(until - time.monotonic(), TICK_S), 0.0))
                while not self._packets.empty():
                    packet = self._packets.get()
                return packet
            except Empty:
                if time.monotonic() >= until:
                    message = "the machine in this process gave no answer"
                    raise TransportTimeoutError(message) from None
            self._local.check_open()
            self._local.settle()

    def close(self) -> None:
        self._local.forget(self._request)
