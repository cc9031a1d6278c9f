"""Packets to frames and back: on the network, to the process of a driver, and in files.

::

    F0   8 bytes   "CIM" | major u8 | kind u8 | flags u8 = 0 | number of buffers u16 LE
    F1   msgpack   {"id": bin 16, "s": session, "ep": epoch, "ack": [job],
                   "b": [{"d": dtype, "s": shape}], "p": message}
    F2…  raw       one frame per buffer, C order, little endian

Any frames give a packet or a `ProtocolError`, and nothing else. Sizes are compared in Python
integers before an array is made. ZeroMQ keeps frames apart; in a byte stream and in files each
message has the lengths of its frames ahead::

    4 bytes   number of frames, u32 LE
    8 bytes   length of a frame, u64 LE, once for each frame
    ...       the frames, one after the other
    32 bytes  in files only: SHA-256 of all bytes of this message before it

A file begins with the 8 bytes "CIMFILE1", and messages follow up to its end.
"""

from __future__ import annotations

import hashlib
import math
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias

import msgpack
import numpy as np
from pydantic import Field, TypeAdapter, ValidationError

from cim_hal.errors import CimError, LocalProtocolError, RemoteProtocolError, VersionError
from cim_hal.protocol.wire.base import Number, Token, Wire
from cim_hal.protocol.wire.limits import (
    MAX_ACKNOWLEDGED,
    MAX_BUFFER_BYTES,
    MAX_BUFFERS,
    MAX_HEADER_BYTES,
)
from cim_hal.protocol.wire.packet import ID_BYTES, Kind, Packet
from cim_hal.protocol.wire.version import MAJOR, written
from cim_hal.text import counted

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = [
    "DTYPES",
    "FILE_MAGIC",
    "MAX_FRAMES",
    "Buffer",
    "Codec",
    "FrameLimits",
    "decode",
    "encode",
    "file_messages",
    "file_parts",
    "prefix",
    "read_frames",
]

Buffer: TypeAlias = bytes | bytearray | memoryview

DTYPES = ("|u1", "|i1", "<u2", "<i2", "<u4", "<i4", "<i8", "<f4", "<f8")
MAGIC = b"CIM"
MAX_DEPTH = 8

MAX_DESCRIPTORS = 8
MAX_FRAMES = 2 + MAX_DESCRIPTORS  # preamble, header, buffers
FILE_MAGIC = b"CIMFILE1"

_COUNT = struct.Struct("<I")
_DIGEST_BYTES = 32
_PREAMBLE = struct.Struct("<3sBBBH")
_CONTAINERS = (dict, tuple)
_KINDS = {int(kind): kind for kind in Kind}  # a call of Kind takes ten times as long


@dataclass(frozen=True)
class FrameLimits:
    """Sizes that a message may have; those of the network are the defaults."""

    header_bytes: int = MAX_HEADER_BYTES
    text_bytes: int = 8192
    buffers: int = MAX_BUFFERS
    buffer_bytes: int = MAX_BUFFER_BYTES


class _Descriptor(Wire):
    d: Literal[DTYPES]  # pyright: ignore[reportInvalidTypeForm]
    s: Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(max_length=3)]

    @property
    def n_bytes(self) -> int:
        return math.prod(self.s) * np.dtype(self.d).itemsize


class _Header(Wire):
    id: Annotated[bytes, Field(min_length=ID_BYTES, max_length=ID_BYTES)]
    s: Token | Literal[""] = ""
    b: Annotated[tuple[_Descriptor, ...], Field(max_length=MAX_DESCRIPTORS)] = ()
    ep: Number = 0
    ack: Annotated[tuple[Token, ...], Field(max_length=MAX_ACKNOWLEDGED)] = ()
    p: dict[str, Any]


_HEADER = TypeAdapter(_Header).validator


class Codec:
    """Encodes and decodes packets of the kinds in `bodies`. Any thread may use it."""

    def __init__(
        self, bodies: Mapping[Kind, TypeAdapter[Any]], limits: FrameLimits | None = None
    ) -> None:
        # What stands behind `TypeAdapter.validate_python`, in half the time.
        self._bodies = {kind: adapter.validator for kind, adapter in bodies.items()}
        self._limits = limits or FrameLimits()

    def encode(self, packet: Packet) -> list[Buffer]:
        """Return the frames of a packet; those of arrays share their memory.

        `LocalProtocolError` if the packet breaks a limit of the format.
        """
        header: dict[str, Any] = {"id": packet.id, "p": written(packet.body)}
        if packet.session:
            header["s"] = packet.session
        if packet.epoch:
            header["ep"] = packet.epoch
        if packet.acknowledged:
            header["ack"] = packet.acknowledged
        if packet.buffers:
            header["b"] = [{"d": array.dtype.str, "s": array.shape} for array in packet.buffers]
        packed: Any = msgpack.packb(header)
        most = self._limits.header_bytes
        if len(packed) > most:
            raise LocalProtocolError(f"the header has {len(packed)} bytes, {most} fit")
        preamble = _PREAMBLE.pack(MAGIC, MAJOR, packet.kind, 0, len(packet.buffers))
        return [preamble, packed, *(self._raw(array) for array in packet.buffers)]

    def decode(self, frames: Sequence[Buffer]) -> Packet:
        """Return the packet that the frames hold; its arrays share their memory, read-only.

        `RemoteProtocolError` if the frames are not a packet, with the id in ``details["request"]``
        if it could be read; `VersionError` if they are of another major version.
        """
        kind, n_buffers = self._read_preamble(frames)
        header = self._read_header(frames[1])
        try:
            body: Any = self._bodies[kind].validate_python(header.p)
            buffers = self._read_buffers(header.b, frames[2:], n_buffers, type(body).buffers)
        except ValidationError as error:
            raise _malformed(_first(error), header.id) from None
        except CimError as error:  # of the buffers, or of values that check themselves
            raise _malformed(error.message, header.id) from None
        return Packet(kind, header.id, body, header.s, buffers, header.ep, header.ack)

    def _raw(self, array: NDArray[Any]) -> Buffer:
        if array.dtype.str not in DTYPES or array.nbytes > self._limits.buffer_bytes:
            raise LocalProtocolError(
                f"an array of {array.dtype} with {array.nbytes} bytes cannot go"
            )
        if array.size == 0:
            return b""
        return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data

    def _read_preamble(self, frames: Sequence[Buffer]) -> tuple[Kind, int]:
        if len(frames) < 2 or len(frames[0]) != _PREAMBLE.size:
            raise RemoteProtocolError("the message does not begin with 8 bytes and a header")
        magic, major, number, flags, n_buffers = _PREAMBLE.unpack(frames[0])
        if magic != MAGIC:
            raise RemoteProtocolError("the message does not begin with CIM")
        if major != MAJOR:
            raise VersionError(
                f"the message is of protocol {major}, here is protocol {MAJOR}",
                hint="install a version of cim-hal on either side that has one in common",
                received=major,
                expected=MAJOR,
            )
        kind = _KINDS.get(number)
        if kind is None or kind not in self._bodies or flags != 0:
            raise RemoteProtocolError(f"the message has kind {number} and flags {flags}")
        if n_buffers != len(frames) - 2 or n_buffers > self._limits.buffers:
            raise RemoteProtocolError(
                f"the message promises {counted(n_buffers, 'buffer')} and has {len(frames) - 2}"
            )
        return kind, n_buffers

    def _read_header(self, frame: Buffer) -> _Header:
        limits = self._limits
        if len(frame) > limits.header_bytes:
            raise RemoteProtocolError(
                f"the header has {len(frame)} bytes, {limits.header_bytes} fit"
            )
        try:
            fields = msgpack.unpackb(
                frame,
                use_list=False,
                object_pairs_hook=_without_duplicates,
                max_str_len=limits.text_bytes,
                max_bin_len=4096,
                max_array_len=4096,
                max_map_len=256,
                max_ext_len=0,
            )
        except RemoteProtocolError:
            raise
        except Exception as error:  # msgpack raises ValueError, StackError, UnicodeDecodeError, …
            raise RemoteProtocolError(
                f"the header is not msgpack: {type(error).__name__}"
            ) from error
        if not isinstance(fields, dict) or not _is_shallow(fields):
            raise RemoteProtocolError(f"the header is not a map of at most {MAX_DEPTH} levels")
        try:
            return _HEADER.validate_python(fields)
        except ValidationError as error:
            raise RemoteProtocolError(_first(error)) from None

    def _read_buffers(
        self,
        descriptors: Sequence[_Descriptor],
        frames: Sequence[Buffer],
        n_buffers: int,
        allowed: tuple[int, int],
    ) -> tuple[NDArray[Any], ...]:
        least, most = allowed
        if len(descriptors) != n_buffers or not least <= n_buffers <= most:
            raise RemoteProtocolError(
                f"the message has {counted(n_buffers, 'buffer')} and describes {len(descriptors)}; "
                f"its type takes {least} to {most}"
            )
        return tuple(self._read_array(*pair) for pair in zip(descriptors, frames, strict=True))

    def _read_array(self, descriptor: _Descriptor, frame: Buffer) -> NDArray[Any]:
        if descriptor.n_bytes != len(frame) or len(frame) > self._limits.buffer_bytes:
            raise RemoteProtocolError(
                f"a buffer of {descriptor.n_bytes} bytes is described, {len(frame)} came"
            )
        array = np.frombuffer(frame, dtype=descriptor.d).reshape(descriptor.s)
        array.flags.writeable = False
        return array


@cache
def _network() -> Codec:
    """Return the codec of the network; the process of a driver does without its messages."""
    from cim_hal.protocol.wire.messages import EVENT, REPLY, REQUEST

    return Codec({Kind.REQUEST: REQUEST, Kind.REPLY: REPLY, Kind.EVENT: EVENT})


def encode(packet: Packet) -> list[Buffer]:
    """Return the frames of a packet for the network, as `Codec.encode` does."""
    return _network().encode(packet)


def decode(frames: Sequence[Buffer]) -> Packet:
    """Return the packet that frames from the network hold, as `Codec.decode` does."""
    return _network().decode(frames)


def _without_duplicates(pairs: Sequence[tuple[Any, Any]]) -> dict[Any, Any]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise RemoteProtocolError("the header has a map with the same key twice")
    return fields


def _is_shallow(fields: dict[Any, Any]) -> bool:
    """Return whether maps and arrays are nested at most `MAX_DEPTH` deep."""
    level: list[Any] = [fields]
    for _ in range(MAX_DEPTH):
        inner = [each.values() if isinstance(each, dict) else each for each in level]
        level = [item for items in inner for item in items if isinstance(item, _CONTAINERS)]
        if not level:
            return True
    return False


def _first(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    where = ".".join(str(part)[:60] for part in first["loc"]) or "the header"
    return f"{where}: {first['msg']}"


def _malformed(message: str, request: bytes) -> RemoteProtocolError:
    return RemoteProtocolError(message, request=request.hex())


# ---- in streams and files ---------------------------------------------------------------------


def prefix(frames: Sequence[Buffer]) -> bytes:
    """Return what stands before the frames of a message."""
    return struct.pack(f"<I{len(frames)}Q", len(frames), *map(len, frames))


def read_frames(read: Callable[[int], Buffer], max_bytes: int) -> list[Buffer]:
    """Read the frames of one message, together at most `max_bytes` long.

    `read` returns exactly so many bytes, or raises an error of its own. More frames or bytes than
    allowed are a `RemoteProtocolError`.
    """
    (n_frames,) = _COUNT.unpack(read(_COUNT.size))
    if not 0 < n_frames <= MAX_FRAMES:
        promised = counted(n_frames, "frame")
        raise RemoteProtocolError(f"a message promises {promised}, 1 to {MAX_FRAMES} fit")
    lengths = struct.unpack(f"<{n_frames}Q", read(8 * n_frames))
    if sum(lengths) > max_bytes:
        raise RemoteProtocolError(f"a message promises {sum(lengths)} bytes, {max_bytes} fit")
    return [read(length) for length in lengths]


def file_parts(frames: Sequence[Buffer]) -> Iterator[Buffer]:
    """Yield the bytes of one message in a file, its checksum last."""
    digest = hashlib.sha256()
    for part in (prefix(frames), *frames):
        digest.update(part)
        yield part
    yield digest.digest()


def file_messages(data: memoryview, max_bytes: int) -> Iterator[list[Buffer]]:
    """Yield the frames of each message of a file; they share the memory of `data`.

    `RemoteProtocolError` if the file does not begin with `FILE_MAGIC`, breaks a bound, or has a
    wrong checksum; `EOFError` if it ends within a message.
    """
    if data[: len(FILE_MAGIC)] != FILE_MAGIC:
        raise RemoteProtocolError(f"it does not begin with {FILE_MAGIC.decode()}")
    at = len(FILE_MAGIC)

    def read(n_bytes: int) -> memoryview:
        nonlocal at
        if n_bytes > len(data) - at:
            raise EOFError("the file ends within a message")
        at += n_bytes
        return data[at - n_bytes : at]

    while at < len(data):
        start = at
        frames = read_frames(read, max_bytes)
        expected = hashlib.sha256(data[start:at]).digest()
        if read(_DIGEST_BYTES) != expected:
            raise RemoteProtocolError("its bytes do not have their checksum")
        yield frames
