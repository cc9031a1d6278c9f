from __future__ import annotations

import pytest

from cim_hal.protocol.jobs.entry import JobSize
from cim_hal.protocol.jobs.scheduler import FairQueue, RunTimeEstimator


@pytest.fixture
def queue() -> FairQueue[str]:
    return FairQueue(slice_s=2.0)


def _order(queue: FairQueue[str], seconds: float, **options) -> list[str]:
    """Run all that waits, each job as long; a job is named after its user."""
    order = []
    while (job := queue.pop(**options)) is not None:
        order.append(job)
        queue.charge(job[0], seconds)
    return order


def test_an_empty_queue_has_no_next_job(queue):
    assert queue.pop() is None
    assert len(queue) == 0


def test_one_user_is_served_in_the_order_of_submission(queue):
    for i in range(5):
        queue.push(f"a{i}", user="a")
    assert _order(queue, 10.0) == ["a0", "a1", "a2", "a3", "a4"]


def test_users_take_turns_of_a_slice(queue):
    for user in "ab":
        for i in range(4):
            queue.push(f"{user}{i}", user=user)
    assert _order(queue, 1.0) == ["a0", "a1", "b0", "b1", "a2", "a3", "b2", "b3"]


def test_a_long_job_is_paid_for_in_the_rounds_that_follow(queue):
    for i in range(3):
        queue.push(f"a{i}", user="a")
    for i in range(8):
        queue.push(f"b{i}", user="b")
    order = []
    while (job := queue.pop()) is not None:
        order.append(job)
        queue.charge(job[0], 7.0 if job[0] == "a" else 1.0)
    # 2 - 7 = -5: three rounds of 2 s until a runs again.
    assert order == ["a0", "b0", "b1", "b2", "b3", "b4", "b5", "a1", "b6", "b7", "a2"]


def test_going_away_does_not_clear_a_debt(queue):
    queue.push("a0", user="a")
    for i in range(6):
        queue.push(f"b{i}", user="b")
    assert queue.pop() == "a0"
    queue.charge("a", 5.0)
    queue.push("a1", user="a")
    assert _order(queue, 1.0) == ["b0", "b1", "b2", "b3", "a1", "b4", "b5"]


def test_nobody_saves_up_while_away(queue):
    for i in range(12):
        queue.push(f"a{i}", user="a")
    for _ in range(6):
        queue.pop()
        queue.charge("a", 1.0)
    for i in range(6):
        queue.push(f"b{i}", user="b")
    assert _order(queue, 1.0)[:4] in (["b0", "b1", "a6", "a7"], ["a6", "a7", "b0", "b1"])


def test_the_highest_priority_of_a_user_goes_first_and_is_nothing_to_others(queue):
    queue.push("a-low", user="a", priority=-1)
    queue.push("a-mid", user="a")
    queue.push("b-mid", user="b")
    queue.push("a-high", user="a", priority=9)
    assert _order(queue, 2.0) == ["a-high", "b-mid", "a-mid", "a-low"]


def test_loaded_couplings_go_first_among_users(queue):
    for user, coupling in (("a", "J"), ("b", "K"), ("c", "J"), ("d", "K")):
        queue.push(user, user=user, coupling=coupling)
    assert queue.pop(loaded="K") == "b"
    queue.charge("b", 2.0)
    assert _order(queue, 2.0, loaded="K") == ["d", "a", "c"]


def test_loaded_couplings_have_no_more_than_a_slice(queue):
    for i in range(4):
        queue.push(f"a{i}", user="a", coupling="J")
    queue.push("b0", user="b", coupling="K")
    assert _order(queue, 1.0, loaded="J") == ["a0", "a1", "b0", "a2", "a3"]


def test_what_is_not_allowed_keeps_its_place(queue):
    for job in ("a0", "b0", "a1", "b1"):
        queue.push(job, user=job[0])
    assert _order(queue, 1.0, is_allowed=lambda job: job.startswith("b")) == ["b0", "b1"]
    assert list(queue) == ["a0", "a1"]
    assert _order(queue, 1.0) == ["a0", "a1"]


def test_a_job_may_leave(queue):
    for i in range(3):
        queue.push(f"a{i}", user="a")
    queue.remove("a1", user="a")
    queue.remove("a1", user="a")
    assert (len(queue), queue.depth("a"), queue.depth("b")) == (2, 2, 0)
    assert list(queue) == ["a0", "a2"]


def test_nothing_is_known_before_the_first_job():
    assert RunTimeEstimator().estimate(JobSize(100, 10, 1000)) is None


def test_a_job_takes_as_long_as_its_round_trips_times_its_runs():
    pace = RunTimeEstimator()
    pace.learn(JobSize(100, 10, 1000), 0.5)
    assert pace.estimate(JobSize(100, 20, 1000)) == pytest.approx(1.0)
    assert pace.estimate(JobSize(100, 10, 5000)) == pytest.approx(2.5)


def test_a_size_has_its_own_rate_and_another_one_the_nearest():
    pace = RunTimeEstimator()
    pace.learn(JobSize(10, 1, 100), 0.1)
    pace.learn(JobSize(1000, 1, 100), 10.0)
    assert pace.estimate(JobSize(15, 1, 100)) == pytest.approx(0.1)
    assert pace.estimate(JobSize(2000, 1, 100)) == pytest.approx(10.0)


def test_a_machine_that_became_slower_is_believed_in_time():
    pace = RunTimeEstimator()
    pace.learn(JobSize(10, 1, 100), 1.0)
    for _ in range(20):
        pace.learn(JobSize(10, 1, 100), 2.0)
    assert pace.estimate(JobSize(10, 1, 100)) == pytest.approx(2.0, rel=0.8**20)
