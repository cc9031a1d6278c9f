"""Couplings and results as files beside a journal, and calibrations; written whole or not at all.

Couplings are each one message of `protocol.wire.codec`, named by their content. Results are named
by their job. A calibration is JSON.
"""

from __future__ import annotations

import logging
import math
import os
import re
import threading
import time
from collections import OrderedDict
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from pydantic import ValidationError

from cim_hal.atomic_files import TEMPORARY, replacing
from cim_hal.errors import (
    CimError,
    JournalError,
    StorageError,
    TargetError,
    UnknownReferenceError,
)
from cim_hal.machine.telemetry import Calibration
from cim_hal.protocol.couplings.content import Couplings, EncodedCouplings
from cim_hal.protocol.couplings.formats import n_bytes
from cim_hal.protocol.wire.base import Message, one_of
from cim_hal.protocol.wire.codec import FILE_MAGIC, Codec, FrameLimits, file_messages, file_parts
from cim_hal.protocol.wire.messages.couplings import CouplingSpec
from cim_hal.protocol.wire.packet import NO_ID, Kind, Packet
from cim_hal.server.storage.result_file import damaged, result_parts, stored_result

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cim_hal.protocol.wire.codec import Buffer
    from cim_hal.protocol.wire.results import Result

__all__ = [
    "CalibrationStore",
    "Spool",
    "make_private",
    "read_couplings",
    "storage_error",
    "write_whole",
]

MAX_ARRAY_BYTES = 16 * 1024**3
MAX_COUPLINGS = 65_536  # files, whatever their size; each takes some 200 bytes of memory
RECHECK_S = 0.1  # for which a file that was there is taken to be there
MAX_CALIBRATIONS = 1000  # that are read
MAX_CALIBRATION_BYTES = 60_000

# Names of couplings and of results: other files are not ours to remove.
_NAME, _JOB = re.compile(r"[0-9a-f]{64}\.cim\Z"), re.compile(r"[0-9a-f]{32}\.cim\Z")

log = logging.getLogger(__name__)


class CouplingFile(Message):
    """Couplings, encoded as they were uploaded."""

    t: Literal["couplings"] = "couplings"
    spec: CouplingSpec
    buffers: ClassVar[tuple[int, int]] = (1, 1)


_CODEC = Codec(
    {Kind.RECORD: one_of(CouplingFile)},
    FrameLimits(buffers=1, buffer_bytes=MAX_ARRAY_BYTES),
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
        self._checked_at: dict[str, float] = {}  # when a file of `_sizes` was last seen
        self._n_bytes = 0
        self._needed: dict[str, str] = {}  # digest of couplings by job that is not over
        for place in (self._couplings, self._results):
            place.mkdir(mode=0o700, parents=True, exist_ok=True)
            make_private(place)
            for leftover in place.glob(f"*{TEMPORARY}"):
                _remove(leftover)
        self._read_index()
        self._with_result = self.results()  # jobs; to ask the disk for each costs more

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
            return read_couplings(self._coupling_path(digest))
        except (OSError, CimError) as error:
            log.warning("couplings of a job cannot be read: %s", error)
            raise UnknownReferenceError(
                f"the couplings {digest[:19]}… are not on the disk of the server any more",
                hint="submit the job again, with a new key",
                kind="coupling",
            ) from error

    # ---- results ----------------------------------------------------------------------------

    def keep_result(self, job: str, result: Result) -> Result:
        """Write a result, and return it with arrays that are read from its file."""
        path = self._result_path(job)
        self._with_result.add(job)
        write_whole(path, result_parts(job, result))
        try:
            return stored_result(job, path)
        except OSError as error:
            raise storage_error(error) from error

    def has_result(self, job: str) -> bool:
        """Return whether a result is kept."""
        return self._result_path(job).exists()

    def result(self, job: str) -> Result:
        """Return a result; `JobLostError` if its file is missing or damaged."""
        try:
            return stored_result(job, self._result_path(job))
        except OSError as error:
            raise damaged(f"its file cannot be read: {error.strerror}") from error

    def results(self) -> set[str]:
        """Return the jobs of which there are results."""
        return {path.stem for path in self._results.iterdir() if _JOB.match(path.name)}

    def drop_results(self, jobs: Collection[str]) -> None:
        """Remove results; most jobs have none, theirs lay in the database."""
        for job in self._with_result.intersection(jobs):
            _remove(self._result_path(job))
            self._with_result.discard(job)

    def _read_index(self) -> None:
        """Find the couplings that are there; those that were used last are the last."""
        with os.scandir(self._couplings) as entries:
            found = [(entry.name, entry.stat()) for entry in entries if _NAME.match(entry.name)]
        for name, stat in sorted(found, key=lambda entry: entry[1].st_mtime_ns):
            self._sizes[f"sha256:{name.removesuffix('.cim')}"] = stat.st_size
            self._n_bytes += stat.st_size

    def _use(self, digest: str) -> bool:
        """Return whether couplings are kept; now they are the last used, also after a restart.

        Whether their file is there is asked every `RECHECK_S`: a call of the system lets go of the
        interpreter's lock, for which a busy server waits.
        """
        now = time.monotonic()
        with self._lock:
            if now < self._checked_at.get(digest, -math.inf) + RECHECK_S:
                self._sizes.move_to_end(digest)
                return True
        try:
            os.utime(self._coupling_path(digest))
        except OSError:
            with self._lock:
                self._forget(digest)
            return False
        with self._lock:
            if digest in self._sizes:
                self._sizes.move_to_end(digest)
                self._checked_at[digest] = now
        return True

    def _forget(self, digest: str) -> None:
        self._n_bytes -= self._sizes.pop(digest, 0)
        self._checked_at.pop(digest, None)

    def _make_room(self, kept: Collection[str]) -> None:
        """Remove the couplings that were not used for longest."""
        while self._is_too_full:
            oldest = next((digest for digest in self._sizes if digest not in kept), None)
            if oldest is None:
                return
            _remove(self._coupling_path(oldest))
            self._forget(oldest)

    @property
    def _is_too_full(self) -> bool:
        return self._n_bytes > self._max_bytes or len(self._sizes) > MAX_COUPLINGS

    def _coupling_path(self, digest: str) -> Path:
        return self._couplings / f"{digest.removeprefix('sha256:')}.cim"

    def _result_path(self, job: str) -> Path:
        return self._results / f"{job}.cim"


def read_couplings(path: Path) -> Couplings:
    """Return the couplings in a file; `OSError` or `JournalError` if there are none."""
    packet = _read(path)
    stored: Any = packet.body
    spec, (data,) = stored.spec, packet.buffers
    if data.shape != (n_bytes(spec),) or data.dtype != np.uint8:
        raise _damaged(path, "its layout does not fit its bytes")
    return Couplings(EncodedCouplings(spec, data))


class CalibrationStore:
    """A folder of records; a file is named by the time and the fingerprint of its record.

    `TargetError` if the folder cannot be created.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
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
    frames = _CODEC.encode(Packet(Kind.RECORD, NO_ID, body, buffers=arrays))
    write_whole(path, (FILE_MAGIC, *file_parts(frames)))


def write_whole(path: Path, parts: Iterable[Buffer]) -> None:
    """Write a file, or raise a `StorageError` and leave what was there before.

    It is on the disk when this returns.
    """
    try:
        with replacing(path, mode=0o600, durable=True) as file:
            file.writelines(parts)
    except OSError as error:
        raise storage_error(error) from error


def _read(path: Path) -> Packet:
    """Return what a file holds, all of it read and checked.

    `OSError` if it cannot be read, `JournalError` if it is damaged.
    """
    data = memoryview(path.read_bytes())
    try:
        (frames,) = file_messages(data, max_bytes=len(data))
        return _CODEC.decode(frames)
    except (ValueError, EOFError, CimError) as error:
        raise _damaged(path, str(error)) from None


def make_private(path: Path) -> None:
    """Take from others the right to read, or to list, what is there; where we may not, warn."""
    mode = path.stat().st_mode
    if not mode & 0o077 or os.name != "posix":
        return
    try:
        path.chmod(mode & 0o7700)
    except OSError as error:
        log.warning("%s is open to other users, and stays so: %s", path, error.strerror)
    else:
        log.warning("%s was open to other users; now it is not", path)


def _remove(path: Path) -> None:
    """Remove a file that may not exist."""
    try:
        path.unlink(missing_ok=True)
    except OSError:  # it stays, and is removed at the next start
        return


def _damaged(path: Path, why: str) -> JournalError:
    return JournalError(f"{path} is damaged: {why}", hint="remove it", path=str(path))
