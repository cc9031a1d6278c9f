"""A server in this process: the same core, the packet itself instead of its bytes."""

from __future__ import annotations

import math
import threading
import time
from typing import TYPE_CHECKING

from cim_hal.client.transport.mailbox import Mailbox
from cim_hal.errors import ClosedError, TransportTimeoutError
from cim_hal.protocol.wire.packet import Kind
from cim_hal.server.service import TICK_S, Service

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable

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
        self._mailboxes: dict[bytes, Mailbox] = {}
        self._waiting: list[Mailbox] = []
        self._is_closed = False
        self._settled_at = 0.0
        with self._lock:  # the driver may report before the service is assigned
            self._service = Service(driver, self._settle, limits)

    def exchange(self, request: Packet, *, timeout_s: float) -> Packet:
        """Hand a request to the core and wait for its reply."""
        stream = self.subscribe(request, timeout_s=timeout_s)
        try:
            return stream.next(timeout_s=timeout_s)
        finally:
            stream.close()

    def subscribe(self, request: Packet, *, timeout_s: float) -> _LocalReplyStream:
        """Hand a request to the core and return the stream of its events and its reply."""
        del timeout_s
        mailbox = Mailbox()
        with self._lock:
            self._check_open()
            if time.monotonic() - self._settled_at >= TICK_S:
                self._settle()  # nobody has waited since, so no time has passed for the core
            self._mailboxes[request.id] = mailbox
            try:
                self._deliver(self._service.receive(PEER, request))
            except BaseException:
                self.forget(request.id)
                raise
        return _LocalReplyStream(self, request.id, mailbox)

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
        deadline = time.monotonic() + total_s
        for request in requests:
            remaining_s = max(deadline - time.monotonic(), 0.0)
            yield self.exchange(request, timeout_s=min(timeout_s, remaining_s))

    def wait(self, mailbox: Mailbox, timeout_s: float) -> Packet:
        """Wait for a packet; of those who wait, the first lets time pass for the core."""
        deadline = time.monotonic() + timeout_s
        with self._lock:
            self._waiting.append(mailbox)
        try:
            while True:
                remaining_s = deadline - time.monotonic()
                is_first = self._waiting[0] is mailbox
                packet = mailbox.take(min(remaining_s, TICK_S) if is_first else remaining_s)
                if packet is not None:
                    return packet
                is_over = time.monotonic() >= deadline
                self._check_open()
                self._settle()  # also at the end: compiling may have held this thread up so long
                if is_over:
                    packet = mailbox.take(0.0)
                    if packet is None:
                        raise TransportTimeoutError("the machine in this process gave no answer")
                    return packet
        finally:
            self._leave(mailbox)

    def forget(self, request_id: bytes) -> None:
        """Drop the reply to a request."""
        self._mailboxes.pop(request_id, None)

    def close(self) -> None:
        """Stop what runs and close the driver; whoever waits gets a `ClosedError`."""
        with self._lock:
            was_closed, self._is_closed = self._is_closed, True
            for mailbox in self._waiting:
                mailbox.wake()
        if not was_closed:
            self._service.close()

    def _leave(self, mailbox: Mailbox) -> None:
        with self._lock:
            was_first = self._waiting[0] is mailbox
            self._waiting.remove(mailbox)
            if was_first and self._waiting:
                self._waiting[0].wake()  # it ticks from now on

    def _settle(self) -> None:
        """Let time pass for the core, and deliver what it has to say."""
        with self._lock:
            if not self._is_closed:
                self._settled_at = time.monotonic()
                self._deliver(self._service.settle())

    def _check_open(self) -> None:
        if self._is_closed:
            raise ClosedError("the session is closed", hint="open another one")

    def _deliver(self, replies: Iterable[Reply]) -> None:
        for reply in replies:
            # A reply to a caller that gave up is dropped.
            mailbox = self._mailboxes.get(reply.packet.id)
            if reply.packet.kind is not Kind.EVENT:
                self.forget(reply.packet.id)
            if mailbox is not None:
                mailbox.put(reply.packet)


class _LocalReplyStream:
    """The events to one request and its reply."""

    def __init__(self, local: LocalTransport, request_id: bytes, mailbox: Mailbox) -> None:
        self._local = local
        self._request_id = request_id
        self._mailbox = mailbox

    def next(self, *, timeout_s: float) -> Packet:
        packet = self._mailbox.take(0.0)  # in place already where the core answered at once
        if packet is None:
            packet = self._local.wait(self._mailbox, timeout_s)
        return self._mailbox.newest(packet)

    def close(self) -> None:
        self._local.forget(self._request_id)
