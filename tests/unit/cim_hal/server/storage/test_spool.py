"""Couplings and results as files beside a journal: kept, evicted, damaged, left over."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from cim_wire import CONTENT, REF
from journals import accepted, filled_journal, load_journal, measured, write

from cim_hal.errors import JournalError, UnknownReferenceError
from cim_hal.protocol.wire.messages import CouplingRef
from cim_hal.server.storage import spool as spool_module
from cim_hal.server.storage.journal import DiskJournal


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "state"


LARGE = 5000  # runs whose result lies in a file


def test_couplings_are_kept_by_content_and_make_room_for_others(folder):
    journal = DiskJournal(folder, max_bytes=1)
    journal.load("bench")
    journal.keep_couplings(REF.digest, CONTENT)
    write(journal, accepted())
    others = [f"sha256:{digit * 64}" for digit in "12"]
    for digest in others:
        journal.keep_couplings(digest, CONTENT)
    assert journal.couplings(REF.digest).digest == REF.digest  # a job waits for them
    assert journal.couplings(others[1]).digest == REF.digest  # the newest stays
    with pytest.raises(UnknownReferenceError):
        journal.couplings(others[0])
    unknown = accepted(3, coupling=CouplingRef(digest=others[0]))
    with pytest.raises(UnknownReferenceError, match="upload them again"):
        write(journal, unknown)
    journal.close()


def test_leftovers_of_a_crash_are_cleared_away(folder):
    record = accepted()
    journal = filled_journal(folder, record)
    journal.keep_result(record.job, measured(LARGE))  # written, and its record was not
    (folder / "results" / "x.cim.part").touch()
    journal.close()
    load_journal(folder)
    assert list((folder / "results").iterdir()) == []


def test_results_of_jobs_that_the_journal_does_not_know_are_refused_and_left(folder):
    journal = filled_journal(folder, accepted())
    journal.keep_result("f" * 32, measured(LARGE))
    journal.close()
    with pytest.raises(JournalError, match=r"does not know the jobs of 1 result .* repair"):
        load_journal(folder)
    assert (folder / "results" / f"{'f' * 32}.cim").exists()


def test_which_couplings_there_are_is_read_once(folder, monkeypatch):
    """The cost of keeping couplings does not grow with the number that is kept."""
    journal = filled_journal(folder)
    for number in range(50):
        (folder / "couplings" / f"{number:064x}.cim").touch()
    journal.close()
    journal = DiskJournal(folder)
    monkeypatch.setattr(os, "scandir", None)
    monkeypatch.setattr(Path, "iterdir", None)
    journal.keep_couplings(f"sha256:{'a' * 64}", CONTENT)
    assert journal.couplings(f"sha256:{'a' * 64}").digest == REF.digest
    journal.close()


def test_couplings_are_bounded_in_number_and_others_files_are_left(folder, monkeypatch):
    monkeypatch.setattr(spool_module, "MAX_COUPLINGS", 10)
    journal = filled_journal(folder)
    (folder / "couplings" / "notes.txt").touch()
    for number in range(30):
        journal.keep_couplings(f"sha256:{number:064x}", CONTENT)
    kept = {path.name for path in (folder / "couplings").iterdir()}
    assert kept == {"notes.txt"} | {f"{number:064x}.cim" for number in range(20, 30)}
    journal.close()
