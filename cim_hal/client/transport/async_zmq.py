"""A server at an endpoint, for an event loop: one ZeroMQ DEALER that all requests share.

The socket is read by a callback of the loop, with calls that do not block, never by a `recv` that
could be cancelled: cancelling one in the tick in which it got its message loses the message
(https://github.com/zeromq/pyzmq/issues/1925). A request is a future in a table.
"""

from __future__ import annotations

import asyncio
import threading
from functools import partial
from typing import TYPE_CHECKING

import zmq

from cim_hal.client.transport.mail import Mailbox
from cim_hal.client.transport.threads import in_thread
from cim_hal.client.transport.zmq import WATCH_S, Socket, end
from cim_hal.errors import CimError, ClosedError, ConnectError, TransportTimeoutError, rebuild
from cim_hal.key_files import require_curve
from cim_hal.protocol.wire.codec import decode, encode
from cim_hal.protocol.wire.packet import NO_ID

if TYPE_CHECKING:
    from collections.abc import Callable

    from cim_hal.client.access import ClientKeys
    from cim_hal.protocol.wire.packet import Packet

__all__ = ["AsyncZmqTransport"]

CONNECT_S = 5.0  # at most for one attempt
MAX_BURST = 64  # messages taken before others of the loop have their turn


class AsyncZmqTransport:
    """Sends packets to a server at an endpoint, from one event loop.

    After an error the next request has a new connection.

    Parameters
    ----------
    endpoint : str
        ``tcp://host:port`` or ``ipc://path``.
    keys : ClientKeys, optional
        Encrypt, show the key of the client, and speak to a server with that key only.
    """

    def __init__(self, endpoint: str, *, keys: ClientKeys | None = None) -> None:
        if keys is not None:
            require_curve()
        self._endpoint = endpoint
        self._keys = keys
        self._loop = asyncio.get_running_loop()
        self._context = zmq.Context()
        self._line: _Connection | None = None
        self._connecting: asyncio.Task[_Connection] | None = None
        self._is_closed = False
        self._ending = threading.Lock()
        self._is_ended = False

    async def exchange(self, request: Packet, *, timeout_s: float) -> Packet:
        """Send a request and return its reply."""
        try:
            async with asyncio.timeout(timeout_s):
                return await (await self._connected(timeout_s)).ask(request)
        except TimeoutError:
            if self._line is None or self._line.socket.closed:
                raise ConnectError(
                    f"nobody answers at {self._endpoint}",
                    hint="is the server running? cim-hal serve starts one",
                    endpoint=self._endpoint,
                ) from None
            raise TransportTimeoutError(
                f"{self._endpoint} did not answer",
                hint="is something else listening there, or is the machine overloaded?",
                endpoint=self._endpoint,
            ) from None

    async def subscribe(self, request: Packet, *, timeout_s: float) -> Mailbox:
        """Send a request and return the line on which it is answered."""
        return (await self._connected(timeout_s)).subscribe(request)

    async def close(self) -> None:
        """Close the socket."""
        self._let_go()
        # In a thread: a socket that has just connected is closed by the loop.
        await in_thread(self._end)
        if self._connecting is not None:
            await asyncio.gather(self._connecting, return_exceptions=True)

    def abandon(self) -> None:
        """Close the socket, in the loop where that still runs."""
        if self._loop.is_running() and not _is_running(self._loop):
            self._loop.call_soon_threadsafe(self._drop)
        else:
            self._drop()

    def _drop(self) -> None:
        self._let_go()
        threading.Thread(target=self._end, name="cim-hal closing", daemon=True).start()

    def _end(self) -> None:
        with self._ending:
            if not self._is_ended:
                self._is_ended = True
                end(self._context)

    def _let_go(self) -> None:
        self._is_closed = True
        if self._line is not None:
            self._line.fail(_closed)

    async def _connected(self, timeout_s: float) -> _Connection:
        if self._is_closed:
            raise _closed()
        if self._line is not None and self._line.stands():
            return self._line
        if self._connecting is None or self._connecting.done():
            self._connecting = self._loop.create_task(self._connect(min(timeout_s, CONNECT_S)))
            self._connecting.add_done_callback(_look_at)
        # Those who share the attempt do not end it for each other.
        return await asyncio.shield(self._connecting)

    async def _connect(self, timeout_s: float) -> _Connection:
        arguments = (self._context, self._endpoint, timeout_s, self._keys)
        try:
            socket = await asyncio.to_thread(Socket, *arguments)
        except (zmq.ContextTerminated, RuntimeError):  # the latter at the end of the interpreter
            raise _closed() from None
        if self._is_closed:
            socket.close()
            raise _closed()
        self._line = _Connection(socket.socket, self._endpoint)
        return self._line


class _Connection:
    """One connected socket, and who waits for what on it."""

    def __init__(self, socket: zmq.Socket[bytes], endpoint: str) -> None:
        self.socket = socket
        self._endpoint = endpoint
        self._loop = asyncio.get_running_loop()
        self._waiting: dict[bytes, asyncio.Future[Packet] | Mailbox] = {}
        # Requests under way are bounded by those who wait for them: a socket that takes no more
        # has lost its connection.
        socket.setsockopt(zmq.SNDHWM, 0)
        self._fd = int(socket.getsockopt(zmq.FD))
        self._loop.add_reader(self._fd, self._attend)
        self._watch: asyncio.TimerHandle | None = None

    def stands(self) -> bool:
        """Return whether the connection is there, as far as is known."""
        return not self.socket.closed and bool(self._events() & zmq.POLLOUT)

    async def ask(self, request: Packet) -> Packet:
        """Send a request and wait for its reply."""
        reply: asyncio.Future[Packet] = self._loop.create_future()
        self._waiting[request.id] = reply
        try:
            self._send(request)
            return await reply
        finally:
            if self._waiting.get(request.id) is reply:
                del self._waiting[request.id]

    def subscribe(self, request: Packet) -> Mailbox:
        """Send a request and return where its events and its reply come."""
        mail = Mailbox(lambda: self._waiting.pop(request.id, None))
        self._waiting[request.id] = mail
        try:
            self._send(request)
        except BaseException:
            mail.close()
            raise
        return mail

    def fail(self, error: Callable[[], CimError]) -> None:
        """Close the socket, and tell all who wait, each with an error of its own."""
        if self.socket.closed:
            return
        if self._watch is not None:
            self._watch.cancel()
        if not self._loop.is_closed():
            self._loop.remove_reader(self._fd)
        self.socket.close(linger=0)
        for reply in self._waiting.values():
            if not reply.done() and not self._loop.is_closed():
                reply.set_exception(error())

    def _send(self, request: Packet) -> None:
        if self.socket.closed:
            raise self._lost()
        try:
            self.socket.send_multipart(encode(request), zmq.NOBLOCK, copy=False)
        except zmq.Again:
            self.fail(self._lost)
            raise self._lost() from None
        self._attend()  # sending may have consumed the edge that tells of messages

    def _attend(self) -> None:
        """Take what has come; the descriptor tells of changes only, so look until there is none."""
        if self._watch is not None:
            self._watch.cancel()
        for _ in range(MAX_BURST):
            if self.socket.closed:
                return
            events = self._events()
            if not events & zmq.POLLIN:
                break
            self._take()
        else:
            self._loop.call_soon(self._attend)
            return
        if not events & zmq.POLLOUT:
            self.fail(self._lost)
        elif self._waiting:
            self._watch = self._loop.call_later(WATCH_S, self._attend)

    def _events(self) -> int:
        return int(self.socket.getsockopt(zmq.EVENTS))

    def _take(self) -> None:
        frames = self.socket.recv_multipart(zmq.NOBLOCK, copy=False)
        try:
            packet = decode([frame.buffer for frame in frames])
        except CimError as error:
            self.fail(partial(rebuild, type(error), error.message, error.hint, error.details))
            return
        waiting = self._waiting.values() if packet.id == NO_ID else [self._waiting.get(packet.id)]
        for reply in waiting:
            if reply is not None and not reply.done():
                reply.set_result(packet)

    def _lost(self) -> ConnectError:
        return ConnectError(
            f"the connection to {self._endpoint} was lost",
            hint="is the server running? cim-hal serve starts one",
            endpoint=self._endpoint,
        )


def _is_running(loop: asyncio.AbstractEventLoop) -> bool:
    """Return whether this is the thread of a loop."""
    try:
        return asyncio.get_running_loop() is loop
    except RuntimeError:
        return False


def _look_at(connecting: asyncio.Task[_Connection]) -> None:
    """Take note of an error: those who asked for the connection may be gone."""
    if not connecting.cancelled():
        connecting.exception()


def _closed() -> ClosedError:
    return ClosedError("the session is closed", hint="open another one")
