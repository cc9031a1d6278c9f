"""What comes while a record is being written: it waits for that record, and then is right."""

from __future__ import annotations

import pytest
from cim_wire import sample_request
from late_core import Late

from cim_hal.protocol.effects import MakeSafe, Persist, Run
from cim_hal.protocol.jobs.records import Accepted, Ended, EpochRecord, Started
from cim_hal.protocol.jobs.state import JobState
from cim_hal.protocol.jobs.table import job_id
from cim_hal.protocol.wire.messages import (
    AckJob,
    CancelJob,
    EmergencyStop,
    ErrorMessage,
    ListJobs,
    LockDevice,
    LockState,
    ResetDevice,
    UnlockDevice,
    WaitJob,
)

JOB = job_id("local", sample_request(1).key)


@pytest.fixture
def late():
    late = Late()
    late.load(3)
    late.finish(0, fails=False)
    return late


def write(late: Late, *, fails: bool = False) -> type:
    """Let the oldest record be written; return what it is."""
    index = next(i for i, effect in enumerate(late.open) if isinstance(effect, Persist))
    kind = type(late.open[index].record)
    late.finish(index, fails=fails)
    return kind


def settle(late: Late) -> list[object]:
    """Let everything happen, in its order; return it."""
    happened = []
    for _ in range(50):
        late.wait(2.0)
        while late.open:
            effect = late.open[0]
            happened.append(effect.record if isinstance(effect, Persist) else effect)
            late.finish(0, fails=False)
    return happened


def answers(late: Late) -> list[list[object]]:
    return list(late.answered.values())


@pytest.mark.parametrize("fails", [False, True])
def test_the_same_key_twice_is_one_job_whose_answer_both_wait_for(late, fails):
    late.sample(1, 3, keep=True)
    late.sample(1, 3, keep=True)
    assert [type(effect.record) for effect in late.open] == [Accepted, Started]
    n_answered = len(late.answered)
    write(late, fails=fails)
    if fails:  # the first has not happened, so the second is a new job
        assert answers(late)[-1][0].code == "server.storage"
        assert write(late, fails=True) is Started
        assert write(late) is Accepted
    assert [body.job for (body,) in answers(late)[n_answered + fails :]] == [JOB] * (2 - fails)
    assert sum(isinstance(effect, Run) for effect in settle(late)) == 1


def test_another_request_with_the_same_key_is_a_conflict_once_the_first_is_written(late):
    late.sample(1, 3, keep=True)
    n_answered = len(late.answered)
    late.sample(1, 3, keep=False)
    assert len(late.answered) == n_answered
    write(late)
    assert answers(late)[-1][0].code == "protocol.conflict"


@pytest.mark.parametrize("ask", [WaitJob(job=JOB, timeout_s=9.0), CancelJob(job=JOB)])
def test_a_job_that_is_not_written_yet_is_unknown(late, ask):
    late.sample(1, 3, keep=True)
    assert late.ask(ask).code == "protocol.unknown_reference"
    assert late.ask(ListJobs()).jobs == ()


def test_jobs_that_are_being_written_count_for_the_bounds_of_the_queue():
    late = Late(queue_length=2)
    late.load(3)
    late.finish(0, fails=False)
    for key in (1, 2, 3):
        late.sample(key, 3, keep=True)
    assert answers(late)[-1][0].code == "job.queue_full"
    assert [type(effect.record) for effect in late.open] == [Accepted, Started, Accepted]


def _stop(late):
    late.ask(EmergencyStop(reason="smoke"))


def _cancel(late):
    assert late.ask(CancelJob(job=JOB)).state is JobState.QUEUED


@pytest.mark.parametrize("end", [_stop, _cancel, Late.part])
def test_a_job_that_is_to_end_while_its_start_is_written_never_touches_the_machine(late, end):
    late.sample(1, 3, keep=False)
    assert write(late) is Accepted
    assert late.ask(WaitJob(job=JOB, timeout_s=9.0)) is None
    end(late)
    assert isinstance(late.open[0].record, Started)
    happened = settle(late)
    assert not any(isinstance(effect, Run) for effect in happened)
    (ended,) = [record for record in happened if isinstance(record, Ended)]
    assert ended.state is JobState.CANCELLED
    assert not late.core._state.jobs.busy


@pytest.mark.parametrize("end", [Late.part, _stop])
def test_a_session_or_a_stop_that_ends_a_job_does_so_though_it_is_just_being_accepted(late, end):
    late.sample(1, 3, keep=False)
    end(late)
    happened = settle(late)
    assert isinstance(happened[0], Accepted)
    assert not any(isinstance(effect, Run) for effect in happened)
    ended = [record.state for record in happened if isinstance(record, Ended)]
    assert ended == [JobState.CANCELLED]


@pytest.mark.parametrize("n_written", [0, 1])
def test_a_job_whose_lock_is_lost_while_it_is_written_ends(late, n_written):
    late.ask(LockDevice(key=f"{1:032x}"))
    assert write(late) is EpochRecord
    late.sample(1, 3, keep=True)
    for _ in range(n_written):
        write(late)
    late.wait(1e3)  # the lease runs out
    happened = settle(late)
    assert not any(isinstance(effect, Run) for effect in happened)
    (ended,) = [record for record in happened if isinstance(record, Ended)]
    assert ended.error.code == "session.lease_lost"


def test_a_job_whose_lock_is_given_back_while_it_is_written_runs(late):
    late.ask(LockDevice(key=f"{1:032x}"))
    write(late)
    late.sample(1, 3, keep=True)
    late.ask(UnlockDevice())
    assert sum(isinstance(effect, Run) for effect in settle(late)) == 1


def test_a_lock_is_told_once_it_is_written_and_a_later_one_is_not_undone_with_it(late):
    late.ask(LockDevice(key=f"{1:032x}"))
    assert late.ask(LockDevice(key=f"{1:032x}")) is None  # a copy waits as well
    late.ask(UnlockDevice())
    assert late.ask(LockDevice(key=f"{2:032x}")) is None
    write(late, fails=True)
    write(late, fails=True)
    write(late)
    bodies = [body for (body,) in answers(late)]
    codes = [body.code for body in bodies if isinstance(body, ErrorMessage)]
    assert codes == ["server.storage"] * 2
    assert isinstance(bodies[-1], LockState)
    assert late.core._state.locks.lock.key == f"{2:032x}"


def test_a_stop_that_comes_while_the_reset_of_another_is_written_holds(late):
    late.ask(EmergencyStop(reason="smoke"))
    write(late)
    late.ask(ResetDevice(stop=late.core._state.epochs.stopped.number))
    late.ask(EmergencyStop(reason="fire"))
    written = [record for record in settle(late) if isinstance(record, EpochRecord)]
    assert [record.stopped and record.stopped.reason for record in written] == [None, "fire"]
    assert late.core._state.epochs.stopped.reason == "fire"


def test_the_end_of_a_job_that_a_slow_disk_refused_is_asked_for_once_at_a_time(late):
    late.sample(1, 3, keep=True)
    for _ in range(2):
        write(late)
    late.finish(0, fails=False)  # the run
    write(late, fails=True)
    for _ in range(20):
        late.wait(0.6)
    assert [type(effect.record) for effect in late.open] == [Ended]
    settle(late)
    assert late.ask(AckJob(job=JOB)) is None


def test_the_driver_is_told_of_a_stop_before_anything_is_written(late):
    packet = late.packet(EmergencyStop(reason="smoke"))
    first, *_ = late.core.receive(b"p", packet, late.now)
    assert isinstance(first, MakeSafe)
