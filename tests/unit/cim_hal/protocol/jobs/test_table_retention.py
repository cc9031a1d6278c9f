from __future__ import annotations

import pytest
from cim_wire import SteppedCore, done

from cim_hal.protocol.jobs.records import Dropped, Fetched, Forgotten
from cim_hal.protocol.jobs.table import BATCH, IdempotencyRules
from cim_hal.protocol.wire.messages import FetchResult


@pytest.fixture
def bench() -> SteppedCore:
    rules = IdempotencyRules(kept_s=1000.0)
    return SteppedCore(keys=rules, result_s=100.0, session_s=1e9, kept_jobs=2000)


@pytest.fixture
def session(bench: SteppedCore) -> str:
    bench.load(token := bench.hello())
    return token


def _records(bench: SteppedCore, kind: type) -> list:
    return [record for record in bench.core.records if isinstance(record, kind)]


def test_much_that_is_too_old_goes_in_records_of_a_bounded_size(bench, session):
    n_jobs = 2 * BATCH + 1
    for key in range(1, n_jobs + 1):
        done(bench, session, key)
    for now, kind in ((100.0, Dropped), (1000.0, Forgotten)):
        for _ in range(4):
            bench.core.tick(now)
        sizes = [len(record.jobs) for record in _records(bench, kind)]
        assert sum(sizes) == n_jobs
        assert max(sizes) <= BATCH


def test_what_was_fetched_is_written_at_the_next_tick_that_can_write(bench, session):
    job = done(bench, session)
    bench.ask(FetchResult(job=job), session)
    bench.core.disk.is_full = True
    bench.core.tick(1.0)
    assert _records(bench, Fetched) == []
    bench.core.disk.is_full = False
    bench.core.tick(1.5)  # not at once
    bench.core.tick(2.0)
    bench.core.tick(3.0)
    assert [record.jobs for record in _records(bench, Fetched)] == [(job,)]
