"""Results in files: a header, then blocks with a checksum each, which are checked as they are read.

::

    CIMFILE1, one message: a `ResultFile`, which says what the arrays are
    the bytes of all arrays, one after the other, in blocks of 256 KiB, the last one shorter;
    after each block 16 bytes, BLAKE2b of the number of the block (u64 LE) and its bytes
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from pydantic import Field

from cim_hal.errors import CimError, JobLostError, StorageError
from cim_hal.model.record import Notes
from cim_hal.model.sampleset import Trace
from cim_hal.protocol.wire.base import Message, Number, Wire, one_of
from cim_hal.protocol.wire.codec import DTYPES, FILE_MAGIC, Codec, file_messages, file_parts
from cim_hal.protocol.wire.limits import MAX_HEADER_BYTES
from cim_hal.protocol.wire.packet import NO_ID, Kind, Packet
from cim_hal.protocol.wire.results import Result

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cim_hal.protocol.wire.codec import Buffer

__all__ = ["damaged", "result_of", "result_parts", "stored_result"]

BLOCK_BYTES = 256 * 1024
DIGEST_BYTES = 16
MAX_START = MAX_HEADER_BYTES + 1024  # bytes of the header and what is around it


class ArrayLayout(Wire):
    """Type and shape of one array."""

    dtype: Literal[DTYPES]  # pyright: ignore[reportInvalidTypeForm]
    shape: Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(max_length=3)]

    @property
    def n_bytes(self) -> int:
        """Bytes of the array."""
        return math.prod(self.shape) * np.dtype(self.dtype).itemsize


class ResultFile(Message):
    """A result: packed spins, amplitudes if measured, and the three arrays of a trace if kept."""

    t: Literal["result"] = "result"
    job: str
    n_spins: Number
    device_s: float
    notes: Notes
    calibration: str
    amplitudes: bool
    trace: bool
    arrays: Annotated[tuple[ArrayLayout, ...], Field(min_length=1, max_length=5)]


_CODEC = Codec({Kind.RECORD: one_of(ResultFile)})


def result_parts(job: str, result: Result) -> Iterator[Buffer]:
    """Yield the bytes of a result's file."""
    trace, amplitudes = result.trace, result.amplitudes
    arrays: list[Any] = [result.spins]
    arrays += [] if amplitudes is None else [amplitudes]
    arrays += [] if trace is None else [trace.round_trips, trace.pump, trace.amplitudes]
    header = ResultFile(
        job=job,
        n_spins=result.n_spins,
        device_s=result.device_s,
        notes=dict(result.notes),
        calibration=result.calibration,
        amplitudes=amplitudes is not None,
        trace=trace is not None,
        arrays=tuple(ArrayLayout(dtype=a.dtype.str, shape=a.shape) for a in arrays),
    )
    yield FILE_MAGIC
    yield from file_parts(_CODEC.encode(Packet(Kind.RECORD, NO_ID, header)))
    for number, block in enumerate(_blocks(arrays)):
        yield block
        yield _digest(number, block)


def stored_result(job: str, path: Path) -> Result:
    """Return the result in a file, whose arrays are read when they are used.

    A file that is none, or of another length than its header says, is a `JobLostError`, and so is
    later each block that does not have its checksum, and a file that is gone. `OSError` if it
    cannot be read, and later `StorageError`: it may be read again.
    """
    with path.open("rb") as file:
        start = file.read(MAX_START)
        n_bytes = file.seek(0, 2)

    def read_at(offset: int, n_bytes: int) -> bytes:
        try:
            with path.open("rb") as file:
                file.seek(offset)
                return file.read(n_bytes)
        except FileNotFoundError as error:
            raise damaged("its file is gone") from error
        except OSError as error:  # rights, a disk that fails, no more open files
            raise StorageError(
                f"the server cannot read the result of the job now: {error.strerror}",
                hint="nothing was deleted: ask again",
            ) from error

    return _opened(job, read_at, start, n_bytes)


def result_of(job: str, data: bytes) -> Result:
    """Return the result in the bytes of a file, all of them checked."""

    def read_at(offset: int, n_bytes: int) -> bytes:
        return data[offset : offset + n_bytes]

    result = _opened(job, read_at, data[:MAX_START], len(data))
    trace, read = result.trace, _read_whole
    return replace(
        result,
        spins=read(result.spins),
        amplitudes=None if result.amplitudes is None else read(result.amplitudes),
        trace=trace and Trace(read(trace.round_trips), read(trace.pump), read(trace.amplitudes)),
    )


def _read_whole(array: Any) -> Any:
    return np.asarray(array)


class _Blocks:
    """The blocks of a file; `read_at` returns so many bytes at an offset, or fewer at the end."""

    def __init__(self, read_at: Callable[[int, int], bytes], at: int) -> None:
        self._read_at, self._at = read_at, at

    def read(self, start: int, stop: int) -> bytes:
        """Return bytes of the arrays; `JobLostError` unless they are as they were written."""
        first, last = start // BLOCK_BYTES, max(stop - 1, start) // BLOCK_BYTES
        found = b"".join(self._block(number) for number in range(first, last + 1))
        found = found[start - first * BLOCK_BYTES : stop - first * BLOCK_BYTES]
        if len(found) != stop - start:
            raise damaged("its file ends too early")
        return found

    def _block(self, number: int) -> bytes:
        stride = BLOCK_BYTES + DIGEST_BYTES
        data = self._read_at(self._at + number * stride, stride)
        block = data[:-DIGEST_BYTES]
        if data[-DIGEST_BYTES:] != _digest(number, block):
            raise damaged(f"block {number} of its file does not have its checksum")
        return block


class _StoredArray:
    """An array that stays where it is; slices of rows, and the whole as an array, are read."""

    def __init__(self, source: _Blocks, at: int, dtype: str, shape: tuple[int, ...]) -> None:
        self._source, self._at = source, at
        self.dtype, self.shape = np.dtype(dtype), shape
        self.nbytes = math.prod(shape) * self.dtype.itemsize

    @property
    def ndim(self) -> int:
        return len(self.shape)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice) -> NDArray[Any]:
        first, last, _ = rows.indices(len(self))
        n_rows, row_bytes = max(last - first, 0), self.nbytes // max(len(self), 1)
        shape = (n_rows, *self.shape[1:])
        if not n_rows * row_bytes:
            return np.zeros(shape, self.dtype)
        start = self._at + first * row_bytes
        found = self._source.read(start, start + n_rows * row_bytes)
        return np.frombuffer(found, self.dtype).reshape(shape)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:  # noqa: FBT001
        found = self[0 : len(self)]
        return found if dtype is None else found.astype(dtype)

    def reshape(self, n_rows: int, n_columns: int) -> _StoredArray:
        """Return the same bytes as rows; `n_rows` is -1."""
        del n_rows
        n_rows = math.prod(self.shape) // max(n_columns, 1)
        return _StoredArray(self._source, self._at, self.dtype.str, (n_rows, n_columns))


def _opened(job: str, read_at: Callable[[int, int], bytes], start: bytes, n_bytes: int) -> Result:
    header, begin = _header(start)
    source = _Blocks(read_at, begin)
    payload = sum(layout.n_bytes for layout in header.arrays)
    n_blocks = -(-payload // BLOCK_BYTES)
    if n_bytes != begin + payload + n_blocks * DIGEST_BYTES:
        raise damaged(f"its file has {n_bytes} bytes")
    if header.job != job:
        raise damaged("its file is of another job")
    arrays, at = [], 0
    for layout in header.arrays:
        arrays.append(_StoredArray(source, at, layout.dtype, layout.shape))
        at += layout.n_bytes
    return _result(header, arrays)


def _header(start: bytes) -> tuple[ResultFile, int]:
    """Return the header of a file, and where it ends."""
    try:
        frames = next(file_messages(memoryview(start), MAX_START))
        header: Any = _CODEC.decode(frames).body
    except (CimError, ValueError, EOFError, StopIteration) as error:
        raise damaged(str(error) or "its file is empty") from None
    return header, len(FILE_MAGIC) + sum(len(part) for part in file_parts(frames))


def _result(header: ResultFile, arrays: list[Any]) -> Result:
    spins, *rest = arrays
    n_spins = header.n_spins
    if len(rest) != header.amplitudes + 3 * header.trace:
        raise damaged("its file holds other arrays than it says")
    amplitudes = rest.pop(0) if header.amplitudes else None
    if spins.ndim != 2 or spins.dtype != np.uint8 or spins.shape[1] != -(-n_spins // 8):
        raise damaged(f"its file has spins {spins.shape}")
    if amplitudes is not None and amplitudes.shape != (len(spins), n_spins):
        raise damaged(f"its file has amplitudes {amplitudes.shape}")
    trace = Trace(*rest) if header.trace else None
    return Result(
        spins, amplitudes, n_spins, header.device_s, trace, header.notes, header.calibration
    )


def _blocks(arrays: list[Any]) -> Iterator[bytes]:
    """Yield the bytes of arrays, one after the other, cut in blocks."""
    rest = b""
    for array in arrays:
        raw: Any = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
        data = memoryview(raw)
        at = 0
        while at < len(data):
            taken = data[at : at + BLOCK_BYTES - len(rest)]
            at += len(taken)
            rest += taken
            if len(rest) == BLOCK_BYTES:
                yield rest
                rest = b""
    if rest:
        yield rest


def _digest(number: int, block: bytes) -> bytes:
    head = number.to_bytes(8, "little")
    return hashlib.blake2b(head + block, digest_size=DIGEST_BYTES).digest()


def damaged(why: str) -> JobLostError:
    """Return the error of a job whose result cannot be read any more."""
    return JobLostError(
        f"the result of the job is damaged on the disk of the server: {why}",
        hint="run the job again, with a new key; the file is left as it is",
    )
