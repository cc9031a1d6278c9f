"""Rows of a journal that are damaged."""

from __future__ import annotations

import sqlite3

import pytest
from journals import accepted, filled_journal, load_journal

from cim_hal.protocol.jobs.state import JobState


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "state"


@pytest.mark.parametrize(
    "damage",
    [
        "request = '{\"key\": 5}'",
        "request = NULL",
        "request = '{'",
        "fitted = NULL",
        "role = 'x'",
        "state = 'asleep'",
        "digest = 5",
        "accepted_at = 'x'",
        "has_result = 1",
    ],
)
def test_a_damaged_row_is_one_job_that_failed_and_says_why(folder, damage):
    filled_journal(folder, *(accepted(key) for key in (1, 2, 3))).close()
    with sqlite3.connect(folder / "journal.sqlite3") as db:
        db.execute(f"UPDATE jobs SET {damage} WHERE number = 2")
    db.close()
    first, bad, last = load_journal(folder)
    assert first.state is last.state is JobState.QUEUED
    assert (bad.job, bad.state, bad.error.code) == (accepted(2).job, JobState.FAILED, "job.lost")
    assert "damaged" in bad.error.message
    assert bad.accepted is None
    assert len(load_journal(folder)) == 3  # it stays
