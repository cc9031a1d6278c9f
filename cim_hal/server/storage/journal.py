"""A journal on disk: records of jobs in SQLite, couplings and results in files beside it.

Records are on the disk when `write` returns (write-ahead log, ``synchronous=FULL``): a server may
be killed at any moment, and the next one continues from the records. Two servers never share a
journal: the first holds its lock.
"""

from __future__ import annotations

import json
import logging
import math
import os
import re
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cim_hal.errors import JournalError, StorageError, UnknownReferenceError
from cim_hal.ownership import state_folder
from cim_hal.protocol.jobs.records import (
    Accepted,
    Dropped,
    Ended,
    EpochRecord,
    Fetched,
    Forgotten,
    Record,
    Returned,
    Saved,
    Started,
    Stopped,
)
from cim_hal.protocol.jobs.state import TERMINAL, JobState
from cim_hal.protocol.jobs.table import IdempotencyRules
from cim_hal.protocol.wire.limits import Limits
from cim_hal.server.storage.database import (
    FETCHED,
    FILE,
    change,
    insert_changes,
    open_journal,
    reading,
)
from cim_hal.server.storage.result_file import result_parts
from cim_hal.server.storage.rows import saved_job
from cim_hal.server.storage.spool import RECHECK_S, Spool, make_private, storage_error
from cim_hal.text import counted

if TYPE_CHECKING:
    from cim_hal.protocol.couplings.content import Couplings
    from cim_hal.protocol.wire.results import Result
    from cim_hal.server.storage.database import Change

__all__ = ["DiskJournal", "default_folder"]

SMALL_BYTES = 16 * 1024  # of results in the database, where they cost no file and no fsync more

log = logging.getLogger(__name__)


def _identity(path: str) -> tuple[int, int] | None:
    """Return what tells a file from any other; None if there is none."""
    try:
        stat = os.stat(path)  # noqa: PTH116  three times as fast as a Path
    except OSError:
        return None
    return stat.st_dev, stat.st_ino


def default_folder(target: str) -> Path:
    """Return the default folder of a journal, a different one for each target."""
    name = re.sub(r"[^A-Za-z0-9._-]+", "_", target).strip(".") or "machine"
    return state_folder() / "servers" / name


class DiskJournal:
    """Keeps jobs beyond the life of a server, in a folder that is readable by its owner alone.

    One thread calls `write` and `load`, any thread the other methods. `max_bytes` limits the
    couplings that no job waits for. Results of a few kB lie in the database, beside the end of
    their job, and in memory; larger ones in files. `JournalError` if the journal there is damaged,
    of another program, or in use by another server.
    """

    is_on_disk = True

    def __init__(
        self, folder: Path, *, keys: IdempotencyRules | None = None, max_bytes: int | None = None
    ) -> None:
        self.keys = keys or IdempotencyRules()
        self._checked_at = -math.inf  # when the files were last seen in their place
        self._path = folder / FILE
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            make_private(folder)
            self._db = open_journal(folder)
            self._files = {path: _identity(path) for path in (f"{self._path}", f"{self._path}-wal")}
            self._spool = Spool(folder, max_bytes=max_bytes or Limits().cache_bytes)
        except OSError as error:
            raise JournalError(f"{folder} cannot be used: {error.strerror}") from error
        self._changes: Mapping[type[Record], Callable[[Any], Iterable[Change]]] = {
            Accepted: self._accept,
            Started: self._start,
            Returned: self._return,
            Ended: self._end,
            Fetched: self._fetch,
            Dropped: self._drop,
            Forgotten: self._forget,
            EpochRecord: self._control,
        }

    def controls(self) -> EpochRecord | None:
        """Return the last epoch and the emergency stop in force; None if nothing was kept."""
        with reading(self._path):
            row = self._db.execute("SELECT number, stopped FROM controls").fetchone()
        if row is None:
            return None
        try:
            stopped = row["stopped"] and Stopped(**json.loads(row["stopped"]))
            return EpochRecord(int(row["number"]), stopped or None)
        except (ValueError, TypeError):  # nobody knows whether a stop holds, so one does
            log.exception("the record of the emergency stop is damaged: the machine is stopped")
            why = "the record of the emergency stop is damaged: check the machine, then reset it"
            return EpochRecord(1, Stopped(1, "the server", why, time.time()))

    def load(self, device: str) -> list[Saved]:
        """Return the kept jobs, the oldest first; `device` is the name of the machine.

        A damaged record is a job that failed. A journal of another machine is a `JournalError`, and
        so are results of jobs that it does not know: part of it is missing.
        """
        with reading(self._path):
            self._check_device(device)
            rows = self._db.execute("SELECT * FROM jobs ORDER BY number").fetchall()
        saved = [saved_job(row, self._spool.result) for row in rows]
        self._check_results({row["id"]: row["has_result"] for row in rows})
        for job in saved:
            if job.accepted is not None and job.state not in TERMINAL:
                self._spool.need_couplings(job.job, job.accepted.request.coupling.digest)
        return saved

    def write(self, records: Sequence[Record]) -> list[BaseException | None]:
        """Keep records, all in one transaction, in their order; return the error of each.

        Where that is None a crash does not undo the record. Where it is one, no part of the record
        was kept, and the others were; what the disk cannot take now is a `StorageError`.
        """
        error: BaseException | None = None
        try:
            self._write_group(records)
        except Exception as raised:  # noqa: BLE001  then nothing of the group was kept
            self._undo()
            if len(records) > 1:
                return [error for record in records for error in self.write([record])]
            error = raised
        if isinstance(error, sqlite3.Error | OSError):
            error = storage_error(error)
        for record in records:
            self._tidy(record, is_written=error is None)
        return [error] * len(records)

    def keep_couplings(self, digest: str, content: Couplings) -> None:
        """Keep couplings under the digest of their content, unless they are kept already."""
        self._spool.keep_couplings(digest, content)

    def couplings(self, digest: str) -> Couplings:
        """Return couplings that were kept; `UnknownReferenceError` if not, or if damaged."""
        return self._spool.couplings(digest)

    def keep_result(self, job: str, result: Result) -> Result:
        """Keep a result before its record is written; return the object to read it from.

        A small one is kept with the record. On a full disk it stays in memory, and its record waits
        for room.
        """
        if not self.takes_file(result):
            return result
        try:
            return self._spool.keep_result(job, result)
        except StorageError as error:
            log.warning("the result of job %s waits: %s", job, error)
            return result

    def takes_file(self, result: Result) -> bool:
        """Whether `keep_result` writes to the disk, for which the caller may not want to wait."""
        return result.n_bytes > SMALL_BYTES

    def close(self) -> None:
        """Close the journal and release its lock."""
        self._db.close()

    # ---- one method for each kind of record -------------------------------------------------

    def _accept(self, record: Accepted) -> Iterator[Change]:
        digest = record.request.coupling.digest
        if not self._spool.need_couplings(record.job, digest):
            raise UnknownReferenceError(
                f"the couplings {digest[:19]}… are not on the disk of the server",
                hint="upload them again",
                kind="coupling",
            )
        schedule, report = record.schedule, record.report
        fitted = {"pump": schedule.pump, "round_trips": schedule.round_trips}
        yield change(
            "accepted",
            record.job,
            user=record.user.name,
            role=int(record.user.role),
            digest=record.digest,
            at=record.at,
            request=record.request.model_dump_json(exclude_defaults=True),
            fitted=json.dumps(fitted | {"report": report.model_dump()}),
            state=JobState.QUEUED.value,
        )

    def _start(self, record: Started) -> Iterator[Change]:
        yield change("moved", record.job, state=JobState.RUNNING.value)

    def _return(self, record: Returned) -> Iterator[Change]:
        yield change("moved", record.job, state=JobState.QUEUED.value)

    def _end(self, record: Ended) -> Iterator[Change]:
        small = None
        if record.result is not None and not self.takes_file(record.result):
            small = b"".join(result_parts(record.job, record.result))
        elif record.result is not None and not self._spool.has_result(record.job):
            self._spool.keep_result(record.job, record.result)
        yield change(
            "ended",
            record.job,
            state=record.state.value,
            error=record.error and record.error.model_dump_json(),
            has_result=record.result is not None,
            result=small,
            at=record.at,
        )
        if record.next:
            yield change("moved", record.next, state=JobState.RUNNING.value)

    def _fetch(self, record: Fetched) -> Iterator[Change]:
        return (change("fetched", job, has_result=FETCHED) for job in record.jobs)

    def _drop(self, record: Dropped) -> Iterator[Change]:
        return (change("dropped", job) for job in record.jobs)

    def _forget(self, record: Forgotten) -> Iterator[Change]:
        return (change("forgotten", job) for job in record.jobs)

    def _control(self, record: EpochRecord) -> Iterator[Change]:
        stopped = record.stopped and json.dumps(asdict(record.stopped))
        yield change("controls", number=record.number, stopped=stopped)

    # ---- transactions -----------------------------------------------------------------------

    def _write_group(self, records: Sequence[Record]) -> None:
        """Write records in one transaction; where one cannot be written, that is raised."""
        self._check_files()
        changes = [row for record in records for row in self._changes[type(record)](record)]
        insert_changes(self._db, changes)

    def _check_files(self) -> None:
        """Refuse to write what would be lost: into files that were removed or replaced.

        They are checked every `RECHECK_S`: see `Spool`. What was written before they were removed
        is lost as well, so what is written just after is no worse.
        """
        now = time.monotonic()
        if now < self._checked_at + RECHECK_S:
            return
        for path, opened in self._files.items():
            if _identity(path) != opened:
                raise StorageError(
                    f"{path} was removed or replaced while it is in use: nothing can be kept",
                    hint="bring it back, or end the server and see what cim-hal journal check says",
                )
        self._checked_at = now

    def _tidy(self, record: Record, *, is_written: bool) -> None:
        """Do what follows a record in the files beside the database."""
        match record:
            case Accepted(job=job) if not is_written:
                self._spool.release_couplings(job)
            case Ended(job=job) if is_written:
                self._spool.release_couplings(job)
            case Dropped(jobs=jobs) | Forgotten(jobs=jobs) if is_written:
                self._spool.drop_results(jobs)
            case _:
                pass

    def _undo(self) -> None:
        if self._db.in_transaction:
            try:
                self._db.execute("ROLLBACK")
            except sqlite3.Error:
                log.exception("a record could not be taken back")

    # ---- reading ----------------------------------------------------------------------------

    def _check_results(self, known: Mapping[str, int]) -> None:
        """Remove what a crash left of jobs without a result; refuse those of unknown jobs."""
        found = self._spool.results()
        if unknown := found - known.keys():
            raise JournalError(
                f"{self._path} does not know the jobs of {counted(len(unknown), 'result')} beside "
                "it: part of it is missing, and keys of jobs may be forgotten",
                hint="bring it back from a backup, or set them aside with: "
                f"cim-hal journal repair {self._path.parent}",
                path=str(self._path),
            )
        self._spool.drop_results([job for job in found if not known[job]])

    def _check_device(self, device: str) -> None:
        names = [name for (name,) in self._db.execute("SELECT name FROM machine")]
        if not names:
            self._db.execute("INSERT INTO machine VALUES (?)", (device,))
        elif names != [device]:
            raise JournalError(
                f"{self._path} is the journal of {names[0]!r}, not of {device!r}",
                hint="give this machine another folder",
                path=str(self._path),
            )
