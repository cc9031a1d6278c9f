"""A journal on disk: what is in it after it was closed, killed, damaged, or when it is full."""

from __future__ import annotations

import resource
import shutil
import sqlite3
import time
from typing import TYPE_CHECKING

import numpy as np
import pytest
from cim_wire import CONTENT, REF
from journals import accepted, filled_journal, load_journal, measured, write

from cim_hal.errors import DeviceRestartedError, JournalError, StorageError
from cim_hal.protocol.jobs.records import (
    Accepted,
    Dropped,
    Ended,
    EpochRecord,
    Fetched,
    Forgotten,
    Started,
    Stopped,
)
from cim_hal.protocol.jobs.state import JobState
from cim_hal.protocol.wire.errors import to_wire
from cim_hal.protocol.wire.messages import CouplingRef, TraceSpec
from cim_hal.server.storage.database import MOST_ROWS
from cim_hal.server.storage.journal import DiskJournal, default_folder
from cim_hal.server.storage.spool import RECHECK_S

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cim_hal.server.storage.database import Change


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "state"


# ---- there and back -------------------------------------------------------------------------


def test_an_accepted_job_comes_back_as_it_was(folder):
    record = accepted(settings={"gain": 1 / 3}, trace=TraceSpec(every=2, runs=1), keep=True)
    filled_journal(folder, record).close()
    (saved,) = load_journal(folder)
    assert (saved.job, saved.user, saved.state) == (record.job, "alice", JobState.QUEUED)
    for field in ("user", "request", "digest", "schedule", "report", "at"):
        assert getattr(saved.accepted, field) == getattr(record, field)


def test_a_started_job_is_found_running_and_an_ended_one_with_its_reason(folder):
    first, second = accepted(1), accepted(2)
    fault = to_wire(DeviceRestartedError("restarted", job=second.job))
    ended = Ended(second.job, JobState.FAILED, fault, None, 99.0)
    filled_journal(folder, first, second, Started(first.job), Started(second.job), ended).close()
    running, failed = load_journal(folder)
    assert running.state is JobState.RUNNING
    assert (failed.state, failed.error, failed.ended_at) == (JobState.FAILED, fault, 99.0)


def test_a_dropped_result_leaves_the_key_and_a_forgotten_key_nothing(folder):
    records = [accepted(key) for key in (1, 2)]
    journal = filled_journal(folder, *records)
    for record in records:
        kept = journal.keep_result(record.job, measured())
        write(journal, Ended(record.job, JobState.DONE, None, kept, 50.0))
    write(journal, Dropped(tuple(record.job for record in records)))
    write(journal, Forgotten((records[1].job,)))
    journal.close()
    (saved,) = load_journal(folder)
    assert (saved.job, saved.digest) == (records[0].job, records[0].digest)
    assert (saved.state, saved.accepted, saved.ended_at) == (JobState.DONE, None, 50.0)
    assert list((folder / "results").iterdir()) == []


def test_what_was_fetched_is_known_again_and_what_has_no_result_is_not(folder):
    records = [accepted(key) for key in (1, 2, 3)]
    journal = filled_journal(folder, *records)
    for record in records[:2]:
        kept = journal.keep_result(record.job, measured())
        write(journal, Ended(record.job, JobState.DONE, None, kept, 50.0))
    write(journal, Fetched((records[0].job, records[2].job)))
    journal.close()
    assert [saved.is_fetched for saved in load_journal(folder)] == [True, False, False]


# ---- what is not ours, or damaged -----------------------------------------------------------


def test_two_servers_never_share_a_journal(folder):
    journal = DiskJournal(folder)
    with pytest.raises(JournalError, match=r"another server uses .* --state"):
        DiskJournal(folder)
    journal.close()
    DiskJournal(folder).close()


def test_the_journal_of_another_machine_is_refused(folder):
    filled_journal(folder, device="bench").close()
    journal = DiskJournal(folder)
    with pytest.raises(JournalError, match="of 'bench', not of 'emulator'"):
        journal.load("emulator")
    journal.close()


@pytest.mark.parametrize("damage", ["text", "zeros", "cut"])
def test_a_damaged_journal_is_refused_and_never_half_read(folder, damage):
    journal = filled_journal(folder, *(accepted(key) for key in range(200)))
    journal.close()
    path = folder / "journal.sqlite3"
    raw = bytearray(path.read_bytes())
    if damage == "text":
        raw[:] = b"Dear diary, " * 1000
    elif damage == "zeros":
        raw[8192:16384] = bytes(8192)
    elif damage == "cut":
        del raw[len(raw) // 2 :]
    path.write_bytes(raw)
    with pytest.raises(JournalError, match="cim-hal journal repair"):
        load_journal(folder)


def test_a_damaged_record_of_the_stop_leaves_the_machine_stopped(folder):
    filled_journal(folder, EpochRecord(9, None)).close()
    with sqlite3.connect(folder / "journal.sqlite3") as db:
        db.execute("UPDATE controls SET stopped = '{'")
    db.close()
    assert "check the machine" in _controls(folder).stopped.reason


# ---- exceptions in the midst ----------------------------------------------------------------


@pytest.mark.parametrize("error", [MemoryError, KeyError, RecursionError, RuntimeWarning])
def test_any_exception_takes_the_record_back_and_the_next_one_is_written(folder, error):
    journal = DiskJournal(folder)
    journal.load("bench")
    journal.keep_couplings(REF.digest, CONTENT)
    accept = journal._changes[Accepted]

    def fail(record: Accepted) -> Iterator[Change]:
        yield from accept(record)
        raise error("once")

    journal._changes = {**journal._changes, Accepted: fail}
    with pytest.raises(error):
        write(journal, accepted(1))
    journal._changes = {**journal._changes, Accepted: accept}
    write(journal, accepted(2))
    journal.close()
    again = DiskJournal(folder)
    assert len(list(again.load("bench"))) == 1
    again.close()


@pytest.mark.parametrize("n_jobs", [1, MOST_ROWS, 2 * MOST_ROWS + 1])
def test_a_group_of_any_size_is_kept_in_its_order_but_for_what_cannot_be(folder, n_jobs):
    journal = filled_journal(folder)
    records = [accepted(key) for key in range(1, n_jobs + 1)]
    missing = CouplingRef(digest=f"sha256:{0:064x}")
    again, unknown = records[0], accepted(n_jobs + 1, coupling=missing)
    started = [Started(record.job) for record in records[1:]]
    errors = journal.write([*records, again, unknown, *started])
    assert [type(error).__name__ for error in errors if error] == [
        "StorageError",
        "UnknownReferenceError",
    ]
    assert all(errors[n_jobs : n_jobs + 2])
    journal.close()
    saved = load_journal(folder)
    assert [job.job for job in saved] == [record.job for record in records]
    assert [job.state for job in saved[1:]] == [JobState.RUNNING] * (n_jobs - 1)


# ---- full disks -----------------------------------------------------------------------------


@pytest.fixture
def room():
    """Sets how large a file may become, as a full disk would; the first limit returns."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)

    def limit(n_bytes: int | None) -> None:
        soft = before[0] if n_bytes is None else n_bytes
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, before[1]))

    yield limit
    limit(None)


def test_a_full_disk_is_an_error_that_may_be_retried_and_nothing_is_half_written(folder, room):
    journal = filled_journal(folder, accepted(1))
    room(0)
    for record in (accepted(2), Started(accepted(1).job)):
        with pytest.raises(StorageError, match="cannot write to its disk") as caught:
            write(journal, record)
        assert caught.value.retryable
    large = measured(5000)
    assert journal.keep_result(accepted(1).job, large) is large  # kept in memory instead
    ended = Ended(accepted(1).job, JobState.DONE, None, large, 50.0)
    with pytest.raises(StorageError):
        write(journal, ended)
    with pytest.raises(StorageError):
        journal.keep_couplings(f"sha256:{'7' * 64}", CONTENT)
    room(None)
    write(journal, accepted(2))
    write(journal, ended)
    journal.close()
    first, second = load_journal(folder)
    assert (first.state, second.state) == (JobState.DONE, JobState.QUEUED)
    np.testing.assert_array_equal(first.result.spins, large.spins)


def test_each_target_has_a_folder_of_its_own(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    names = ["emulator", "my_lab.bench:make", "../up", "a/b"]
    folders = [default_folder(name) for name in names]
    assert len(set(folders)) == len(names)
    assert all(folder.parent == tmp_path / "cim-hal" / "servers" for folder in folders)


# ---- locks and stops ------------------------------------------------------------------------


def _controls(folder):
    journal = DiskJournal(folder)
    try:
        return journal.controls()
    finally:
        journal.close()


def test_the_last_number_and_the_stop_that_holds_come_back(folder):
    assert _controls(folder) is None
    stop = Stopped(8, "olga", "smoke", 123.5)
    filled_journal(folder, EpochRecord(7, None), EpochRecord(8, stop)).close()
    kept = _controls(folder)
    assert (kept.number, kept.stopped) == (8, stop)
    filled_journal(folder, EpochRecord(9, None)).close()
    kept = _controls(folder)
    assert (kept.number, kept.stopped) == (9, None)


# ---- files that others touch -------------------------------------------------------------------


@pytest.mark.parametrize("name", ["journal.sqlite3", "journal.sqlite3-wal", "."])
@pytest.mark.parametrize("replaced", [False, True])
def test_soon_nothing_is_promised_on_files_that_were_removed_or_replaced(folder, name, replaced):
    journal = filled_journal(folder, accepted(1))
    path, away = folder / name, folder.with_name("away")
    path.rename(away)
    if replaced:
        shutil.copytree(away, folder) if name == "." else shutil.copy(away, path)
    time.sleep(RECHECK_S)
    (error,) = journal.write([accepted(2)])
    assert isinstance(error, StorageError)
    assert "removed or replaced" in str(error)
    shutil.rmtree(folder) if name == "." and replaced else path.unlink(missing_ok=True)
    away.rename(path)  # brought back: it goes on, and has what it promised
    write(journal, accepted(3))
    journal.close()
    assert [saved.job for saved in load_journal(folder)] == [accepted(1).job, accepted(3).job]
