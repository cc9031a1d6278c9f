"""What a session needs of a options to a server."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable

    from cim_hal.protocol.wire.packet import Packet

__all__ = ["ReplyStream", "Transport"]


class ReplyStream(Protocol):
    """Where the events to one request come, and then its reply; for one thread."""

    def next(self, *, timeout_s: float) -> Packet:
        """Wait for the next packet; of events that wait, older ones may be left out.

        Raises
        ------
        TransportError
            None came within `timeout_s`, or nobody is there.
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
