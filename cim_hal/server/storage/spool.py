"""Couplings and results as files beside a journal, and calibrations; written whole or not at all.

Couplings and results, by content and by job, are each one message of `protocol.wire.codec`. A
calibration is JSON.
"""

from __future__ import annotations

import logging
import os
import re
import threading
from collections import OrderedDict
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from pydantic import ValidationError

from cim_hal.errors import (
    CimError,
    JournalError,
    StorageError,
    TargetError,
    UnknownReferenceError,
)
from cim_hal.machine.telemetry import Calibration
from cim_hal.model.record import Notes
from cim_hal.model.sampleset import Trace
from cim_hal.protocol.couplings.content import Couplings, EncodedCouplings
from cim_hal.protocol.couplings.formats import n_bytes
from cim_hal.protocol.wire.base import Message, Number, one_of
from cim_hal.protocol.wire.codec import FILE_MAGIC, Codec, FrameLimits, file_messages, file_parts
from cim_hal.protocol.wire.messages.couplings import CouplingSpec
from cim_hal.protocol.wire.packet import NO_ID, Kind, Packet
from cim_hal.protocol.wire.results import Result

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cim_hal.protocol.wire.codec import Buffer

__all__ = ["CalibrationStore", "Spool", "storage_error"]

MAX_ARRAY_BYTES = 16 * 1024**3
MAX_COUPLINGS = 65_536  # files, whatever their size; each takes some 200 bytes of memory
TEMPORARY = ".part"
MAX_CALIBRATIONS = 1000  # that are read
MAX_CALIBRATION_BYTES = 60_000

_NAME = re.compile(r"[0-9a-f]{64}\.cim\Z")  # of couplings: other files are not ours to remove

log = logging.getLogger(__name__)


class CouplingFile(Message):
    """Couplings, encoded as they were uploaded."""

    t: Literal["couplings"] = "couplings"
    spec: CouplingSpec
    buffers: ClassVar[tuple[int, int]] = (1, 1)


class ResultFile(Message):
    """A result: packed spins, amplitudes if measured, and the three arrays of a trace if kept."""

    t: Literal["result"] = "result"
    n_spins: Number
    device_s: float
    notes: Notes
    calibration: str
    amplitudes: bool
    trace: bool
    buffers: ClassVar[tuple[int, int]] = (1, 5)


_CODEC = Codec(
    {Kind.RECORD: one_of(CouplingFile, ResultFile)},
    FrameLimits(buffers=5, buffer_bytes=MAX_ARRAY_BYTES),
)


class Spool:
    """Files in two folders. Any thread may use it, one at a time for new couplings.

    Couplings that no job waits for are kept up to `max_bytes` and `MAX_COUPLINGS` files, the most
    recently used ones. Which there are is read from the disk once, at the start.
    """

    def __init__(self, folder: Path, *, max_bytes: int) -> None:
        self._couplings = folder / "couplings"
        self._results = folder / "results"
        self._max_bytes = max_bytes
        self._lock = threading.Lock()  # guards what follows
        self._sizes: OrderedDict[str, int] = OrderedDict()  # of couplings, the last used last
        self._n_bytes = 0
        self._needed: dict[str, str] = {}  # digest of couplings by job that is not over
        for place in (self._couplings, self._results):
            place.mkdir(mode=0o700, parents=True, exist_ok=True)
            for leftover in place.glob(f"*{TEMPORARY}"):
                _remove(leftover)
        self._read_index()

    # ---- couplings --------------------------------------------------------------------------

    def need_couplings(self, job: str, digest: str) -> bool:
        """Keep couplings for a job until they are released; return whether there are any."""
        with self._lock:
            self._needed[job] = digest
        return self._use(digest)

    def release_couplings(self, job: str) -> None:
        """Let go of the couplings of a job that is over."""
        with self._lock:
            self._needed.pop(job, None)

    def keep_couplings(self, digest: str, content: Couplings) -> None:
        """Keep couplings; others that no job needs may be removed to make room."""
        if self._use(digest):
            return
        path, stored = self._coupling_path(digest), CouplingFile(spec=content.spec)
        _write(path, stored, content.payload.data)
        with self._lock:
            self._sizes[digest] = size = path.stat().st_size
            self._n_bytes += size
            self._make_room(kept={digest, *self._needed.values()})

    def couplings(self, digest: str) -> Couplings:
        """Return couplings; `UnknownReferenceError` if not kept any more, or damaged."""
        try:
            return self._read_couplings(digest)
        except (OSError, CimError) as error:
            log.warning("couplings of a job cannot be read: %s", error)
            raise UnknownReferenceError(
                f"the couplings {digest[:19]}… are not on the disk of the server any more",
                hint="submit the job again, with a new key",
                kind="coupling",
            ) from error

    # ---- results ----------------------------------------------------------------------------

    def keep_result(self, job: str, result: Result) -> Result:
        """Write a result, and return it with arrays that are mapped from its file."""
        _write(self._result_path(job), *_told(result))
        try:
            return self._read_result(job)
        except OSError as error:
            raise storage_error(error) from error

    def has_result(self, job: str) -> bool:
        """Return whether a result is kept."""
        return self._result_path(job).exists()

    def result(self, job: str) -> Result | None:
        """Return a result; None if its file is missing or damaged, which is logged."""
        try:
            return self._read_result(job)
        except (OSError, CimError) as error:
            log.warning("the result of job %s cannot be read: %s", job, error)
            return None

    def drop_results(self, jobs: Collection[str]) -> None:
        """Remove results."""
        for job in jobs:
            _remove(self._result_path(job))

    def keep_only(self, jobs: Collection[str]) -> None:
        """Remove the results of all other jobs: a crash may have left some without a record."""
        kept = {self._result_path(job) for job in jobs}
        for path in self._results.iterdir():
            if path not in kept:
                _remove(path)

    def _read_couplings(self, digest: str) -> Couplings:
        path = self._coupling_path(digest)
        packet = _read(path)
        if not isinstance(packet.body, CouplingFile):
            raise _damaged(path, "it holds no couplings")
        spec, (data,) = packet.body.spec, packet.buffers
        if data.shape != (n_bytes(spec),) or data.dtype != np.uint8:
            raise _damaged(path, "its layout does not fit its bytes")
        return Couplings(EncodedCouplings(spec, data))

    def _read_result(self, job: str) -> Result:
        path = self._result_path(job)
        return _as_result(path, _read(path))

    def _read_index(self) -> None:
        """Find the couplings that are there; those that were used last are the last."""
        with os.scandir(self._couplings) as entries:
            found = [(entry.name, entry.stat()) for entry in entries if _NAME.match(entry.name)]
        for name, stat in sorted(found, key=lambda entry: entry[1].st_mtime_ns):
            self._sizes[f"sha256:{name.removesuffix('.cim')}"] = stat.st_size
            self._n_bytes += stat.st_size

    def _use(self, digest: str) -> bool:
        """Return whether couplings are kept; now they are the last used, also after a restart."""
        try:
            os.utime(self._coupling_path(digest))
        except OSError:
            with self._lock:
                self._n_bytes -= self._sizes.pop(digest, 0)
            return False
        with self._lock:
            if digest in self._sizes:
                self._sizes.move_to_end(digest)
        return True

    def _make_room(self, kept: Collection[str]) -> None:
        """Remove the couplings that were not used for longest."""
        while self._is_too_full:
            oldest = next((digest for digest in self._sizes if digest not in kept), None)
            if oldest is None:
                return
            _remove(self._coupling_path(oldest))
            self._n_bytes -= self._sizes.pop(oldest)

    @property
    def _is_too_full(self) -> bool:
        return self._n_bytes > self._max_bytes or len(self._sizes) > MAX_COUPLINGS

    def _coupling_path(self, digest: str) -> Path:
        return self._couplings / f"{digest.removeprefix('sha256:')}.cim"

    def _result_path(self, job: str) -> Path:
        return self._results / f"{job}.cim"


def encoded_result(result: Result) -> bytes:
    """Return a result as the bytes of a file."""
    return b"".join(_encoded(*_told(result)))


def decoded_result(data: bytes) -> Result:
    """Return a result from the bytes of a file; `JournalError` if they are damaged."""
    where = Path(f"a result of {len(data)} bytes")
    return _as_result(where, _decoded(where, memoryview(data)))


def _told(result: Result) -> tuple[Any, ...]:
    """Return the message that holds a result, and its arrays."""
    trace, amplitudes = result.trace, result.amplitudes
    arrays: list[Any] = [result.spins]
    arrays += [] if amplitudes is None else [amplitudes]
    arrays += [] if trace is None else [trace.round_trips, trace.pump, trace.amplitudes]
    stored = ResultFile(
        n_spins=result.n_spins,
        device_s=result.device_s,
        notes=dict(result.notes),
        calibration=result.calibration,
        amplitudes=amplitudes is not None,
        trace=trace is not None,
    )
    return stored, *arrays


def _as_result(path: Path, packet: Packet) -> Result:
    stored: Any = packet.body
    spins, *rest = packet.buffers
    if not isinstance(stored, ResultFile) or len(rest) != stored.amplitudes + 3 * stored.trace:
        raise _damaged(path, "it holds no result")
    amplitudes = rest.pop(0) if stored.amplitudes else None
    trace = Trace(*rest) if stored.trace else None
    n_spins = stored.n_spins
    if spins.ndim != 2 or spins.dtype != np.uint8 or spins.shape[1] != -(-n_spins // 8):
        raise _damaged(path, f"it has spins {spins.shape}")
    if amplitudes is not None and amplitudes.shape != (len(spins), n_spins):
        raise _damaged(path, f"it has amplitudes {amplitudes.shape}")
    return Result(
        spins, amplitudes, n_spins, stored.device_s, trace, stored.notes, stored.calibration
    )


class CalibrationStore:
    """A folder of records; a file is named by the time and the fingerprint of its record.

    `TargetError` if the folder cannot be created.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise TargetError(f"cannot make the folder {folder}: {error.strerror}") from None

    def keep(self, record: Calibration) -> None:
        """Write a record; a disk that cannot be written is logged and no error."""
        try:
            write_whole(
                self._folder / _calibration_name(record),
                [record.model_dump_json(indent=1).encode()],
            )
        except StorageError:
            log.exception("the calibration %s could not be written", record.fingerprint)

    def read(self) -> list[Calibration]:
        """Return the newest records, oldest first; damaged files are logged and left in place."""
        paths = sorted(self._folder.glob("*.json"))[-MAX_CALIBRATIONS:]
        records = [record for path in paths if (record := _read_calibration(path)) is not None]
        return sorted(records, key=lambda record: record.taken_at)


def _calibration_name(record: Calibration) -> str:
    return f"{record.taken_at:017.3f}-{record.fingerprint.removeprefix('sha256:')}.json"


def _read_calibration(path: Path) -> Calibration | None:
    try:
        with path.open("rb") as file:
            record = Calibration.model_validate_json(file.read(MAX_CALIBRATION_BYTES))
    except (OSError, ValidationError) as error:
        log.warning("%s holds no calibration: %s", path, type(error).__name__)
        return None
    if not path.name.endswith(_calibration_name(record).partition("-")[2]):
        log.warning("%s does not hold the calibration it is named after", path)
        return None
    return record


def storage_error(error: Exception) -> StorageError:
    """Return the error for clients when the disk refuses a write."""
    reason = error.strerror if isinstance(error, OSError) else str(error)
    return StorageError(
        f"the server cannot write to its disk: {reason}",
        hint="nothing was lost: send the same request again once there is room",
    )


def _write(path: Path, body: Any, *arrays: NDArray[Any]) -> None:
    """Write a message as a file; see `write_whole`."""
    write_whole(path, _encoded(body, *arrays))


def _encoded(body: Any, *arrays: NDArray[Any]) -> tuple[Buffer, ...]:
    frames = _CODEC.encode(Packet(Kind.RECORD, NO_ID, body, buffers=arrays))
    return (FILE_MAGIC, *file_parts(frames))


def write_whole(path: Path, parts: Iterable[Buffer]) -> None:
    """Write a file, or raise a `StorageError` and leave what was there before.

    It is on the disk when this returns.
    """
    temporary = path.with_name(path.name + TEMPORARY)
    try:
        with temporary.open("wb") as file:
            file.writelines(parts)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        _sync_folder(path.parent)
    except OSError as error:
        _remove(temporary)
        raise storage_error(error) from error


def _read(path: Path) -> Packet:
    """Return what a file holds; its arrays are mapped from it, read-only.

    `OSError` if it cannot be read, `JournalError` if it is damaged.
    """
    try:
        data = np.memmap(path, np.uint8, "r").data
    except ValueError as error:
        raise _damaged(path, str(error)) from None
    return _decoded(path, data)


def _decoded(path: Path, data: memoryview) -> Packet:
    try:
        (frames,) = file_messages(data, max_bytes=len(data))
        return _CODEC.decode(frames)
    except (ValueError, EOFError, CimError) as error:
        raise _damaged(path, str(error)) from None


def _remove(path: Path) -> None:
    """Remove a file that may not exist."""
    try:
        path.unlink(missing_ok=True)
    except OSError:  # it stays, and is removed at the next start
        return


def _sync_folder(folder: Path) -> None:
    if os.name != "posix":  # elsewhere a folder cannot be opened
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _damaged(path: Path, why: str) -> JournalError:
    return JournalError(f"{path} is damaged: {why}", hint="remove it", path=str(path))
