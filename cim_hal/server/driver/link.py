"""Messages between a server and the process of its driver: msgpack and raw arrays, bounded.

::

    8 bytes   length of the header u32 LE, number of arrays u32 LE
    header    msgpack map: {"t": type, "a": [{"d": dtype, "s": shape}], …}
    arrays    raw, C order, little endian, one after the other

Nothing is pickled. What breaks the format, or a bound, is a `LinkError`: the other side is then
not to be trusted any more.
"""

from __future__ import annotations

import math
import socket
import struct
import threading
from typing import TYPE_CHECKING, Any

import msgpack
import numpy as np

from cim_hal.protocol.wire.codec import DTYPES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = ["MAX_HEADER_BYTES", "Link", "LinkClosedError", "LinkError"]

MAX_HEADER_BYTES = 1024**2
MAX_ARRAYS = 8
MAX_ARRAY_BYTES = 16 * 1024**3

_PREAMBLE = struct.Struct("<II")


class LinkError(Exception):
    """The other side does not keep to the format, or has gone."""


class LinkClosedError(LinkError):
    """The other side has gone."""


class Link:
    """One end of a connected stream socket. Any thread may send; one receives.

    Parameters
    ----------
    end : socket
        The link closes it.
    max_bytes : int
        Most bytes of arrays in one message that comes in.
    """

    def __init__(self, end: socket.socket, *, max_bytes: int = MAX_ARRAY_BYTES) -> None:
        self._socket = end
        self.max_bytes = max_bytes
        self._sending = threading.Lock()

    def send(self, t: str, *arrays: NDArray[Any], **fields: Any) -> None:
        """Send a message; returns when it is out of our hands.

        Raises
        ------
        LinkError
            The other side has gone, or the message breaks a bound.
        """
        described = [{"d": array.dtype.str, "s": array.shape} for array in arrays]
        header: Any = msgpack.packb({"t": t, "a": described} | fields)
        if len(header) > MAX_HEADER_BYTES or len(arrays) > MAX_ARRAYS:
            raise LinkError(f"a {t} message with {len(header)} bytes and {len(arrays)} arrays")
        try:
            with self._sending:
                self._socket.sendall(_PREAMBLE.pack(len(header), len(arrays)) + header)
                for array in arrays:
                    if array.size:
                        self._socket.sendall(_bytes_of(array))
        except OSError as error:
            raise LinkClosedError(f"the other side has gone: {error}") from None

    def receive(self) -> tuple[str, dict[str, Any], list[NDArray[Any]]]:
        """Wait for a message: its type, its fields, its arrays.

        Raises
        ------
        LinkError
            The other side has gone, or does not keep to the format.
        """
        n_header, n_arrays = _PREAMBLE.unpack(self._read(bytearray(_PREAMBLE.size)))
        if n_header > MAX_HEADER_BYTES or n_arrays > MAX_ARRAYS:
            raise LinkError(f"a message promises {n_header} bytes and {n_arrays} arrays")
        try:
            fields = msgpack.unpackb(self._read(bytearray(n_header)), max_ext_len=0)
            kind = str(fields.pop("t"))
            described = [_described(item) for item in fields.pop("a")]
        except LinkError:
            raise
        except Exception as error:  # msgpack raises ValueError, StackError, UnicodeDecodeError, …
            raise LinkError(f"a header is malformed: {type(error).__name__}") from error
        n_bytes = sum(math.prod(shape) * dtype.itemsize for dtype, shape in described)
        if len(described) != n_arrays or n_bytes > self.max_bytes:
            raise LinkError(f"a message promises {len(described)} arrays of {n_bytes} bytes")
        return kind, fields, [self._read_array(dtype, shape) for dtype, shape in described]

    def shut(self) -> None:
        """Make a receiver on this side, and the other side, see the end."""
        try:
            self._socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            return

    def close(self) -> None:
        """Let go of the socket."""
        self._socket.close()

    def _read_array(self, dtype: np.dtype[Any], shape: Sequence[int]) -> NDArray[Any]:
        array = np.empty(tuple(shape), dtype)
        if array.size:
            self._read(_bytes_of(array))
        return array

    def _read(self, into: Any) -> Any:
        view = memoryview(into)
        try:
            while view:
                n_bytes = self._socket.recv_into(view)
                if n_bytes == 0:
                    raise LinkClosedError("the other side has gone")
                view = view[n_bytes:]
        except OSError as error:
            raise LinkClosedError(f"the other side has gone: {error}") from None
        return into


def _bytes_of(array: NDArray[Any]) -> memoryview:
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data


def _described(item: Any) -> tuple[np.dtype[Any], tuple[int, ...]]:
    name, shape = item["d"], tuple(item["s"])
    if name not in DTYPES or len(shape) > 3 or not all(_is_size(size) for size in shape):
        raise LinkError(f"an array of {name!r} with shape {shape!r}")
    return np.dtype(name), shape


def _is_size(size: Any) -> bool:
    return isinstance(size, int) and not isinstance(size, bool) and 0 <= size < 2**48
