"""Couplings and results as files beside a journal: by content, and by job."""

from __future__ import annotations

import logging
import os
import threading
from typing import TYPE_CHECKING

import numpy as np
from pydantic import ValidationError

from cim_hal.errors import JournalError, UnknownReferenceError
from cim_hal.model.trace import Trace
from cim_hal.protocol.couplings.content import Couplings, EncodedCouplings
from cim_hal.protocol.couplings.layout import n_bytes
from cim_hal.protocol.wire.messages import CouplingSpec
from cim_hal.protocol.wire.results import Result
from cim_hal.server.storage.array_file import (
    TEMPORARY,
    read_arrays,
    remove,
    storage_error,
    write_arrays,
)

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path


__all__ = ["Spool"]

log = logging.getLogger(__name__)


class Spool:
    """Files in two folders; any thread may use it.

    Parameters
    ----------
    folder : Path
    max_bytes : int
        Couplings that no job waits for are kept up to this size; those not used for the longest
        time go first.
    """

    def __init__(self, folder: Path, *, max_bytes: int) -> None:
        self._couplings = folder / "couplings"
        self._results = folder / "results"
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        for place in (self._couplings, self._results):
            place.mkdir(mode=0o700, parents=True, exist_ok=True)
            for leftover in place.glob(f"*{TEMPORARY}"):
                remove(leftover)

    # ---- couplings --------------------------------------------------------------------------

    def has_couplings(self, digest: str) -> bool:
        """Return whether couplings are kept, and count that as a use of them."""
        try:
            os.utime(self._coupling_path(digest))
        except OSError:
            return False
        return True

    def keep_couplings(self, digest: str, content: Couplings, in_use: Collection[str]) -> None:
        """Keep couplings; others than those and those `in_use` make room.

        Raises
        ------
        StorageError
            There is no room on the disk.
        """
        with self._lock:
            if self.has_couplings(digest):
                return
            about, data = content.spec.model_dump(), content.payload.data
            write_arrays(self._coupling_path(digest), about, [data])
            self._make_room({self._coupling_path(name) for name in (*in_use, digest)})

    def couplings(self, digest: str) -> Couplings:
        """Return couplings.

        Raises
        ------
        UnknownReferenceError
            They are not here, or damaged.
        """
        try:
            return self._read_couplings(digest)
        except (OSError, ValueError, ValidationError, JournalError) as error:
            log.warning("couplings of a job cannot be read: %s", error)
            raise UnknownReferenceError(
                f"the couplings {digest[:19]}… are not on the disk of the server any more",
                hint="submit the job again, with a new key",
                kind="coupling",
            ) from error

    # ---- results ----------------------------------------------------------------------------

    def keep_result(self, job: str, result: Result) -> Result:
        """Write a result, and return it as it lies on the disk.

        Raises
        ------
        StorageError
            There is no room on the disk.
        """
        trace, amplitudes = result.trace, result.amplitudes
        arrays = [result.spins]
        arrays += [] if amplitudes is None else [amplitudes]
        arrays += [] if trace is None else [trace.round_trips, trace.pump, trace.amplitudes]
        about = {
            "n_spins": result.n_spins,
            "device_s": result.device_s,
            "notes": dict(result.notes),
            "calibration": result.calibration,
            "amplitudes": amplitudes is not None,
            "trace": trace is not None,
        }
        write_arrays(self._result_path(job), about, arrays)
        try:
            return self._read_result(job)
        except OSError as error:
            raise storage_error(error) from error

    def has_result(self, job: str) -> bool:
        """Return whether a result is kept."""
        return self._result_path(job).exists()

    def result(self, job: str) -> Result | None:
        """Return a result; None where it is not there or damaged, which is logged."""
        try:
            return self._read_result(job)
        except (OSError, ValueError, LookupError, TypeError, JournalError) as error:
            log.warning("the result of job %s cannot be read: %s", job, error)
            return None

    def drop_results(self, jobs: Collection[str]) -> None:
        """Remove results."""
        for job in jobs:
            remove(self._result_path(job))

    def keep_only(self, jobs: Collection[str]) -> None:
        """Remove the results of all other jobs: those a crash left without a record."""
        kept = {self._result_path(job) for job in jobs}
        for path in self._results.iterdir():
            if path not in kept:
                remove(path)

    def _read_couplings(self, digest: str) -> Couplings:
        path = self._coupling_path(digest)
        about, (data,) = read_arrays(path)
        spec = CouplingSpec.model_validate(about)
        if data.shape != (n_bytes(spec),) or data.dtype != np.uint8:
            raise JournalError(f"{path} is damaged: its layout does not fit its bytes")
        return Couplings(EncodedCouplings(spec, data))

    def _read_result(self, job: str) -> Result:
        about, arrays = read_arrays(self._result_path(job))
        spins, *rest = arrays
        amplitudes = rest.pop(0) if about["amplitudes"] else None
        trace = Trace(*rest) if about["trace"] else None
        n_spins, device_s = int(about["n_spins"]), float(about["device_s"])
        if spins.ndim != 2 or spins.dtype != np.uint8 or spins.shape[1] != -(-n_spins // 8):
            raise JournalError(f"the result of job {job} has spins {spins.shape}")
        if amplitudes is not None and amplitudes.shape != (len(spins), n_spins):
            raise JournalError(f"the result of job {job} has amplitudes {amplitudes.shape}")
        notes, calibration = dict(about["notes"]), str(about["calibration"])
        return Result(spins, amplitudes, n_spins, device_s, trace, notes, calibration)

    # ---- inside -----------------------------------------------------------------------------

    def _make_room(self, kept: set[Path]) -> None:
        files = [(path, path.stat()) for path in self._couplings.iterdir()]
        total = sum(stat.st_size for _, stat in files)
        for path, stat in sorted(files, key=lambda entry: entry[1].st_mtime_ns):
            if total <= self._max_bytes:
                return
            if path not in kept:
                remove(path)
                total -= stat.st_size

    def _coupling_path(self, digest: str) -> Path:
        return self._couplings / f"{digest.removeprefix('sha256:')}.cim"

    def _result_path(self, job: str) -> Path:
        return self._results / f"{job}.cim"
