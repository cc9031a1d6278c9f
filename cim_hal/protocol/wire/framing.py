"""Messages in a byte stream and in files: their frames, each with its length.

::

    4 bytes   number of frames, u32 LE
    8 bytes   length of a frame, u64 LE, once for each frame
    ...       the frames of `codec`, one after the other
    32 bytes  in files only: SHA-256 of all bytes of this message before it

A file begins with the 8 bytes "CIMFILE1", and messages follow up to its end. Bytes are not
trusted: numbers are compared with bounds before memory is taken.
"""

from __future__ import annotations

import hashlib
import struct
from typing import TYPE_CHECKING

from cim_hal.errors import RemoteProtocolError
from cim_hal.protocol.wire.codec import MAX_DESCRIPTORS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from cim_hal.protocol.wire.codec import Buffer

__all__ = ["FILE_MAGIC", "MAX_FRAMES", "file_messages", "file_parts", "prefix", "read_frames"]

FILE_MAGIC = b"CIMFILE1"
MAX_FRAMES = 2 + MAX_DESCRIPTORS  # preamble, header, buffers

_COUNT = struct.Struct("<I")
_DIGEST_BYTES = 32


def prefix(frames: Sequence[Buffer]) -> bytes:
    """Return what stands before the frames of a message."""
    return struct.pack(f"<I{len(frames)}Q", len(frames), *map(len, frames))


def read_frames(read: Callable[[int], Buffer], max_bytes: int) -> list[Buffer]:
    """Read the frames of one message.

    Parameters
    ----------
    read : callable
        Returns exactly so many bytes, or raises an error of its own.
    max_bytes : int
        All frames together.

    Raises
    ------
    RemoteProtocolError
        There are more frames or bytes than allowed.
    """
    (n_frames,) = _COUNT.unpack(read(_COUNT.size))
    if not 0 < n_frames <= MAX_FRAMES:
        raise RemoteProtocolError(f"a message promises {n_frames} frames, 1 to {MAX_FRAMES} fit")
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

    Raises
    ------
    RemoteProtocolError
        The file does not begin with `FILE_MAGIC`, breaks a bound, or a checksum is wrong.
    EOFError
        The file ends within a message.
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
