"""Look at the folder of a journal while no server uses it: check, repair, export.

Nothing is deleted: what is damaged is moved to a folder beside it, after a copy of the database.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cim_hal.errors import CimError, JournalError
from cim_hal.protocol.wire.errors import to_wire
from cim_hal.protocol.wire.results import unpack_spins
from cim_hal.server.storage.database import FILE, KEPT, open_journal, reading
from cim_hal.server.storage.result_file import stored_result
from cim_hal.server.storage.rows import read_row, saved_job
from cim_hal.server.storage.spool import make_private, read_couplings

if TYPE_CHECKING:
    from cim_hal.protocol.jobs.records import Saved
    from cim_hal.protocol.wire.results import Result

__all__ = ["JournalReport", "Problem", "check_journal", "export_journal", "repair_journal"]

DATABASE = (FILE, f"{FILE}-wal", f"{FILE}-shm")


@dataclass(frozen=True)
class Problem:
    """Something that is damaged: a file, or the record of one job."""

    where: str
    what: str


@dataclass(frozen=True)
class JournalReport:
    """What is in a journal, and what is wrong with it."""

    jobs: int
    results: int
    couplings: int
    problems: tuple[Problem, ...]


def check_journal(folder: Path) -> JournalReport:
    """Read all that a journal holds, and change nothing.

    `JournalError` if there is no such folder, or if a server uses it.
    """
    _check_free(folder)
    problems: list[Problem] = []
    rows = _rows(folder, problems)
    for row in rows:
        try:
            _read_whole(read_row(row, lambda job: stored_result(job, _result_path(folder, job))))
        except Exception as error:  # noqa: BLE001  whatever is in a row
            problems.append(Problem(f"job {row['id']}", str(error)))
    known = {str(row["id"]) for row in rows}
    results, couplings = _files(folder / "results"), _files(folder / "couplings")
    unknown = [path for path in results if path.stem not in known]
    problems += [Problem(str(path), "the journal does not know its job") for path in unknown]
    for path in couplings:
        try:
            read_couplings(path)
        except (OSError, CimError) as error:
            problems.append(Problem(str(path), str(error)))
    return JournalReport(len(rows), len(results), len(couplings), tuple(problems))


def repair_journal(folder: Path) -> tuple[JournalReport, Path | None]:
    """Set aside what is damaged, so that a server can start; return what was, and where it is.

    The database is copied first. Where it cannot be used, a new one gets the rows that can be read.
    Jobs whose records are damaged stay in it: they have failed, and their keys do not run again.
    """
    report = check_journal(folder)
    if not report.problems:
        return report, None
    aside = folder / time.strftime("set-aside-%Y%m%d-%H%M%S")
    aside.mkdir(mode=0o700)
    for name in DATABASE:
        if (folder / name).exists():
            shutil.copy2(folder / name, aside / name)
            make_private(aside / name)
    for problem in report.problems:
        _set_aside(Path(problem.where), aside)
    if not _is_sound(folder):
        _rebuild(folder)
    _fail_damaged_jobs(folder, aside)
    return report, aside


def export_journal(folder: Path, out: Path) -> JournalReport:
    """Write the jobs as ``jobs.json`` and each readable result as ``<job>.npz``."""
    _check_free(folder)
    out.mkdir(parents=True, exist_ok=True)
    problems: list[Problem] = []
    rows, jobs, n_results = _rows(folder, problems), [], 0
    for row in rows:
        saved = saved_job(row, lambda job: stored_result(job, _result_path(folder, job)))
        jobs.append(_facts(saved))
        if saved.result is None:
            continue
        try:
            np.savez(out / f"{saved.job}.npz", **_arrays(saved.result))
            n_results += 1
        except CimError as error:
            problems.append(Problem(f"job {saved.job}", str(error)))
    (out / "jobs.json").write_text(json.dumps(jobs, indent=1, default=str), encoding="utf-8")
    return JournalReport(len(jobs), n_results, 0, tuple(problems))


def _check_free(folder: Path) -> None:
    path = folder / FILE
    if not folder.is_dir() or not (path.exists() or any((folder / name).is_dir() for name in KEPT)):
        raise JournalError(f"{folder} is not the folder of a journal", path=str(folder))
    if path.exists() and path.stat().st_size:
        try:
            uri = f"file:{path}?mode=ro"
            with reading(path), closing(sqlite3.connect(uri, timeout=0, uri=True)) as db:
                db.execute("SELECT count(*) FROM sqlite_master").fetchone()
        except JournalError as error:
            if "another server uses" in str(error):
                raise
            # damaged: that is for the check to say


@contextmanager
def _copy(folder: Path) -> Iterator[Path]:
    """Copy the database to a folder that is removed at the end."""
    with tempfile.TemporaryDirectory() as temporary:
        for name in DATABASE[:2]:
            if (folder / name).exists():
                shutil.copy(folder / name, temporary)
        yield Path(temporary)


def _rows(folder: Path, problems: list[Problem]) -> list[sqlite3.Row]:
    """Return the rows that can be read, of a copy; note what cannot."""
    path, rows = folder / FILE, []
    if not path.exists() or not path.stat().st_size:
        problems.append(Problem(str(path), "it is missing or empty"))
        return []
    with _copy(folder) as copied:
        try:
            open_journal(copied).close()
        except JournalError as error:
            problems.append(Problem(str(path), error.message.replace(str(copied), str(folder))))
        with closing(sqlite3.connect(copied / FILE)) as db:
            db.row_factory = sqlite3.Row
            rows = list(_readable(db))
    return rows


def _readable(db: sqlite3.Connection) -> Iterator[sqlite3.Row]:
    """Yield the rows of all jobs that can be read; damaged pages are passed over."""
    for number in _numbers(db):
        try:
            yield from db.execute("SELECT * FROM jobs WHERE number = ?", (number,))
        except sqlite3.Error:
            continue


def _numbers(db: sqlite3.Connection) -> Sequence[int]:
    """Return the numbers of all jobs, at least; where their pages are damaged, by the index."""
    try:
        (last,) = db.execute("SELECT coalesce(max(number), 0) FROM jobs").fetchone()
        return range(1, last + 1)
    except sqlite3.Error:
        pass
    numbers: list[int] = []
    with suppress(sqlite3.Error):  # what was read before stays
        found = db.execute("SELECT number FROM jobs INDEXED BY sqlite_autoindex_jobs_1")
        numbers.extend(row["number"] for row in found)
    return sorted(numbers)


def _read_whole(saved: Saved) -> None:
    if saved.result is not None:
        _arrays(saved.result)


def _arrays(result: Result) -> dict[str, Any]:
    trace = result.trace
    arrays: dict[str, Any] = {"spins": unpack_spins(np.asarray(result.spins), result.n_spins)}
    if result.amplitudes is not None:
        arrays["amplitudes"] = np.asarray(result.amplitudes)
    if trace is not None:
        arrays |= {
            "trace_round_trips": np.asarray(trace.round_trips),
            "trace_pump": np.asarray(trace.pump),
            "trace_amplitudes": np.asarray(trace.amplitudes),
        }
    return arrays


def _facts(saved: Saved) -> dict[str, Any]:
    facts: dict[str, Any] = {"job": saved.job, "user": saved.user, "state": saved.state.value}
    if saved.error is not None:
        facts["error"] = saved.error.model_dump()
    if saved.accepted is not None:
        request = json.loads(saved.accepted.request.model_dump_json())
        facts |= {"accepted_at": saved.accepted.at, "request": request}
    if saved.result is not None:
        facts |= {"device_s": saved.result.device_s, "notes": dict(saved.result.notes)}
    return facts | {"ended_at": saved.ended_at}


def _files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.cim")) if folder.is_dir() else []


def _result_path(folder: Path, job: str) -> Path:
    return folder / "results" / f"{job}.cim"


def _set_aside(path: Path, aside: Path) -> None:
    """Move a damaged file; the database is copied already, and damaged records stay in it."""
    if path.suffix == ".cim" and path.exists():
        place = aside / path.parent.name
        place.mkdir(mode=0o700, exist_ok=True)
        path.rename(place / path.name)


def _fail_damaged_jobs(folder: Path, aside: Path) -> None:
    """Write into damaged rows, which were copied, that their jobs have failed, and why."""
    with closing(sqlite3.connect(folder / FILE)) as db, db:
        db.row_factory = sqlite3.Row
        for row in list(_readable(db)):
            saved = saved_job(row, lambda job: stored_result(job, _result_path(folder, job)))
            try:
                _read_whole(saved)
            except CimError as error:
                failure = to_wire(error)
            else:
                if saved.error is None or saved.error.code != "job.lost":
                    continue
                failure = saved.error
            _set_aside(_result_path(folder, saved.job), aside)
            db.execute(
                "UPDATE jobs SET state = 'failed', error = ?, digest = ?, request = NULL, "
                "fitted = NULL, has_result = 0, result = NULL, ended_at = ? WHERE number = ?",
                (failure.model_dump_json(), saved.digest, time.time(), row["number"]),
            )


def _is_sound(folder: Path) -> bool:
    path = folder / FILE
    if not path.exists() or not path.stat().st_size:
        return False
    with _copy(folder) as copied:
        try:
            open_journal(copied).close()
        except JournalError:
            return False
    return True


def _rebuild(folder: Path) -> None:
    """Make a new database with the rows of the old one, whose copy was set aside."""
    rows = _rows(folder, [])
    machine, controls = _other_rows(folder)
    for name in DATABASE:
        (folder / name).unlink(missing_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as made:
        open_journal(Path(made)).close()
        with closing(sqlite3.connect(Path(made) / FILE)) as db, db:
            for table, found in (("jobs", rows), ("machine", machine), ("controls", controls)):
                for row in found:
                    names = ", ".join(row.keys())
                    values = ", ".join("?" * len(row))
                    db.execute(f"INSERT INTO {table} ({names}) VALUES ({values})", tuple(row))  # noqa: S608
        (Path(made) / FILE).rename(folder / FILE)


def _other_rows(folder: Path) -> tuple[list[sqlite3.Row], list[sqlite3.Row]]:
    found: list[list[sqlite3.Row]] = []
    with _copy(folder) as copied, closing(sqlite3.connect(copied / FILE)) as db:
        db.row_factory = sqlite3.Row
        for table in ("machine", "controls"):
            try:
                found.append(db.execute(f"SELECT * FROM {table}").fetchall())  # noqa: S608
            except sqlite3.Error:
                found.append([])
    return found[0], found[1]
