"""Does the steps of a conversation in an event loop."""

from __future__ import annotations

import asyncio
import os
from contextlib import closing
from typing import TYPE_CHECKING, Any, TypeVar

from cim_hal.client.steps import Compute, Exchange, Exclusive, Pipeline, Receive, Sleep, Subscribe
from cim_hal.errors import CimError, ClosedError, LocalProtocolError, TransportTimeoutError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

    from cim_hal.client.steps import Step, Steps
    from cim_hal.client.transport.async_base import AsyncTransport
    from cim_hal.protocol.wire.packet import Packet

__all__ = ["AsyncRunner"]

T = TypeVar("T")

INLINE_BYTES = 1_000_000  # about a millisecond: less than that does not pay for a thread


class AsyncRunner:
    """Runs conversations over a transport that it opens when it is needed; of one event loop.

    Parameters
    ----------
    open_transport : callable
        Returns the transport; the runner closes it.
    """

    def __init__(self, open_transport: Callable[[], Awaitable[AsyncTransport]]) -> None:
        self._open = open_transport
        self._transport: AsyncTransport | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._opening = asyncio.Lock()
        self._turn = asyncio.Lock()
        self._background: set[asyncio.Task[Any]] = set()
        self._is_closed = False
        self._pid = os.getpid()

    @property
    def is_usable(self) -> bool:
        """Whether there is an open transport, of this process."""
        return os.getpid() == self._pid and self._transport is not None and not self._is_closed

    async def run(self, steps: Steps[T]) -> T:
        """Do all steps and return the result of the conversation."""
        outcome, error = None, None
        with closing(steps):
            transport = await self._opened()
            while True:
                try:
                    step = steps.send(outcome) if error is None else steps.throw(error)
                except StopIteration as end:
                    return end.value
                outcome, error = None, None
                try:
                    outcome = await self._do(step, transport)
                except CimError as caught:
                    error = caught

    def spawn(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Do something that is not to end with the task that asks for it; `close` waits for it."""
        task = asyncio.get_running_loop().create_task(work)
        self._background.add(task)
        task.add_done_callback(self._forget)
        return task

    async def settle(self) -> None:
        """Wait for what was spawned."""
        while self._background:
            await asyncio.wait(self._background)

    async def close(self) -> None:
        """Close the transport; in a forked child this does nothing."""
        if os.getpid() != self._pid:
            return
        self._is_closed = True
        if self._transport is not None:
            await self._transport.close()

    def abandon(self) -> None:
        """Close the transport of a session that was forgotten, or whose loop has ended."""
        if os.getpid() != self._pid or self._is_closed:
            return
        self._is_closed = True
        if self._transport is not None:
            self._transport.abandon()

    def check_process(self) -> None:
        """Raise `LocalProtocolError` where the process was forked since."""
        if os.getpid() != self._pid:
            raise LocalProtocolError(
                "the session was opened before a fork, and used after it",
                hint="open a session in the child process",
            )

    async def _opened(self) -> AsyncTransport:
        self.check_process()
        loop = asyncio.get_running_loop()
        if self._loop not in (None, loop):
            raise LocalProtocolError(
                "the session belongs to another event loop", hint="open one in each loop"
            )
        if self._is_closed:
            raise ClosedError("the session is closed", hint="open another one")
        self._loop = loop
        async with self._opening:
            if self._transport is None:
                self._transport = await self._open()
            return self._transport

    async def _do(self, step: Step, transport: AsyncTransport) -> Any:  # noqa: PLR0911
        match step:
            case Exchange():
                return await transport.exchange(step.packet, timeout_s=step.timeout_s)
            case Pipeline():
                return await _send_all(step, transport)
            case Subscribe():
                return await transport.subscribe(step.packet, timeout_s=step.timeout_s)
            case Receive():
                return await step.line.next(timeout_s=step.timeout_s)
            case Sleep():
                return await asyncio.sleep(step.seconds)
            case Exclusive():
                # Not ended half way by a caller that is cancelled: the others need it as well.
                return await asyncio.shield(self.spawn(self._alone(step)))
            case Compute(work=work, n_bytes=n_bytes):
                return work() if n_bytes < INLINE_BYTES else await asyncio.to_thread(work)

    async def _alone(self, step: Exclusive) -> Any:
        try:
            async with asyncio.timeout(step.timeout_s):
                await self._turn.acquire()
        except TimeoutError:
            raise TransportTimeoutError("another task waits for the server") from None
        try:
            return await self.run(step.steps)
        finally:
            self._turn.release()

    def _forget(self, task: asyncio.Task[Any]) -> None:
        self._background.discard(task)
        if not task.cancelled():
            task.exception()  # looked at: whoever wanted it has it, or is gone


async def _send_all(step: Pipeline, transport: AsyncTransport) -> None:
    loop = asyncio.get_running_loop()
    until = loop.time() + step.total_s
    under_way: set[asyncio.Task[Packet]] = set()
    try:
        while True:
            while len(under_way) < step.window:
                packet = next(step.packets, None)
                if packet is None:
                    break
                exchange = transport.exchange(packet, timeout_s=max(until - loop.time(), 0.0))
                under_way.add(loop.create_task(exchange))
            if not under_way:
                return
            timeout_s = max(min(step.timeout_s, until - loop.time()), 0.0)
            done, under_way = await asyncio.wait(
                under_way, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED
            )
            if not done:
                raise TransportTimeoutError("no chunk was answered")
            under_way |= done
            for task in done:
                step.take(task.result())
                under_way.discard(task)
    finally:
        for task in under_way:
            task.cancel()
        await asyncio.gather(*under_way, return_exceptions=True)
