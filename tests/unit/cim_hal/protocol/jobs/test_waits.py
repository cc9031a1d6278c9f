"""Waits for jobs: bounded for each user, and over in time."""

from __future__ import annotations

import numpy as np
import pytest
from cim_wire import SteppedCore, replies, runs

from cim_hal.protocol.wire.messages import WaitJob
from cim_hal.protocol.wire.results import Result, pack_spins
from cim_hal.protocol.wire.roles import Role, User

ANN = User("ann", Role.USER)
RESULT = Result(pack_spins(np.ones((1, 2), np.int8)), None, 2, 0.5)


@pytest.fixture
def bench() -> SteppedCore:
    return SteppedCore(user_waits=4, session_s=1e9, wait_s=1e6)


@pytest.fixture
def job(bench: SteppedCore, session: str) -> str:
    (run,) = runs(bench.sample(session))
    return run.job


@pytest.fixture
def session(bench: SteppedCore) -> str:
    bench.load(token := bench.hello())
    return token


def test_a_user_has_so_many_waits_and_others_have_theirs(bench, session, job):
    for _ in range(4):
        assert bench.send(WaitJob(job=job, timeout_s=50.0), session) == []
    fault = bench.ask(WaitJob(job=job, timeout_s=50.0), session)
    assert (fault.code, fault.details["what"]) == ("session.quota", "user_waits")
    bench.user = ANN
    bench.load(anns := bench.hello())
    (queued,) = replies(bench.sample(anns, 9))
    assert bench.send(WaitJob(job=queued.job, timeout_s=50.0), anns) == []


def test_waits_end_at_their_time_in_any_order_and_leave_nothing(bench, session, job):
    for seconds in (30.0, 10.0, 20.0):
        bench.send(WaitJob(job=job, timeout_s=seconds), session)
    assert [len(replies(bench.core.tick(now))) for now in (9.0, 10.0, 25.0, 30.0)] == [0, 1, 1, 1]
    waits = bench.core._state.jobs.waits
    assert (waits._counts, waits._n_waits, waits._deadlines) == ({}, 0, [])


def test_waits_that_are_answered_at_once_or_replaced_are_not_remembered(bench, session, job):
    waits = bench.core._state.jobs.waits
    entry = bench.core._state.jobs.table.entry(job)
    for seq in range(1000):
        bench.send(WaitJob(job=job, timeout_s=1e5, since=1), session)
        assert len(entry.waiters) == 0  # there were news
        bench.send(WaitJob(job=job, timeout_s=1e5, events=True, since=entry.seq), session)
        bench.core.deliver(job, RESULT, float(seq))
        (key,) = entry.waiters
        waits._remove(entry, entry.waiters[key])
    assert len(waits._deadlines) < 100
