"""The database of a journal: its tables, and how it is opened, checked and kept from others."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from itertools import chain
from pathlib import Path

from pydantic import ValidationError

from cim_hal.errors import CimError, JournalError
from cim_hal.server.storage.spool import make_private

__all__ = [
    "FETCHED",
    "FILE",
    "KEPT",
    "SCHEMA",
    "Change",
    "change",
    "insert_changes",
    "open_journal",
    "reading",
]

KEPT = ("couplings", "results")  # folders beside it
REPAIR = "set aside what is damaged with: cim-hal journal repair {}"
FILE = "journal.sqlite3"
APPLICATION_ID = 0x43494D4A  # "CIMJ"
FORMAT = 2
MAX_RECORD_BYTES = 1024 * 1024
FETCHED = 2  # in `has_result`: there is one, and it was fetched
SCHEMA = """
CREATE TABLE machine (name TEXT NOT NULL);
CREATE TABLE jobs (
    number INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    user TEXT NOT NULL,
    role INTEGER NOT NULL,
    digest BLOB NOT NULL,
    accepted_at REAL NOT NULL,
    request TEXT,
    fitted TEXT,
    state TEXT NOT NULL,
    error TEXT,
    has_result INTEGER NOT NULL DEFAULT 0,
    result BLOB,
    ended_at REAL NOT NULL DEFAULT 0
);
CREATE TABLE controls (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    number INTEGER NOT NULL,
    stopped TEXT
);
"""

# What a record changes is one row, or several, put into a view whose triggers change the tables:
# so a group of records is one statement. Each statement lets go of the interpreter's lock three
# times, and in a busy server waits for it as often as for the disk.
COLUMNS = (
    *("kind", "id", "user", "role", "digest", "at", "request", "fitted"),
    *("state", "error", "has_result", "result", "number", "stopped"),
)
CHANGES = {
    "accepted": """
        INSERT INTO jobs (id, user, role, digest, accepted_at, request, fitted, state) VALUES (
            NEW.id, NEW.user, NEW.role, NEW.digest, NEW.at, NEW.request, NEW.fitted, NEW.state)""",
    "moved": "UPDATE jobs SET state = NEW.state WHERE id = NEW.id",
    "ended": """
        UPDATE jobs SET state = NEW.state, error = NEW.error, has_result = NEW.has_result,
            result = NEW.result, ended_at = NEW.at WHERE id = NEW.id""",
    "fetched": """
        UPDATE jobs SET has_result = NEW.has_result WHERE id = NEW.id AND has_result = 1""",
    "dropped": """
        UPDATE jobs SET request = NULL, fitted = NULL, has_result = 0, result = NULL
            WHERE id = NEW.id""",
    "forgotten": "DELETE FROM jobs WHERE id = NEW.id",
    "controls": """
        REPLACE INTO controls (id, number, stopped) VALUES (1, NEW.number, NEW.stopped)""",
}
MOST_ROWS = 64  # in one statement
Change = tuple[object, ...]


def change(kind: str, job: str = "", **values: object) -> Change:
    """Return the row of one of `CHANGES`."""
    return (kind, job, *(values.get(name) for name in COLUMNS[2:]))


def insert_changes(db: sqlite3.Connection, changes: Sequence[Change]) -> None:
    """Make changes, all of them in one transaction or none."""
    if len(changes) <= MOST_ROWS:
        _insert(db, changes)
        return
    db.execute("BEGIN IMMEDIATE")
    for first in range(0, len(changes), MOST_ROWS):
        _insert(db, changes[first : first + MOST_ROWS])
    db.execute("COMMIT")


def _insert(db: sqlite3.Connection, changes: Sequence[Change]) -> None:
    row = f"({', '.join('?' * len(COLUMNS))})"
    rows = ", ".join([row] * len(changes))
    db.execute(f"INSERT INTO changes VALUES {rows}", [*chain.from_iterable(changes)])  # noqa: S608


def _create_changes(db: sqlite3.Connection) -> None:
    columns = ", ".join(f"NULL AS {name}" for name in COLUMNS)
    db.execute("PRAGMA temp_store = MEMORY")
    db.execute(f"CREATE TEMP VIEW changes AS SELECT {columns}")
    for kind, statement in CHANGES.items():
        db.execute(
            f"CREATE TEMP TRIGGER {kind} INSTEAD OF INSERT ON changes WHEN NEW.kind = '{kind}' "
            f"BEGIN {statement}; END"
        )


def open_journal(folder: Path) -> sqlite3.Connection:
    """Return a connection that alone has the journal; make the tables where there are none.

    A journal that is empty or missing where jobs left something behind is refused: it is not new.
    """
    path = folder / FILE
    with reading(path):
        if not path.exists() or path.stat().st_size == 0:
            _check_new(folder)
        if not path.exists():  # closing a file that is there would release a lock of this process
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        for name in (FILE, f"{FILE}-wal"):
            if (folder / name).exists():
                make_private(folder / name)
        # `check_same_thread`: made in one thread, used in another, never in two at once.
        db = sqlite3.connect(path, timeout=0, isolation_level=None, check_same_thread=False)
        try:
            db.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, MAX_RECORD_BYTES)
            db.row_factory = sqlite3.Row
            db.execute("PRAGMA trusted_schema = OFF")
            db.execute("PRAGMA locking_mode = EXCLUSIVE")
            with closing(db.execute("SELECT count(*) FROM sqlite_master")) as cursor:
                (n_tables,) = cursor.fetchone()
            _check_owner(db, path, is_new=n_tables == 0)
            if n_tables == 0:
                _check_new(folder)
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = FULL")  # a record is on the disk when it is committed
            db.execute("BEGIN EXCLUSIVE")  # takes the lock, which is kept until the end
            if n_tables == 0:
                db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
                db.execute(f"PRAGMA user_version = {FORMAT}")
                for statement in SCHEMA.split(";")[:-1]:
                    db.execute(statement)
            db.execute("COMMIT")
            _check_pages(db, path)
            _create_changes(db)
        except BaseException:
            db.close()
            raise
        return db


def _check_new(folder: Path) -> None:
    """Refuse to begin anew beside what jobs left behind, whose keys would be forgotten."""
    left = {name: len(list((folder / name).iterdir())) for name in KEPT if (folder / name).is_dir()}
    wal = folder / f"{FILE}-wal"
    if wal.exists() and wal.stat().st_size:
        left["its write-ahead log"] = 1
    found = ", ".join(f"{number} in {name}" for name, number in left.items() if number)
    if found:
        raise JournalError(
            f"{folder / FILE} is missing or empty, and yet jobs left something beside it: {found}",
            hint=f"bring it back from a backup, or {REPAIR.format(folder)}",
            path=str(folder / FILE),
        )


def _check_owner(db: sqlite3.Connection, path: Path, *, is_new: bool) -> None:
    (owner,), (version,) = (
        db.execute(f"PRAGMA {name}").fetchone() for name in ("application_id", "user_version")
    )
    if is_new and owner in (0, APPLICATION_ID):
        return
    if owner != APPLICATION_ID:
        raise JournalError(
            f"{path} is the database of another program",
            hint=f"give the server another folder, or {REPAIR.format(path.parent)}",
            path=str(path),
        )
    if version != FORMAT:
        raise JournalError(
            f"{path} is a journal of format {version}, here is format {FORMAT}",
            hint="use the version of cim-hal that wrote it, or another folder",
            path=str(path),
        )


def _check_pages(db: sqlite3.Connection, path: Path) -> None:
    (verdict,) = db.execute("PRAGMA quick_check(1)").fetchone()
    if verdict != "ok":
        raise _damaged(path, verdict)


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn what goes wrong while a journal is opened and read into a `JournalError`."""
    try:
        yield
    except sqlite3.OperationalError as error:
        if "locked" in str(error):
            raise JournalError(
                f"another server uses {path.parent}",
                hint="end it, or give this one another folder with --state, or --no-journal",
                path=str(path),
            ) from None
        raise JournalError(f"{path} cannot be opened: {error}", path=str(path)) from error
    except (sqlite3.Error, ValidationError, ValueError, LookupError, TypeError) as error:
        if isinstance(error, CimError):
            raise
        raise _damaged(path, f"{type(error).__name__}: {error}") from error
    except OSError as error:
        raise JournalError(f"{path} cannot be opened: {error.strerror}", path=str(path)) from error


def _damaged(path: Path, why: str) -> JournalError:
    return JournalError(
        f"{path} is damaged: {why}",
        hint=f"bring it back from a backup, or {REPAIR.format(path.parent)}",
        path=str(path),
    )
