"""Recordings: a proxy that makes them, and their file.

A cassette is a file of `protocol.wire.codec`. Its messages are records: first `CassetteHeader`,
then a `RecordedMessage` for each message that passed, whose buffers are the frames of that
message, and `CassetteEnd` if the recording was ended in good order.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import IntEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

import numpy as np
from pydantic import Field

from cim_hal.errors import CassetteError, ProtocolError, RemoteProtocolError
from cim_hal.protocol.wire.base import Message, Number, one_of
from cim_hal.protocol.wire.codec import (
    FILE_MAGIC,
    Codec,
    FrameLimits,
    decode,
    file_messages,
    file_parts,
)
from cim_hal.protocol.wire.limits import MAX_BUFFER_BYTES, MAX_BUFFERS, MAX_HEADER_BYTES
from cim_hal.protocol.wire.packet import NO_ID, Kind, Packet
from cim_hal.server.security.endpoint import DEFAULT
from cim_hal.testing.message_proxy import MessageProxy
from cim_hal.text import counted

if TYPE_CHECKING:
    import io

    from cim_hal.key_files import ClientKeys

__all__ = [
    "Cassette",
    "CassetteWriter",
    "Direction",
    "RecordedExchange",
    "Recorder",
    "read_cassette",
]

VERSION = 1
MAX_FRAMES = MAX_BUFFERS + 2
MAX_MESSAGE_BYTES = MAX_BUFFERS * MAX_BUFFER_BYTES + 2 * MAX_HEADER_BYTES
MAX_FILE_BYTES = 2 * 1024**3

log = logging.getLogger(__name__)


class Direction(IntEnum):
    """Which way a message went."""

    TO_SERVER = 0
    TO_CLIENT = 1


class CassetteHeader(Message):
    """What was recorded: the endpoint of the server, and the time, ISO 8601."""

    t: Literal["cassette"] = "cassette"
    version: Literal[1]
    target: Annotated[str, Field(max_length=1000)]
    recorded_at: Annotated[str, Field(max_length=100)]


class RecordedMessage(Message):
    """A message that passed: seconds since the start, direction, number of the client."""

    t: Literal["message"] = "message"
    seconds: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    direction: Literal[0, 1]
    client: Number
    buffers: ClassVar[tuple[int, int]] = (0, MAX_FRAMES)


class CassetteEnd(Message):
    """The recording was ended in good order."""

    t: Literal["end"] = "end"


_STORED = one_of(CassetteHeader, RecordedMessage, CassetteEnd)
_CODEC = Codec({Kind.RECORD: _STORED}, FrameLimits(buffers=MAX_FRAMES))


@dataclass(frozen=True, eq=False)
class RecordedExchange:
    """A request, the reply to it, and how long that took in seconds."""

    request: Packet
    reply: Packet
    seconds: float


@dataclass(frozen=True, eq=False)
class Cassette:
    """A recorded session."""

    target: str  # endpoint of the server
    recorded_at: str  # ISO 8601, UTC
    exchanges: tuple[RecordedExchange, ...]  # in the order of the requests
    unanswered: int  # requests without a recorded reply
    is_complete: bool  # ended in good order; otherwise the last message may be missing


class CassetteWriter:
    """Writes messages as they pass to a new file; a context manager. Any thread may write.

    `messages` counts those written so far. `CassetteError` if the file exists, or cannot be
    written. After a write that failed, on a full disk for instance, the file ends with the last
    whole message; nothing more is written, and every call raises the error again.
    """

    def __init__(self, path: Path, *, target: str) -> None:
        self._path = path
        self._file, self._n_bytes = _create(path), 0
        self._failure: CassetteError | None = None
        self._lock = threading.Lock()
        self._clients: dict[bytes, int] = {}
        self._start = time.monotonic()
        self.messages = 0
        now = datetime.now(UTC).isoformat(timespec="seconds")
        header = CassetteHeader(version=VERSION, target=target, recorded_at=now)
        try:
            self._append(header, start=FILE_MAGIC)
        except CassetteError:
            self._file.close()
            path.unlink(missing_ok=True)
            raise

    def write(self, direction: Direction, client: bytes, frames: Sequence[bytes]) -> None:
        """Append a message; frames that no message of the protocol has are left out."""
        seconds = time.monotonic() - self._start
        with self._lock:
            number = self._clients.setdefault(client, len(self._clients))
            if len(frames) > MAX_FRAMES or any(len(frame) > MAX_BUFFER_BYTES for frame in frames):
                return
            message = RecordedMessage(seconds=seconds, direction=direction.value, client=number)
            self._append(message, frames)
            self.messages += 1

    def close(self) -> None:
        """Write the end, and wait until the file is on the disk."""
        with self._lock:
            if self._file.closed:
                return
            with self._file:
                self._append(CassetteEnd())
                with self._guarded():
                    os.fsync(self._file.fileno())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _append(self, body: Any, frames: Sequence[bytes] = (), *, start: bytes = b"") -> None:
        if self._failure is not None:
            raise self._failure
        buffers = tuple(np.frombuffer(frame, np.uint8) for frame in frames)
        packet = Packet(Kind.RECORD, NO_ID, body, buffers=buffers)
        with self._guarded():
            for part in (start, *file_parts(_CODEC.encode(packet))):
                left = memoryview(part).cast("B")
                while left:
                    left = left[self._file.write(left) :]
            self._n_bytes = self._file.tell()

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        """End the recording with its last whole message where the disk fails."""
        try:
            yield
        except OSError as error:
            with suppress(OSError):
                self._file.truncate(self._n_bytes)
            what = f"{self._path}: {error.strerror}: the recording ended"
            self._failure = CassetteError(f"{what} after {counted(self.messages, 'message')}")
            raise self._failure from None


class Recorder:
    """A proxy between clients and a server that records all messages; a context manager.

    Clients connect without keys. To the server the recorder is the client, with `keys` if it
    asks for them, so everybody who connects through it acts as that user. The file is new and
    will hold all couplings and results; its session tokens expire. Where it cannot be written any
    more that is logged, messages go on to pass, and the end of the block raises the error. Other
    parameters, attributes and errors as of `MessageProxy` and `CassetteWriter`.
    """

    def __init__(
        self,
        target: str,
        path: str | os.PathLike[str],
        *,
        listen: str = DEFAULT,
        keys: ClientKeys | None = None,
    ) -> None:
        self._path, self._target = Path(path), target
        self._proxy = MessageProxy(target, listen=listen, keys=keys, on_message=self._watch)
        self._writer: CassetteWriter | None = None
        self._has_failed = False

    @property
    def endpoint(self) -> str:
        """Where clients connect."""
        return self._proxy.endpoint

    @property
    def messages(self) -> int:
        """Messages recorded so far."""
        return self._writer.messages if self._writer else 0

    def __enter__(self) -> Self:
        self._writer = CassetteWriter(self._path, target=self._target)
        try:
            self._proxy.__enter__()
        except BaseException:
            self._writer.close()
            self._path.unlink(missing_ok=True)
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._proxy.__exit__()
        if self._writer is not None:
            self._writer.close()

    def _watch(self, to_client: bool, client: bytes, frames: list[bytes]) -> None:  # noqa: FBT001
        if self._writer is None:
            return
        try:
            self._writer.write(Direction(to_client), client, frames)
        except CassetteError as error:  # clients and server go on
            if not self._has_failed:
                log.error("%s", error)  # noqa: TRY400  its traceback tells nothing
            self._has_failed = True


@dataclass(eq=False)
class _RecordedSession:
    """Requests that wait for their replies, and exchanges that are complete."""

    header: CassetteHeader | None = None
    n_records: int = 0
    n_requests: int = 0
    open: dict[tuple[int, bytes], tuple[int, float, Packet]] = field(default_factory=dict)
    done: list[tuple[int, RecordedExchange]] = field(default_factory=list)
    is_complete: bool = False

    def add(self, record: Packet) -> None:
        body: Any = record.body
        if self.is_complete or isinstance(body, CassetteHeader) != (self.header is None):
            raise RemoteProtocolError(f"{body.t} is not expected here")
        if isinstance(body, CassetteHeader):
            self.header = body
        elif isinstance(body, CassetteEnd):
            self.is_complete = True
        else:
            self._add(body, decode([array.data for array in record.buffers]))
        self.n_records += 1

    def _add(self, message: RecordedMessage, packet: Packet) -> None:
        address = message.client, packet.id
        if message.direction == Direction.TO_SERVER:
            # a request that was sent again keeps its place
            place = self.open.get(address, (self.n_requests, message.seconds, packet))[0]
            self.open[address] = place, message.seconds, packet
            self.n_requests += 1
        elif packet.kind is Kind.REPLY and address in self.open:
            place, asked, request = self.open.pop(address)
            exchange = RecordedExchange(request, packet, message.seconds - asked)
            self.done.append((place, exchange))


def read_cassette(path: str | os.PathLike[str]) -> Cassette:
    """Read a cassette.

    `CassetteError` if the file is missing, too large or no cassette; it names the damaged message.
    """
    file, session = Path(path), _RecordedSession()
    data = _read(file)
    try:
        for frames in file_messages(data, max_bytes=2 * MAX_MESSAGE_BYTES):
            session.add(_CODEC.decode(frames))
    except EOFError:
        pass  # the recorder was killed while it wrote this one
    except ProtocolError as error:
        if session.header is not None:
            where = f"message {session.n_records}"
            raise CassetteError(f"{file}: {where} is malformed: {error}") from None
    header = session.header
    if header is None:
        raise CassetteError(
            f"{file}: this is no cassette of version {VERSION}", hint="cim-hal record makes one"
        )
    exchanges = tuple(exchange for _, exchange in sorted(session.done, key=lambda done: done[0]))
    unanswered, is_complete = len(session.open), session.is_complete
    return Cassette(header.target, header.recorded_at, exchanges, unanswered, is_complete)


def _read(file: Path) -> memoryview:
    try:
        size = file.stat().st_size
        if size > MAX_FILE_BYTES:
            raise CassetteError(f"{file}: {size} bytes, at most {MAX_FILE_BYTES} are read")
        return memoryview(file.read_bytes())
    except OSError as error:
        raise CassetteError(f"{file}: {error.strerror}") from None


def _create(path: Path) -> io.FileIO:
    try:
        return path.open("xb", buffering=0)
    except FileExistsError:
        raise CassetteError(
            f"{path} exists already", hint="name another file, or remove that one"
        ) from None
    except OSError as error:
        raise CassetteError(f"{path}: {error.strerror}") from None
