"""What a session needs of a transport, and what transports have in common."""

from __future__ import annotations

import math
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Generator, Iterable
from contextlib import closing, nullcontext
from queue import Empty, SimpleQueue
from typing import Protocol, runtime_checkable

from cim_hal.client.interrupts import current
from cim_hal.errors import CimError, ClosedError
from cim_hal.protocol.wire.packet import NO_ID, Kind, Packet

__all__ = [
    "Line",
    "LineTransport",
    "Mailbox",
    "MailboxLine",
    "ReplyStream",
    "Transport",
    "closed_error",
    "deliver",
]


class ReplyStream(Protocol):
    """Where the events to one request come, and then its reply; for one thread."""

    def next(self, *, timeout_s: float) -> Packet:
        """Wait for the next packet; of events that wait, older ones may be left out.

        `TransportError` if none came within `timeout_s`, or nobody is there.
        """
        ...

    def close(self) -> None:
        """Receive no more; doing it twice is no mistake."""
        ...


@runtime_checkable
class Transport(Protocol):
    """Carries requests to one server and brings back the replies.

    A transport sends a request once. When to send it again is decided above it.
    """

    def exchange(self, request: Packet, *, timeout_s: float) -> Packet:
        """Send a request and return its reply, which may be a fault.

        Raises
        ------
        TransportError
            No reply came within `timeout_s`, or nobody is there.
        """
        ...

    def pipeline(
        self,
        requests: Iterable[Packet],
        *,
        window: int,
        timeout_s: float,
        total_s: float = math.inf,
    ) -> Generator[Packet]:
        """Yield the replies to many requests as they come, at most `window` of them unanswered.

        Raises
        ------
        TransportError
            No reply came within `timeout_s`, not all came within `total_s`, or nobody is there.
        """
        ...

    def subscribe(self, request: Packet, *, timeout_s: float) -> ReplyStream:
        """Send a request and return the line on which it is answered.

        Raises
        ------
        TransportError
            Nobody is there within `timeout_s`.
        """
        ...

    def close(self) -> None:
        """Let go of the server; doing it twice is no mistake."""
        ...


class Line(ReplyStream, Protocol):
    """One caller's way to a server: what is sent on it is answered on it."""

    def send(self, request: Packet) -> None:
        """Send a request, which may be answered before or after others."""
        ...


class LineTransport(ABC):
    """A `Transport` that gives each caller a line of its own."""

    # Whether `cim_hal.client.interrupts` end its waits, as asyncio needs it.
    is_interruptible = False

    @abstractmethod
    def line(self, timeout_s: float) -> Line:
        """Return a line; whoever asked for it closes it. Connecting may take `timeout_s`."""

    def exchange(self, request: Packet, *, timeout_s: float) -> Packet:
        """Send a request and return its reply."""
        with closing(self.line(timeout_s)) as line:
            line.send(request)
            return line.next(timeout_s=timeout_s)

    def pipeline(
        self,
        requests: Iterable[Packet],
        *,
        window: int,
        timeout_s: float,
        total_s: float = math.inf,
    ) -> Generator[Packet]:
        """Yield the replies to many requests as they come, at most `window` of them unanswered."""
        deadline, source, n_unanswered = time.monotonic() + total_s, iter(requests), 0
        with closing(self.line(min(timeout_s, total_s))) as line:
            while True:
                while n_unanswered < window and (request := next(source, None)) is not None:
                    line.send(request)
                    n_unanswered += 1
                if not n_unanswered:
                    return
                reply = line.next(timeout_s=min(timeout_s, deadline - time.monotonic()))
                n_unanswered -= 1
                yield reply

    def subscribe(self, request: Packet, *, timeout_s: float) -> Line:
        """Send a request and return the stream of its events and its reply."""
        line = self.line(timeout_s)
        try:
            line.send(request)
        except BaseException:
            line.close()
            raise
        return line


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

        An error that was put in is raised. An event is left out if something newer is there.
        `CallCancelledError` if the call of this thread was cancelled.
        """
        interrupt = current()
        with nullcontext() if interrupt is None else interrupt.waking(self.wake):
            try:
                item = self._queue.get(timeout=max(min(timeout_s, threading.TIMEOUT_MAX), 0.0))
            except Empty:
                return None
        while isinstance(item, Packet) and item.kind is Kind.EVENT and not self._queue.empty():
            item = self._queue.get() or item
        if isinstance(item, CimError):
            raise item
        return item


def deliver(packet: Packet, mailboxes: dict[bytes, Mailbox]) -> None:
    """Put a packet into the mailbox of its request, one without an id into all; else drop it."""
    if packet.id == NO_ID:
        for mailbox in set(mailboxes.values()):
            mailbox.put(packet)
        return
    found = mailboxes.get(packet.id)
    if packet.kind is not Kind.EVENT:
        mailboxes.pop(packet.id, None)
    if found is not None:
        found.put(packet)


class _Deliverer(Protocol):
    """What puts replies into mailboxes."""

    def send(self, request: Packet, mailbox: Mailbox) -> None: ...
    def receive(self, mailbox: Mailbox, timeout_s: float) -> Packet: ...
    def forget(self, request_ids: Iterable[bytes]) -> None: ...


class MailboxLine:
    """A line that somebody else reads: each packet comes by the mailbox of the line."""

    def __init__(self, deliverer: _Deliverer) -> None:
        self._deliverer = deliverer
        self._mailbox = Mailbox()
        self._unanswered: set[bytes] = set()

    def send(self, request: Packet) -> None:
        """Send a request."""
        self._unanswered.add(request.id)
        self._deliverer.send(request, self._mailbox)

    def next(self, *, timeout_s: float) -> Packet:
        """Wait for the next packet."""
        packet = self._deliverer.receive(self._mailbox, timeout_s)
        if packet.kind is not Kind.EVENT:
            self._unanswered.discard(packet.id)
        return packet

    def close(self) -> None:
        """Drop the replies that have not come."""
        self._deliverer.forget(self._unanswered)


def closed_error() -> ClosedError:
    """Return the error of a session that is used after its end."""
    return ClosedError("the session is closed", hint="open another one")
