"""A server in this process, for an event loop: replies come from its threads."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from cim_hal.client.transport.mail import Mailbox
from cim_hal.client.transport.threads import in_thread
from cim_hal.errors import ClosedError, TransportTimeoutError
from cim_hal.server.service import TICK_S

if TYPE_CHECKING:
    from cim_hal.client.transport.local import LocalTransport
    from cim_hal.protocol.wire.packet import Packet

__all__ = ["AsyncLocalTransport"]


class AsyncLocalTransport:
    """Calls a driver in this process without a thread that waits for it.

    Parameters
    ----------
    local : LocalTransport
        This transport closes it.
    """

    def __init__(self, local: LocalTransport) -> None:
        self._local = local
        self._loop = asyncio.get_running_loop()
        self._waiting: dict[bytes, asyncio.Future[Packet] | Mailbox] = {}
        self._ticking: asyncio.Task[None] | None = None
        self._is_closed = False

    async def exchange(self, request: Packet, *, timeout_s: float) -> Packet:
        """Hand a request to the core and wait for its reply."""
        if self._is_closed:
            raise _closed()
        reply: asyncio.Future[Packet] = self._loop.create_future()
        self._waiting[request.id] = reply
        try:
            async with asyncio.timeout(timeout_s):
                self._local.post(request, self._take)
                self._tick()
                return await reply
        except TimeoutError:
            raise TransportTimeoutError("the machine in this process gave no answer") from None
        finally:
            self._forget(request.id)

    async def subscribe(self, request: Packet, *, timeout_s: float) -> Mailbox:
        """Hand a request to the core and return the line on which it is answered."""
        del timeout_s
        if self._is_closed:
            raise _closed()
        mail = Mailbox(lambda: self._forget(request.id))
        self._waiting[request.id] = mail
        try:
            self._local.post(request, self._take)
        except BaseException:
            mail.close()
            raise
        self._tick()
        return mail

    async def close(self) -> None:
        """Stop what runs and close the driver."""
        self._is_closed = True
        for reply in self._waiting.values():
            if not reply.done():
                reply.set_exception(_closed())
        if self._ticking is not None:
            self._ticking.cancel()
        await in_thread(self._local.close)

    def abandon(self) -> None:
        """Stop what runs and close the driver."""
        self._local.close()

    def _take(self, packet: Packet) -> None:
        """Pass on a reply; any thread calls it."""
        try:
            self._loop.call_soon_threadsafe(self._settle, packet)
        except RuntimeError:  # the loop is closed: nobody waits any more
            return

    def _forget(self, request: bytes) -> None:
        self._waiting.pop(request, None)
        self._local.forget(request)

    def _settle(self, packet: Packet) -> None:
        reply = self._waiting.get(packet.id)
        if reply is not None and not reply.done():
            reply.set_result(packet)

    def _tick(self) -> None:
        if self._ticking is None or self._ticking.done():
            self._ticking = self._loop.create_task(self._let_time_pass())

    async def _let_time_pass(self) -> None:
        while self._waiting:
            await asyncio.sleep(TICK_S)
            self._local.settle()


def _closed() -> ClosedError:
    return ClosedError("the session is closed", hint="open another one")
