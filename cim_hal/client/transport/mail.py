"""A line in an event loop: the newest packet that has come for one request."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from cim_hal.errors import TransportTimeoutError

if TYPE_CHECKING:
    from collections.abc import Callable

    from cim_hal.errors import CimError
    from cim_hal.protocol.wire.packet import Packet

__all__ = ["Mailbox"]


class Mailbox:
    """Stands where a future would, and may be filled again and again.

    Parameters
    ----------
    forget : callable
        Called when nobody listens any more.
    """

    def __init__(self, forget: Callable[[], object]) -> None:
        self._forget = forget
        self._has_come = asyncio.Event()
        self._packet: Packet | None = None
        self._error: CimError | None = None

    def done(self) -> bool:
        """Return whether nothing more can come."""
        return self._error is not None

    def set_result(self, packet: Packet) -> None:
        """Put a packet in the place of one that nobody has heard."""
        self._packet = packet
        self._has_come.set()

    def set_exception(self, error: CimError) -> None:
        """Tell who listens that nothing more will come."""
        self._error = error
        self._has_come.set()

    async def next(self, *, timeout_s: float) -> Packet:
        """Wait for a packet that was not heard yet."""
        while True:
            try:
                async with asyncio.timeout(timeout_s):
                    await self._has_come.wait()
            except TimeoutError:
                raise TransportTimeoutError("nothing was heard of the server") from None
            packet, self._packet = self._packet, None
            if packet is not None:
                return packet
            if self._error is not None:
                raise self._error
            self._has_come.clear()

    def close(self) -> None:
        """Receive no more."""
        self._forget()
