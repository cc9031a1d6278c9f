"""A TCP proxy with toxics, in a thread of its own; it carries any stream, also encrypted ones."""

from __future__ import annotations

import asyncio
import itertools
import socket
import struct
import threading
from collections import Counter
from collections.abc import Coroutine, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from cim_hal.errors import BindError, TargetError
from cim_hal.server.security.endpoint import DEFAULT, check_endpoint
from cim_hal.testing.toxics import ConnectionCut, Link, Segment

if TYPE_CHECKING:
    from cim_hal.testing.toxics import Forward, Toxic

__all__ = ["TcpProxy"]

READ_BYTES = 65536
MAX_SEGMENTS = 256  # under way in one direction of one connection
MAX_RELAYS = 256  # connections at a time, with two sockets each
NO_LINGER = struct.pack("ii", 1, 0)  # close() then sends RST
UPSTREAM, DOWNSTREAM = "upstream", "downstream"


class TcpProxy:
    """Accepts connections and relays them to `target`; a context manager.

    Both addresses are ``tcp://host:port``. `upstream` are the toxics on the way to the server,
    `downstream` those on the way back; the first acts first. With `insecure` it may listen where
    other machines reach it, and they then reach the target too. `endpoint`, where it listens, is
    set on entering; `counts` has ``connections``, ``resets``, ``refused`` connections, which are
    those beyond 256 at a time, and segments read ``upstream`` and ``downstream``. `TargetError` if
    the target is not a TCP endpoint; on entering, `BindError` if the endpoint cannot be bound.

    Examples
    --------
    >>> from cim_hal.testing import Latency, TcpProxy
    >>> with TcpProxy("tcp://127.0.0.1:5555", downstream=[Latency(latency_s=0.02)]) as proxy:
    ...     proxy.endpoint.startswith("tcp://127.0.0.1:")
    True
    """

    def __init__(
        self,
        target: str,
        *,
        listen: str = DEFAULT,
        upstream: Sequence[Toxic] = (),
        downstream: Sequence[Toxic] = (),
        seed: int = 0,
        insecure: bool = False,
    ) -> None:
        check_endpoint(listen, insecure=insecure)
        self._target = _address(target)
        self._listen = _address(listen)
        self._toxics = {UPSTREAM: tuple(upstream), DOWNSTREAM: tuple(downstream)}
        self._seed = seed
        self._numbers = itertools.count()
        self._relays: dict[asyncio.Task[None], list[asyncio.StreamWriter]] = {}
        self._gate = asyncio.Event()
        self._gate.set()
        self.counts: Counter[str] = Counter()
        self.endpoint = ""

    def reset(self) -> None:
        """Reset all connections now."""
        self._call(self._reset_all())

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Hold everything back while the block runs; it passes afterwards."""
        self._call(_done(self._gate.clear))
        try:
            yield
        finally:
            self._call(_done(self._gate.set))

    @contextmanager
    def down(self) -> Iterator[None]:
        """Reset all connections and refuse new ones while the block runs."""
        self._call(_done(self._server.close))
        self.reset()
        try:
            yield
        finally:
            self._call(self._start())

    def __enter__(self) -> Self:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(
            target=self._loop.run_forever, name="cim-hal chaos", daemon=True
        )
        self._thread.start()
        try:
            self._call(self._start())
        except OSError as error:
            self._end()
            raise BindError(
                f"cannot listen on {self._listen[0]}:{self._listen[1]}: {error.strerror}"
            ) from None
        return self

    def __exit__(self, *_: object) -> None:
        self._call(self._stop())
        self._end()

    def _call(self, task: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(task, self._loop).result()

    def _end(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _start(self) -> None:
        self._server = await asyncio.start_server(
            self._accept, *self._listen, limit=READ_BYTES, backlog=1024
        )
        host, port = self._server.sockets[0].getsockname()[:2]
        self._listen = (host, port)  # the same port after `down`
        self.endpoint = f"tcp://[{host}]:{port}" if ":" in host else f"tcp://{host}:{port}"

    async def _stop(self) -> None:
        self._server.close()
        await self._reset_all()

    async def _reset_all(self) -> None:
        relays = dict(self._relays)
        for task, writers in relays.items():
            _abort(writers)
            task.cancel()
        await asyncio.gather(*relays, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers = [writer]
        if len(self._relays) >= MAX_RELAYS:
            self.counts["refused"] += 1
            _abort(writers)
            return
        task = self._loop.create_task(self._relay(reader, writers))
        self._relays[task] = writers
        task.add_done_callback(self._relays.pop)

    async def _relay(
        self, reader: asyncio.StreamReader, writers: list[asyncio.StreamWriter]
    ) -> None:
        number = next(self._numbers)
        self.counts["connections"] += 1
        tasks: list[asyncio.Task[None]] = []
        try:
            theirs, writer = await asyncio.open_connection(*self._target, limit=READ_BYTES)
            writers.append(writer)
            for name, source, sink in (
                (UPSTREAM, reader, writer),
                (DOWNSTREAM, theirs, writers[0]),
            ):
                link = Link(np.random.default_rng([self._seed, number, name == DOWNSTREAM]))
                tasks += self._pump(name, source, sink, link)
            await asyncio.gather(*tasks)
        except ConnectionCut as cut:
            if cut.reset:
                self.counts["resets"] += 1
                _abort(writers)
        except OSError:  # one side is gone, and so is the other
            _abort(writers)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            for writer in writers:
                writer.close()
            closed = (writer.wait_closed() for writer in writers)
            await asyncio.gather(*closed, return_exceptions=True)

    def _pump(
        self, name: str, source: asyncio.StreamReader, sink: asyncio.StreamWriter, link: Link
    ) -> list[asyncio.Task[None]]:
        segments: asyncio.Queue[Segment | None] = asyncio.Queue(MAX_SEGMENTS)
        return [
            self._loop.create_task(self._read(name, source, segments)),
            self._loop.create_task(self._write(self._toxics[name], segments, sink, link)),
        ]

    async def _read(
        self, name: str, source: asyncio.StreamReader, segments: asyncio.Queue[Segment | None]
    ) -> None:
        while data := await source.read(READ_BYTES):
            self.counts[name] += 1
            await segments.put(Segment(data, self._loop.time(), self.counts[name]))
        await segments.put(None)

    async def _write(
        self,
        toxics: tuple[Toxic, ...],
        segments: asyncio.Queue[Segment | None],
        sink: asyncio.StreamWriter,
        link: Link,
    ) -> None:
        forward: Forward = partial(self._put, sink)
        for toxic in reversed(toxics):
            forward = partial(toxic.send, link=link, forward=forward)
        while (segment := await segments.get()) is not None:
            await forward(segment)
        for toxic in toxics:
            await toxic.close(link)
        if sink.can_write_eof():
            sink.write_eof()

    async def _put(self, sink: asyncio.StreamWriter, segment: Segment) -> None:
        await self._gate.wait()
        sink.write(segment.data)
        await sink.drain()


async def _done(action: Any) -> None:
    action()


def _abort(writers: list[asyncio.StreamWriter]) -> None:
    for writer in writers:
        if not writer.is_closing():
            writer.get_extra_info("socket").setsockopt(
                socket.SOL_SOCKET, socket.SO_LINGER, NO_LINGER
            )
            writer.transport.abort()


def _address(endpoint: str) -> tuple[str, int]:
    scheme, _, address = endpoint.partition("://")
    host, _, port = address.rpartition(":")
    if scheme != "tcp" or not host or not (port.isascii() and port.isdigit()):
        raise TargetError(f"{endpoint!r} is no TCP endpoint", hint="write tcp://host:port")
    return host.strip("[]"), int(port)
