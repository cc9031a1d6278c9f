"""Calibrations on disk: a folder with one JSON file each, never changed."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from pydantic import ValidationError

from cim_hal.errors import StorageError, TargetError
from cim_hal.machine.telemetry import Calibration
from cim_hal.server.storage.spool import write_whole

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["CalibrationStore"]

MAX_READ = 1000
MAX_FILE_BYTES = 60_000

log = logging.getLogger(__name__)


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
            write_whole(self._folder / _name(record), [record.model_dump_json(indent=1).encode()])
        except StorageError:
            log.exception("the calibration %s could not be written", record.fingerprint)

    def read(self) -> list[Calibration]:
        """Return the newest records, oldest first; damaged files are logged and left in place."""
        paths = sorted(self._folder.glob("*.json"))[-MAX_READ:]
        records = [record for path in paths if (record := _read(path)) is not None]
        return sorted(records, key=lambda record: record.taken_at)


def _name(record: Calibration) -> str:
    return f"{record.taken_at:017.3f}-{record.fingerprint.removeprefix('sha256:')}.json"


def _read(path: Path) -> Calibration | None:
    try:
        with path.open("rb") as file:
            record = Calibration.model_validate_json(file.read(MAX_FILE_BYTES))
    except (OSError, ValidationError) as error:
        log.warning("%s holds no calibration: %s", path, type(error).__name__)
        return None
    if not path.name.endswith(_name(record).partition("-")[2]):
        log.warning("%s does not hold the calibration it is named after", path)
        return None
    return record
