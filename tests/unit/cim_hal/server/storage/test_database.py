"""The database of a journal: what is refused, and who may read it."""

from __future__ import annotations

import sqlite3

import pytest
from journals import accepted, filled_journal, measured

from cim_hal.errors import JournalError
from cim_hal.server.storage.journal import DiskJournal


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "state"


def test_the_database_of_another_program_is_refused_and_left_as_it_was(folder):
    folder.mkdir()
    path = folder / "journal.sqlite3"
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE books (title TEXT)")
    db.close()
    before = path.read_bytes()
    with pytest.raises(JournalError, match="another program"):
        DiskJournal(folder)
    assert path.read_bytes() == before


def test_a_journal_of_a_format_to_come_is_refused(folder):
    filled_journal(folder).close()
    with sqlite3.connect(folder / "journal.sqlite3") as db:
        db.execute("PRAGMA user_version = 9")
    db.close()
    with pytest.raises(JournalError, match="format 9"):
        DiskJournal(folder)


@pytest.mark.parametrize("damage", ["empty", "absent", "wal"])
@pytest.mark.parametrize("left", ["results", "couplings"])
def test_an_empty_or_missing_journal_beside_what_jobs_left_is_no_new_one(folder, left, damage):
    journal = filled_journal(folder)
    journal.keep_result("f" * 32, measured(5000))
    journal.close()
    path, kept = folder / "journal.sqlite3", folder / left
    for other in {"results", "couplings"} - {left}:
        for file in (folder / other).iterdir():
            file.unlink()
    path.unlink()
    if damage == "empty":
        path.touch()
    elif damage == "wal":
        (folder / "journal.sqlite3-wal").write_bytes(b"x")
    before = sorted(kept.iterdir())
    for _ in range(2):
        with pytest.raises(JournalError, match=r"missing or empty, .* journal repair"):
            DiskJournal(folder)
    assert sorted(kept.iterdir()) == before


def test_the_folder_is_readable_by_its_owner_alone(folder):
    folder.mkdir(mode=0o755)
    (folder / "results").mkdir(mode=0o755)
    (folder / "journal.sqlite3").touch(mode=0o644)
    record = accepted(1)
    journal = filled_journal(folder, record)
    journal.keep_result(record.job, measured(5000))
    places = [folder, *folder.rglob("*")]
    assert len(places) >= 6
    assert [path for path in places if path.stat().st_mode & 0o077] == []
    journal.close()
