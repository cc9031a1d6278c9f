"""What an asyncio session needs of a options to a server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from cim_hal.protocol.wire.packet import Packet

__all__ = ["AsyncReplyStream", "AsyncTransport"]


class AsyncReplyStream(Protocol):
    """Where the events to one request come, and then its reply; for one task."""

    async def next(self, *, timeout_s: float) -> Packet:
        """Wait for the next packet; of events that wait only the newest is left.

        Raises
        ------
        TransportError
            None came within `timeout_s`, or nobody is there.
        """
        ...

    def close(self) -> None:
        """Receive no more; doing it twice is no mistake."""
        ...


class AsyncTransport(Protocol):
    """Carries requests to one server and brings back the replies, many at a time.

    It belongs to one event loop. A request is sent once.
    """

    async def exchange(self, request: Packet, *, timeout_s: float) -> Packet:
        """Send a request and return its reply, which may be a fault.

        Cancelling it drops the reply when it comes, and touches no other request.

        Raises
        ------
        TransportError
            No reply came within `timeout_s`, or nobody is there.
        """
        ...

    async def subscribe(self, request: Packet, *, timeout_s: float) -> AsyncReplyStream:
        """Send a request and return the line on which it is answered.

        Raises
        ------
        TransportError
            Nobody is there within `timeout_s`.
        """
        ...

    async def close(self) -> None:
        """Let go of the server; who still waits gets a `ClosedError`. Twice is no mistake."""
        ...

    def abandon(self) -> None:
        """Let go of the server where no event loop runs any more."""
        ...
