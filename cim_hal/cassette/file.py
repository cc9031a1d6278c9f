"""The file of a recorded conversation: frames as they travelled, with time and direction.

::

    msgpack map     {"cassette": 1, "target": endpoint, "recorded_at": ISO 8601}
    msgpack array   [seconds, direction, client, [frame, ...]]      once a message
    msgpack nil                                                    the end, if it was reached

Direction 0 goes to the server, 1 to the client. Frames are those of `protocol.codec`, so that
another language can read a cassette with what the specification of the wire says.
"""

from __future__ import annotations

import os
import threading
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import IntEnum
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Any, Literal, Self

import msgpack
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from cim_hal.errors import CassetteError, ProtocolError
from cim_hal.protocol.wire.codec import decode
from cim_hal.protocol.wire.limits import MAX_BUFFER_BYTES, MAX_BUFFERS, MAX_HEADER_BYTES
from cim_hal.protocol.wire.packet import Kind

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from cim_hal.protocol.wire.packet import Packet

__all__ = ["Cassette", "CassetteWriter", "Direction", "RecordedExchange", "read_cassette"]

VERSION = 1
MAX_FRAMES = MAX_BUFFERS + 2
MAX_ENTRY_BYTES = MAX_BUFFERS * MAX_BUFFER_BYTES + 2 * MAX_HEADER_BYTES
MAX_FILE_BYTES = 2 * 1024**3


class Direction(IntEnum):
    """Which way a message went."""

    TO_SERVER = 0
    TO_CLIENT = 1


class _Header(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    cassette: Literal[1]
    target: Annotated[str, Field(max_length=1000)]
    recorded_at: Annotated[str, Field(max_length=100)]


_Entry = tuple[
    Annotated[float, Field(ge=0, allow_inf_nan=False)],
    Annotated[int, Field(ge=0, le=1)],
    Annotated[int, Field(ge=0)],
    Annotated[list[bytes], Field(max_length=MAX_FRAMES)],
]
_ENTRY: TypeAdapter[_Entry] = TypeAdapter(_Entry)


@dataclass(frozen=True, eq=False)
class RecordedExchange:
    """A request, the reply to it, and how long that took in seconds."""

    request: Packet
    reply: Packet
    seconds: float


@dataclass(frozen=True, eq=False)
class Cassette:
    """A recorded conversation.

    Attributes
    ----------
    target : str
        Endpoint of the server.
    recorded_at : str
        ISO 8601, UTC.
    exchanges : tuple of RecordedExchange
        In the order of the requests.
    unanswered : int
        Requests without a reply on the cassette.
    is_complete : bool
        Whether the recorder reached the end; where it was killed the last message may be missing.
    """

    target: str
    recorded_at: str
    exchanges: tuple[RecordedExchange, ...]
    unanswered: int
    is_complete: bool


class CassetteWriter:
    """Writes messages as they pass; a context manager. Any thread may write.

    Raises
    ------
    CassetteError
        The file exists, or cannot be written.
    """

    def __init__(self, path: Path, *, target: str) -> None:
        self._path = path
        self._file = _create(path)
        self._lock = threading.Lock()
        self._clients: dict[bytes, int] = {}
        self._start = time.monotonic()
        self.messages = 0
        now = datetime.now(UTC).isoformat(timespec="seconds")
        self._put({"cassette": VERSION, "target": target, "recorded_at": now})

    def write(self, direction: Direction, client: bytes, frames: Sequence[bytes]) -> None:
        """Append a message; what is no message of the protocol is left out."""
        seconds = time.monotonic() - self._start
        with self._lock:
            number = self._clients.setdefault(client, len(self._clients))
            if len(frames) > MAX_FRAMES or sum(map(len, frames)) > MAX_ENTRY_BYTES:
                return
            self._put([seconds, int(direction), number, [bytes(frame) for frame in frames]])
            self.messages += 1

    def close(self) -> None:
        """Write the end, and see the file to the disk."""
        with self._lock:
            if self._file.closed:
                return
            self._put(None)
            os.fsync(self._file.fileno())
            self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _put(self, value: Any) -> None:
        packed: Any = msgpack.packb(value)
        try:
            self._file.write(packed)
            self._file.flush()
        except OSError as error:
            raise CassetteError(f"{self._path}: {error.strerror}") from None


@dataclass(eq=False)
class _RecordedSession:
    """Requests on the way to their replies."""

    open: dict[tuple[int, bytes], tuple[int, float, Packet]] = field(default_factory=dict)
    done: list[tuple[int, RecordedExchange]] = field(default_factory=list)
    requests: int = 0

    def take(self, seconds: float, direction: int, client: int, packet: Packet) -> None:
        address = client, packet.id
        if direction == Direction.TO_SERVER:
            # a request that was sent again keeps its place
            place = self.open.get(address, (self.requests, seconds, packet))[0]
            self.open[address] = place, seconds, packet
            self.requests += 1
        elif packet.kind is Kind.REPLY and address in self.open:
            place, asked, request = self.open.pop(address)
            self.done.append((place, RecordedExchange(request, packet, seconds - asked)))


def read_cassette(path: str | os.PathLike[str]) -> Cassette:
    """Read a cassette.

    Raises
    ------
    CassetteError
        The file is missing, too large or no cassette; the sentence says where it breaks.
    """
    file = Path(path)
    try:
        size = file.stat().st_size
        if size > MAX_FILE_BYTES:
            raise CassetteError(f"{file}: {size} bytes, at most {MAX_FILE_BYTES} are read")
        with file.open("rb") as source:
            return _read(source, file)
    except OSError as error:
        raise CassetteError(f"{file}: {error.strerror}") from None


def _read(source: IO[bytes], file: Path) -> Cassette:
    values = _values(source, file)
    try:
        header = _Header.model_validate(next(values, None))
    except ValidationError:
        raise CassetteError(
            f"{file}: this is no cassette of version {VERSION}",
            hint="cim-hal record makes one",
        ) from None
    conversation, is_complete = _RecordedSession(), False
    for number, value in enumerate(values, start=1):
        if value is None:
            is_complete = True
            break
        try:
            seconds, direction, client, frames = _ENTRY.validate_python(value)
            packet = decode(frames)
        except (ValidationError, ProtocolError) as error:
            raise CassetteError(f"{file}: message {number} is malformed: {error}") from None
        conversation.take(seconds, direction, client, packet)
    exchanges = [exchange for _, exchange in sorted(conversation.done, key=lambda done: done[0])]
    return Cassette(
        header.target, header.recorded_at, tuple(exchanges), len(conversation.open), is_complete
    )


def _values(source: IO[bytes], file: Path) -> Iterator[Any]:
    unpacker = msgpack.Unpacker(
        source,
        max_buffer_size=2 * MAX_ENTRY_BYTES,
        max_bin_len=MAX_BUFFER_BYTES,
        max_str_len=MAX_HEADER_BYTES,
        max_array_len=MAX_FRAMES,
        max_map_len=MAX_FRAMES,
        max_ext_len=0,
    )
    try:
        yield from unpacker
    except Exception as error:  # noqa: BLE001  msgpack raises whatever its parts raise
        raise CassetteError(f"{file}: malformed after byte {unpacker.tell()}: {error}") from None


def _create(path: Path) -> IO[bytes]:
    try:
        return path.open("xb")
    except FileExistsError:
        raise CassetteError(
            f"{path} exists already", hint="name another file, or remove that one"
        ) from None
    except OSError as error:
        raise CassetteError(f"{path}: {error.strerror}") from None
