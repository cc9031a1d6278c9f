"""What is kept of jobs after their end does not depend on the order in which it came."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from cim_wire import (
    CAPABILITIES,
    CONTENT,
    REF,
    SteppedCore,
    measured,
    replies,
    runs,
    sample_request,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from cim_hal.model.schedule import PumpSchedule
from cim_hal.protocol.couplings.content import lower_encoded
from cim_hal.protocol.jobs.records import Accepted, Dropped, Forgotten, Saved
from cim_hal.protocol.jobs.state import JobState
from cim_hal.protocol.jobs.table import IdempotencyRules
from cim_hal.protocol.wire.messages import AckJob, DropCouplings, ListCouplings, ListJobs
from cim_hal.protocol.wire.roles import ANONYMOUS

if TYPE_CHECKING:
    from cim_hal.protocol.wire.results import Result

LOWERING = lower_encoded(CONTENT, REF, CAPABILITIES).lowering
NOW = 1000.0


def _result() -> Result:
    bench = SteppedCore()
    bench.load(session := bench.hello())
    (run,) = runs(bench.sample(session))
    return measured(run.program)


RESULT = _result()


def _saved(number: int, ended_at: float, *, is_closed: bool) -> Saved:
    job = f"{number:032x}"
    schedule = PumpSchedule.constant(1.0, round_trips=1)
    accepted = Accepted(
        job, ANONYMOUS, sample_request(number), b"", schedule, LOWERING.report, float(number)
    )
    left = (None, None) if is_closed else (accepted, RESULT)
    return Saved(job, ANONYMOUS.name, b"", JobState.DONE, None, *left, ended_at)


@st.composite
def journals(draw) -> list[Saved]:
    """Jobs in the order of their acceptance, which ended in any order."""
    ends = draw(st.lists(st.integers(0, 990), min_size=1, max_size=12))
    return [
        _saved(number, float(end), is_closed=draw(st.booleans()))
        for number, end in enumerate(ends, start=1)
    ]


def _history(saved: list[Saved]) -> list[tuple[str, tuple[str, ...]]]:
    """Return what is dropped and forgotten, in order, after a restart with `saved`."""
    rules = IdempotencyRules(kept_s=1500.0)
    bench = SteppedCore(keys=rules, result_s=900.0, kept_jobs=8, session_s=1e9)
    for known in saved:
        bench.core.disk.jobs[known.job] = known
    bench.core.restore(saved, NOW)
    for now in range(1000, 2600, 100):
        bench.core.tick(float(now))
    records = [record for record in bench.core.records if isinstance(record, Dropped | Forgotten)]
    return [(type(record).__name__, record.jobs) for record in records]


@settings(max_examples=60, deadline=None)
@given(st.data(), journals())
def test_results_and_keys_go_in_the_same_order_however_they_were_restored(data, journal):
    mixed = data.draw(st.permutations(journal))
    history = _history(journal)
    assert _history(mixed) == history
    assert sorted(job for kind, jobs in history if kind == "Forgotten" for job in jobs) == [
        known.job for known in journal
    ]


@given(journals())
def test_results_are_dropped_in_the_order_of_their_end(journal):
    ends = {known.job: known.ended_at for known in journal}
    dropped = [job for kind, jobs in _history(journal) if kind == "Dropped" for job in jobs]
    assert [ends[job] for job in dropped] == sorted(ends[job] for job in dropped)


def test_a_result_that_is_too_old_goes_at_the_start_though_a_younger_job_came_first():
    young, old = _saved(1, 990.0, is_closed=False), _saved(2, 10.0, is_closed=False)
    bench = SteppedCore(result_s=900.0)
    for known in (young, old):
        bench.core.disk.jobs[known.job] = known
    bench.core.restore([young, old], NOW)
    assert [info.job for info in bench.ask(ListJobs(), bench.hello()).jobs] == [young.job]


# ---- lists ----------------------------------------------------------------------------------


def _done(bench: SteppedCore, session: str, key: int) -> str:
    (run,) = runs(bench.sample(session, key))
    bench.core.finish(run.job, measured(run.program), bench.now)
    return run.job


@settings(max_examples=20, deadline=None)
@given(st.data())
def test_a_list_of_jobs_goes_on_whatever_becomes_of_them_between_its_pages(data):
    bench = SteppedCore(keys=IdempotencyRules(kept_s=1.0), session_s=1e9)
    bench.load(session := bench.hello())
    jobs = [_done(bench, session, key) for key in range(1, 81)]
    listed: list[str] = []
    gone: set[str] = set()
    page = bench.ask(ListJobs(), session)
    listed += [info.job for info in page.jobs]
    while page.more:
        victims = data.draw(st.lists(st.sampled_from(jobs), max_size=5, unique=True))
        for job in {*victims, listed[-1]} - gone:
            bench.ask(AckJob(job=job), session)
            gone.add(job)
        bench.now += 2.0  # and their keys are forgotten
        bench.core.tick(bench.now)
        jobs.append(_done(bench, session, 100 + len(jobs)))
        page = bench.ask(ListJobs(after=page.cursor), session)
        listed += [info.job for info in page.jobs]
    assert len(listed) == len(set(listed))
    assert set(jobs) - gone <= set(listed)


@pytest.mark.parametrize("change", ["drop", "use", "nothing"])
def test_a_list_of_couplings_has_each_at_most_once_whatever_happens_between_its_pages(change):
    bench = SteppedCore(cache_bytes=10**9, max_uploads=300)
    session = bench.hello()
    bench.load(session)
    store = bench.core._state.couplings
    digests = []
    for number in range(150):
        ref = REF.model_copy(update={"digest": f"sha256:{number:064x}"})
        store.keep(ref, lower_encoded(CONTENT, REF, CAPABILITIES), {bench.user.name})
        digests.append(ref.digest)
    first = bench.ask(ListCouplings(), session)
    seen = [row.digest for row in first.couplings]
    if change == "drop":
        for digest in (seen[0], seen[-1]):
            assert replies(bench.send(DropCouplings(digest=digest), session))
    elif change == "use":
        store.lowering(REF.model_copy(update={"digest": digests[0]}))
    rest = bench.ask(ListCouplings(first=first.cursor), session)
    found = [*seen, *(row.digest for row in rest.couplings)]
    assert len(found) == len(set(found))
    expected = {*digests, REF.digest} - ({digests[0]} if change == "use" else set())
    assert set(found) == expected
    assert rest.cursor == 0
