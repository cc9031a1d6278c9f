"""A server in this process, through the bytes of the wire: the codec, without a network."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from cim_hal.client.transport.local import LocalTransport
from cim_hal.protocol.wire.codec import decode, encode

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable

    from cim_hal.client.transport.base import ReplyStream
    from cim_hal.machine.driver import Driver
    from cim_hal.protocol.wire.limits import Limits
    from cim_hal.protocol.wire.packet import Packet

__all__ = ["LoopbackTransport"]


class LoopbackTransport:
    """A `LocalTransport` that writes and reads every packet as the network would.

    Parameters
    ----------
    driver : Driver
        The transport closes it.
    limits : Limits
    """

    def __init__(self, driver: Driver, limits: Limits | None = None) -> None:
        self._local = LocalTransport(driver, limits)

    def exchange(self, request: Packet, *, timeout_s: float) -> Packet:
        """Send a request through bytes and return its reply, through bytes as well."""
        return _through_bytes(self._local.exchange(_through_bytes(request), timeout_s=timeout_s))

    def pipeline(
        self,
        requests: Iterable[Packet],
        *,
        window: int,
        timeout_s: float,
        total_s: float = math.inf,
    ) -> Generator[Packet]:
        """Answer one request after another."""
        through = (_through_bytes(request) for request in requests)
        replies = self._local.pipeline(through, window=window, timeout_s=timeout_s, total_s=total_s)
        return (_through_bytes(reply) for reply in replies)

    def subscribe(self, request: Packet, *, timeout_s: float) -> _LoopbackReplyStream:
        """Send a request and return the line on which it is answered."""
        return _LoopbackReplyStream(
            self._local.subscribe(_through_bytes(request), timeout_s=timeout_s)
        )

    def close(self) -> None:
        """Stop what runs and close the driver."""
        self._local.close()


class _LoopbackReplyStream:
    """A line whose packets went through bytes."""

    def __init__(self, line: ReplyStream) -> None:
        self._line = line

    def next(self, *, timeout_s: float) -> Packet:
        return _through_bytes(self._line.next(timeout_s=timeout_s))

    def close(self) -> None:
        self._line.close()


def _through_bytes(packet: Packet) -> Packet:
    return decode([bytes(frame) for frame in encode(packet)])
