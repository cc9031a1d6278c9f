"""Watching a job over a line that is a list: what is heard, what breaks, and what is asked then."""

from __future__ import annotations

import pytest
from cim_steps import run_steps
from cim_wire import CAPABILITIES

from cim_hal.client.job import Job, JobUpdates
from cim_hal.client.options import Retries
from cim_hal.client.requests import RequestClient
from cim_hal.client.steps import Exchange, Exclusive, Receive, Sleep, Subscribe
from cim_hal.errors import CimError, ConnectError, JobTimeoutError
from cim_hal.protocol.jobs.state import JobState
from cim_hal.protocol.wire.limits import Limits
from cim_hal.protocol.wire.messages import Hello, JobStatus, Welcome
from cim_hal.protocol.wire.packet import answer, event

JOB = "7" * 32
LOST = ConnectError("lost")


def _at(seq: int, state: JobState = JobState.RUNNING) -> JobStatus:
    return JobStatus(job=JOB, state=state, seq=seq)


class Far:
    """Does steps by scripts: what lines say, event or answer, and what is answered to questions."""

    def __init__(self, lines, answers=(), *, version=(1, 2)) -> None:
        self.now, self.waits, self.n_closed = 0.0, [], 0
        self.lines, self.answers, self.version = list(lines), list(answers), version
        self.client = RequestClient(timeout_s=5.0, retries=Retries(), clock=lambda: self.now)
        self.job = Job(self, self.client, None, _at(0, JobState.QUEUED))

    def _run(self, steps):
        return run_steps(steps, self._do)

    def all(self, changes: JobUpdates) -> list[int]:
        found = []
        while (status := self._run(changes.next())) is not None:
            found.append(status.seq)
        return found

    def close(self) -> None:
        self.n_closed += 1

    def _do(self, step):
        match step:
            case Exclusive():
                return self._run(step.steps)
            case Sleep():
                self.now += step.seconds
            case Exchange(packet=packet) if isinstance(packet.body, Hello):
                return answer(packet, self._welcome())
            case Exchange(packet=packet):
                return answer(packet, self.answers.pop(0))
            case Subscribe(packet=packet):
                self.waits.append(packet.body)
                self._request = packet
                return self
            case Receive():
                return self._said(step.timeout_s)
        return None

    def _said(self, timeout_s: float):
        said = self.lines.pop(0)
        if isinstance(said, CimError):
            raise said
        is_event, status = said
        if not is_event:
            self.now += min(self.waits[-1].timeout_s, timeout_s)
        return (event if is_event else answer)(self._request, status)

    def _welcome(self) -> Welcome:
        return Welcome(
            protocol=self.version,
            server="bench",
            instance="0" * 32,
            session="1" * 32,
            limits=Limits(),
            capabilities=CAPABILITIES,
        )


def test_each_change_is_told_once_and_the_end_is_the_last():
    done = _at(9, JobState.DONE)
    far = Far([(True, _at(3)), (True, _at(3)), (True, _at(5)), (False, done)])
    assert far.all(JobUpdates(far.job, far.client, None)) == [3, 5, 9]
    assert far.job.status is done
    assert (len(far.waits), far.n_closed) == (1, 1)


def test_a_wait_that_is_over_is_made_again_from_where_it_was_and_for_longer():
    still = (False, _at(3))
    far = Far([(True, _at(3)), still, still, still, (False, _at(4, JobState.DONE))])
    assert far.all(JobUpdates(far.job, far.client, None)) == [3, 4]
    assert [wait.since for wait in far.waits] == [0, 3, 3, 3]
    assert [wait.timeout_s for wait in far.waits] == [1.0, 1.0, 2.0, 4.0]
    assert all(wait.events for wait in far.waits)


def test_after_a_line_broke_the_server_is_asked_and_then_heard_again():
    far = Far([(True, _at(3)), LOST, (False, _at(9, JobState.DONE))], [_at(6)])
    assert far.all(JobUpdates(far.job, far.client, None)) == [3, 6, 9]
    assert [wait.since for wait in far.waits] == [0, 6]


def test_the_end_is_told_when_the_line_broke_before_it():
    far = Far([(True, _at(3)), LOST], [_at(9, JobState.FAILED)])
    assert far.all(JobUpdates(far.job, far.client, None)) == [3, 9]


def test_a_watch_ends_when_its_time_is_up():
    still = (False, _at(3))
    far = Far([(True, _at(3)), still, still, still, still])
    changes = JobUpdates(far.job, far.client, 2.5)
    assert far._run(changes.next()).seq == 3
    with pytest.raises(JobTimeoutError, match=r"still running after 2\.5 s"):
        far._run(changes.next())
    assert far.now == 2.5
