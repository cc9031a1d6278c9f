from __future__ import annotations

import pytest

from cim_hal.protocol.jobs.state import JOB, TERMINAL, JobEvent, JobState, after


def test_every_state_has_a_row_and_every_state_can_be_reached():
    assert set(JOB) == set(JobState)
    reached = {JobState.QUEUED}
    for _ in JobState:
        reached |= {state for row in reached for state in JOB[row].values()}
    assert reached == set(JobState)


def test_terminal_states_are_those_that_cannot_be_left():
    closed = {state for state, row in JOB.items() if set(row.values()) <= {state}}
    assert closed - {JobState.STOPPING} == TERMINAL


def test_every_state_can_be_cancelled():
    assert all(JobEvent.CANCEL in row for row in JOB.values())


def test_what_the_table_does_not_have_is_a_bug():
    with pytest.raises(KeyError):
        after(JobState.QUEUED, JobEvent.MEASURE)
