"""The fair queue under any work: shares, starvation, order, and what affinity may not change."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from cim_hal.protocol.jobs.scheduler import FairQueue

SLICE_S = 2.0


@dataclass(frozen=True)
class Job:
    user: str
    number: int
    seconds: float
    priority: int
    coupling: int


def _push(queue: FairQueue[Job], job: Job) -> None:
    queue.push(job, user=job.user, priority=job.priority, coupling=job.coupling)


jobs = st.builds(
    Job,
    user=st.sampled_from("abcd"),
    number=st.integers(),
    # Multiples of 1/16 s: sums are exact, so the bounds are too.
    seconds=st.integers(0, 160).map(lambda sixteenths: sixteenths / 16),
    priority=st.integers(-1, 1),
    coupling=st.integers(0, 2),
)


def _drain(queue: FairQueue[Job], arrivals: list[Job]) -> list[Job]:
    """Serve all, one of `arrivals` after each job, with the couplings that were loaded last."""
    done, loaded, coming = [], None, iter(arrivals)
    while (job := queue.pop(loaded=loaded)) is not None:
        loaded = job.coupling
        done.append(job)
        queue.charge(job.user, job.seconds)
        if (late := next(coming, None)) is not None:
            _push(queue, late)
    return done


@given(st.lists(jobs, min_size=1, max_size=40), st.lists(jobs, max_size=20))
def test_every_job_runs_once(waiting, arrivals):
    queue = FairQueue[Job](slice_s=SLICE_S)
    for job in waiting:
        _push(queue, job)
    done = _drain(queue, arrivals)
    assert sorted(map(id, done)) == sorted(map(id, waiting + arrivals[: len(done)]))
    assert len(queue) == 0


@given(st.lists(jobs, min_size=1, max_size=40))
def test_a_user_is_served_by_priority_and_then_as_they_came(waiting):
    queue = FairQueue[Job](slice_s=SLICE_S)
    for job in waiting:
        _push(queue, job)
    came = {id(job): i for i, job in enumerate(waiting)}
    done = _drain(queue, [])
    for user in "abcd":
        order = [(-job.priority, came[id(job)]) for job in done if job.user == user]
        assert all(before < after for before, after in pairwise(order))


@given(st.lists(jobs, min_size=1, max_size=60), st.data())
def test_users_that_wait_all_the_while_differ_by_less_than_a_slice_and_a_job(work, data):
    users = "abcd"[: data.draw(st.integers(2, 4))]
    queue = FairQueue[Job](slice_s=SLICE_S)
    for user in users:
        _push(queue, Job(user, -1, 1.0, 0, 0))
    used, longest, loaded = dict.fromkeys(users, 0.0), 0.0, None
    for number, shape in enumerate(work):
        job = queue.pop(loaded=loaded)
        assert job is not None
        loaded = job.coupling
        queue.charge(job.user, job.seconds)
        used[job.user] += job.seconds
        longest = max(longest, job.seconds)
        _push(queue, Job(job.user, number, shape.seconds, 0, shape.coupling))
        assert max(used.values()) - min(used.values()) <= SLICE_S + longest


@given(st.lists(jobs, min_size=1, max_size=40), st.lists(jobs, max_size=40), st.integers(0, 2))
def test_who_comes_anew_waits_for_at_most_a_slice_and_a_job_of_each_other(
    waiting, arrivals, coupling
):
    queue = FairQueue[Job](slice_s=SLICE_S)
    for job in waiting:
        _push(queue, job)
    newcomer = Job("new", 0, 1.0, 0, coupling)
    _push(queue, newcomer)
    longest = max(job.seconds for job in waiting + arrivals)
    waited, loaded, coming = 0.0, None, iter(arrivals)
    while (job := queue.pop(loaded=loaded)) is not newcomer:
        assert job is not None
        loaded = job.coupling
        waited += job.seconds
        queue.charge(job.user, job.seconds)
        if (late := next(coming, None)) is not None:
            _push(queue, late)
    others = {job.user for job in waiting + arrivals}
    assert waited <= len(others) * (SLICE_S + longest)


@given(st.lists(jobs, min_size=1, max_size=40), st.sets(st.sampled_from("abcd"), min_size=1))
def test_what_is_not_allowed_does_not_run_and_does_not_hold_up_the_rest(waiting, allowed):
    queue = FairQueue[Job](slice_s=SLICE_S)
    for job in waiting:
        _push(queue, job)
    done = []
    while (job := queue.pop(is_allowed=lambda job: job.user in allowed)) is not None:
        done.append(job)
        queue.charge(job.user, job.seconds)
    assert {id(job) for job in done} == {id(job) for job in waiting if job.user in allowed}
    # Who was held up has not saved more than a slice meanwhile, and is served at once.
    rest = [job for job in waiting if job.user not in allowed]
    assert {id(job) for job in queue} == {id(job) for job in rest}
    if rest:
        assert queue.pop() is not None
