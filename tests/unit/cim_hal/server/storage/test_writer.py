"""The thread that writes a journal: groups, order, slow and failing disks, the end."""

from __future__ import annotations

import threading

import pytest
from journals import accepted, filled_journal, load_journal

from cim_hal.errors import StorageError
from cim_hal.protocol.effects import Persist
from cim_hal.server.storage import writer as writer_module
from cim_hal.server.storage.writer import JournalWriter


class Slow:
    """A journal whose disk answers when the test likes."""

    def __init__(self) -> None:
        self.groups: list[list[object]] = []
        self.may_go = threading.Semaphore(0)
        self.is_closed = False

    def write(self, records):
        self.groups.append(list(records))
        assert self.may_go.acquire(timeout=30.0)
        if "bug" in records:
            raise KeyError("a bug")
        return [StorageError("full") if record == "bad" else None for record in records]

    def close(self) -> None:
        self.is_closed = True


def give(writer: JournalWriter, *records: object) -> None:
    for record in records:
        writer.write(Persist(record, list, list))  # type: ignore[arg-type]
    writer.begin()


@pytest.fixture
def slow():
    return Slow()


@pytest.fixture
def writer(slow):
    writer = JournalWriter(slow, lambda: None)
    yield writer
    slow.may_go.release(100)
    writer.close()


def test_what_comes_while_the_disk_is_busy_is_one_group_in_the_order_it_came(writer, slow):
    give(writer, 0)
    while not slow.groups:
        pass
    give(writer, *range(1, 100))
    assert list(writer.outcomes()) == []
    slow.may_go.release(2)
    writer.flush()
    assert slow.groups == [[0], list(range(1, 100))]
    outcomes = list(writer.outcomes())
    assert [effect.record for effect, _ in outcomes] == list(range(100))
    assert all(error is None for _, error in outcomes)


def test_a_record_that_fails_leaves_its_neighbours_and_a_bug_leaves_the_writer(writer, slow):
    give(writer, "bug")
    while not slow.groups:
        pass
    give(writer, "good", "bad", "good")
    slow.may_go.release(2)
    writer.flush()
    errors = [type(error) for _, error in writer.outcomes()]
    assert errors == [KeyError, type(None), StorageError, type(None)]


def test_what_a_crash_may_undo_goes_with_the_next_group_and_is_tried_until_it_is_written(
    writer, slow, monkeypatch
):
    monkeypatch.setattr(writer_module, "LATER_S", 600.0)
    give(writer, 0)  # the wait that has begun ends, and the next is a long one
    slow.may_go.release()
    writer.flush()
    writer.write_later("first")
    writer.write_later("bad")
    assert slow.groups == [[0]]
    slow.may_go.release(2)
    for record in "ab":
        give(writer, record)
        writer.flush()
    assert slow.groups == [[0], ["first", "bad", "a"], ["bad", "b"]]
    assert [effect.record for effect, _ in writer.outcomes()] == [0, "a", "b"]


def test_what_a_crash_may_undo_is_written_soon_though_nothing_follows(writer, slow):
    writer.write_later("first")
    slow.may_go.release()
    while not slow.groups:
        pass
    assert slow.groups == [["first"]]


def test_a_disk_that_is_too_far_behind_takes_no_more_and_says_so(writer, monkeypatch):
    monkeypatch.setattr(writer_module, "MAX_WAITING", 3)
    give(writer, *range(10))
    refused = [effect.record for effect, error in writer.outcomes() if error is not None]
    assert refused[-1] == 9
    assert 6 <= len(refused) <= 7


def test_the_end_writes_what_was_given_and_takes_nothing_more(slow):
    told = []
    writer = JournalWriter(slow, lambda: told.append(1))
    give(writer, 1, 2)
    slow.may_go.release(100)
    writer.close()
    assert [record for group in slow.groups for record in group] == [1, 2]
    assert slow.is_closed
    give(writer, 3)
    *_, (_, error) = writer.outcomes()
    assert "is being closed" in str(error)
    assert told


def test_a_real_journal_keeps_a_group_whole(tmp_path):
    writer = JournalWriter(filled_journal(tmp_path), lambda: None)
    give(writer, *(accepted(key) for key in (1, 2, 2, 3)))  # one comes twice: it fails alone
    writer.close()
    assert [error is None for _, error in writer.outcomes()] == [True, True, False, True]
    assert [saved.accepted.at for saved in load_journal(tmp_path)] == [11.0, 12.0, 13.0]


def test_a_disk_that_hangs_at_the_start_is_not_waited_for_without_a_bound(
    writer, slow, monkeypatch
):
    monkeypatch.setattr(writer_module, "FLUSH_TIMEOUT_S", 0.05)
    give(writer, 0)
    with pytest.raises(StorageError, match="is silent"):
        writer.flush()
    assert not slow.is_closed
