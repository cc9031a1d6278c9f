"""Runs that come before the end of their job, and its changes, over every transport."""

from __future__ import annotations

import asyncio
import functools
import itertools
import threading
import time

import numpy as np
import pytest
from cim_machines import Annealer
from delivering_machines import BareSpins, Delivering, expected

from cim_hal import (
    IsingModel,
    JobCancelledError,
    JobTimeoutError,
    LoopbackTransport,
    ModelError,
    Retries,
    open_device,
    open_device_async,
)
from cim_hal.errors import (
    DeviceRestartedError,
    DriverFaultError,
    LockLostError,
    UnknownReferenceError,
)
from cim_hal.protocol.jobs.state import JobState
from cim_hal.server.driver.process import DriverProcess
from cim_hal.server.storage.journal import DiskJournal
from cim_hal.testing import Latency, MessageFaults, MessageProxy, ResetEvery, TcpProxy

PAIR = IsingModel.from_couplings([[0, 1], [1, 0]])
SLOWLY = {"pace": 0.1}


def _glass(n_spins: int) -> IsingModel:
    """Couplings of -1 and +1: their energies are exact, however many are computed at once."""
    upper = np.triu(np.random.default_rng(n_spins).choice([-1, 1], (n_spins, n_spins)), k=1)
    return IsingModel.from_couplings(upper + upper.T)


def _joined(batches):
    return functools.reduce(lambda some, more: some.concat(more), batches)


def _check_same(found, result):
    for name in ("spins", "energies", "amplitudes"):
        np.testing.assert_array_equal(getattr(found, name), getattr(result, name))


@pytest.fixture(params=["here", "through bytes", "there", "in a process"])
def device(request, serving):
    match request.param:
        case "here":
            target = Delivering()
        case "through bytes":
            target = LoopbackTransport(Delivering())
        case "in a process":
            target = DriverProcess("delivering_machines:Delivering")
        case _:
            with serving(Delivering()) as endpoint, open_device(endpoint) as session:
                yield session
            return
    with open_device(target) as session:
        yield session


# ---- batches --------------------------------------------------------------------------------


def test_batches_come_while_the_job_runs_and_joined_are_its_result(device):
    model = _glass(30)
    job = device.submit(model, n_runs=18, seed=5, settings=SLOWLY, gauge_seed=3)
    states, batches = [], []
    for batch in job.batches():
        batches.append(batch)
        states.append(job.state)
    assert states[0] is JobState.RUNNING
    assert len(batches) >= 3
    assert sum(map(len, batches)) == 18
    _check_same(_joined(batches), job.result())
    assert [batch.record.job for batch in batches] == [job.id] * len(batches)
    seconds = [batch.record.device_s for batch in batches]
    assert seconds == sorted(seconds)


def test_a_job_can_be_ended_early_and_what_there_was_is_kept(device):
    job = device.submit(PAIR, n_runs=4000, seed=5, settings=SLOWLY)
    batches = job.batches()
    kept = [next(batches), next(batches)]
    job.cancel()
    with pytest.raises(JobCancelledError):
        kept.extend(batches)
    n_runs = sum(map(len, kept))
    assert 8 <= n_runs < 400
    amplitudes = expected(5, 4000, 2)[:n_runs]
    np.testing.assert_array_equal(
        np.sort(_joined(kept).amplitudes, axis=None), np.sort(amplitudes, axis=None)
    )
    again = []
    with pytest.raises(JobCancelledError):
        again.extend(device.job(job.id, PAIR).batches())
    _check_same(_joined(again), _joined(kept))


def test_what_there_was_of_a_job_that_failed_comes_first_and_then_the_reason(device):
    job = device.submit(PAIR, n_runs=40, seed=5, settings={"lasts": 3})
    found = []
    with pytest.raises(LockLostError):
        found.extend(job.batches())
    assert sum(map(len, found)) == 12
    with pytest.raises(LockLostError):
        job.result()


def test_a_machine_whose_readout_is_not_what_it_delivered_has_failed(device):
    job = device.submit(PAIR, n_runs=8, seed=5, settings={"lies": 1})
    with pytest.raises(DriverFaultError, match="does not begin with the runs"):
        list(job.batches())
    assert len(device.sample(PAIR, n_runs=8, seed=5)) == 8


def test_batches_go_on_from_any_run_and_bare_spins_come_too(serving):
    with serving(BareSpins()) as endpoint, open_device(endpoint) as device:
        job = device.submit(PAIR, n_runs=10, seed=5, settings=SLOWLY)
        assert next(job.batches()).amplitudes is None
        rest = _joined(job.batches(first=7))
        assert len(rest) == 3
        spins = np.where(expected(5, 10, 2)[7:] < 0, -1, 1)
        np.testing.assert_array_equal(np.sort(rest.spins, axis=0), np.sort(spins, axis=0))
        assert list(job.batches(first=10)) == []
        with pytest.raises(ModelError, match="the first run has the number 0"):
            list(job.batches(first=-1))
        with pytest.raises(ModelError, match="found without it"):
            list(device.job(job.id).batches())


def test_a_machine_that_delivers_nothing_has_one_batch():
    with open_device(Annealer()) as device:
        job = device.submit(PAIR, n_runs=10, seed=5)
        (batch,) = job.batches()
        _check_same(batch, job.result())


def test_batches_of_a_result_that_is_gone_say_so(serving):
    with serving(Delivering()) as endpoint, open_device(endpoint) as device:
        job = device.submit(PAIR, n_runs=10, seed=5)
        batches = job.batches()
        assert sum(map(len, batches)) == 10
        job.acknowledge()
        with pytest.raises(UnknownReferenceError, match="acknowledged"):
            list(job.batches())


def test_a_wait_for_batches_can_be_bounded(serving):
    with serving(Delivering()) as endpoint, open_device(endpoint) as device:
        job = device.submit(PAIR, n_runs=10, seed=5, settings={"pace": 5.0})
        began = time.monotonic()
        with pytest.raises(JobTimeoutError, match=r"still running after 0\.3 s"):
            list(job.batches(timeout_s=0.3))
        assert time.monotonic() - began < 8.0  # and not 50 s
        assert job.cancel() is JobState.STOPPING


def test_large_batches_travel_in_several_messages(serving):
    model = _glass(2000)
    with serving(Delivering()) as endpoint, open_device(endpoint) as device:
        job = device.submit(model, n_runs=301, seed=5, settings={"pace": 0.01})
        batches = list(job.batches())
        assert len(batches) >= 2
        _check_same(_joined(batches), job.result())


def test_batches_come_to_an_event_loop(serving):
    async def main(target):
        async with open_device_async(target) as device:
            jobs = [
                await device.submit(PAIR, n_runs=18, seed=seed, settings=SLOWLY) for seed in (1, 2)
            ]

            async def gathered(job):
                return [batch async for batch in job.batches()]

            found = await asyncio.gather(*map(gathered, jobs))
            for batches, job in zip(found, jobs, strict=True):
                assert len(batches) >= 3
                _check_same(_joined(batches), await job.result())

    asyncio.run(main(Delivering()))
    with serving(Delivering()) as endpoint:
        asyncio.run(main(endpoint))


def test_each_run_comes_once_whatever_is_lost_repeated_or_reset_on_the_way(serving):
    often = MessageFaults(drop=0.05, duplicate=0.1, delay=0.05, reorder=0.1)
    resets = [ResetEvery(segments=40)]
    driver = Delivering()
    with (
        serving(driver) as endpoint,
        MessageProxy(endpoint, to_server=often, to_client=often, seed=5) as messages,
        TcpProxy(messages.endpoint, upstream=resets, downstream=resets) as connections,
        open_device(connections.endpoint, retries=Retries(retry_after_s=0.3)) as device,
    ):
        n_batches = 0
        for seed in range(6):
            job = device.submit(PAIR, n_runs=48, seed=seed, settings={"pace": 0.05})
            found = _joined(batches := list(job.batches()))
            n_batches += len(batches)
            np.testing.assert_array_equal(
                np.sort(found.amplitudes, axis=None), np.sort(expected(seed, 48, 2), axis=None)
            )
            _check_same(found, job.result())
    assert driver.n_run == 6
    assert n_batches >= 12
    assert connections.counts["resets"] >= 2
    for kind in ("dropped", "duplicated", "delayed", "reordered"):
        assert messages.counts[kind] >= 1


def test_a_journal_keeps_what_there_was_of_a_job_that_ended_and_not_of_one_that_ran(
    serving, tmp_path
):
    def again():
        return serving(Delivering(), journal=DiskJournal(tmp_path / "state"))

    with again() as endpoint, open_device(endpoint) as device:
        ended = device.submit(PAIR, n_runs=40, seed=5, settings={"lasts": 3})
        ended.wait()
        ran = device.submit(PAIR, n_runs=400, seed=6, settings=SLOWLY)
        next(ran.batches())
    with again() as endpoint, open_device(endpoint) as device:
        found = []
        with pytest.raises(LockLostError):
            found.extend(device.job(ended.id, PAIR).batches())
        assert sum(map(len, found)) == 12
        with pytest.raises((DeviceRestartedError, JobCancelledError)):
            list(device.job(ran.id, PAIR).batches(first=4000))


# ---- changes --------------------------------------------------------------------------------


def test_changes_come_in_order_from_where_the_job_is_to_its_end(device):
    job = device.submit(PAIR, n_runs=20, seed=5, settings=SLOWLY)
    seen = list(job.changes())
    numbers = [status.seq for status in seen]
    assert numbers == sorted(set(numbers))
    done = [status.progress.done for status in seen if status.progress]
    assert done == sorted(done)
    assert done
    assert len({status.ready for status in seen}) >= 3
    assert (seen[-1].state, seen[-1].ready) == (JobState.DONE, 20)
    (end,) = job.changes()
    assert end.state is JobState.DONE


def test_changes_come_to_an_event_loop_and_to_several_who_watch_one_job(serving):
    async def main(target):
        async with open_device_async(target) as device:
            job = await device.submit(PAIR, n_runs=20, seed=5, settings=SLOWLY)

            async def watched():
                return [status.ready async for status in job.changes()]

            for ready in await asyncio.gather(watched(), watched(), watched()):
                assert ready == sorted(ready)
                assert (len(set(ready)) >= 4, ready[-1]) == (True, 20)

    asyncio.run(main(Delivering()))
    with serving(Delivering()) as endpoint:
        asyncio.run(main(endpoint))


def test_changes_end_with_the_reason_where_the_job_failed(serving):
    with serving(Delivering()) as endpoint, open_device(endpoint) as device:
        job = device.submit(PAIR, n_runs=20, seed=5, settings={"lasts": 2})
        *_, end = job.changes()
        assert (end.state, end.error.code, end.ready) == (JobState.FAILED, "device.lock_lost", 8)
        with pytest.raises(LockLostError, match="delivered 8 of its runs") as caught:
            job.result()
        assert caught.value.details["job"] == job.id


def test_a_change_reaches_a_far_client_after_half_a_round_trip(serving):
    """A long poll that is renewed at each change would take three halves."""
    slow = Latency(latency_s=0.2)
    with (
        serving(Delivering()) as endpoint,
        TcpProxy(endpoint, upstream=[slow], downstream=[slow]) as far,
        open_device(far.endpoint) as device,
        open_device(endpoint) as near,
    ):
        job = device.submit(PAIR, n_runs=40, seed=5, settings={"pace": 0.25})
        heard = {}
        there = near.job(job.id)

        def watch(who, job):
            for status in job.changes():
                heard.setdefault((who, status.ready), time.monotonic())

        threads = [
            threading.Thread(target=watch, args=each) for each in (("far", job), ("near", there))
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    late = [heard["far", n] - heard["near", n] for n in range(12, 40, 4) if ("far", n) in heard]
    assert len(late) >= 5
    assert np.median(late) < 0.35


def test_a_watcher_who_does_not_look_hears_the_newest_and_the_end(serving):
    with serving(Delivering()) as endpoint, open_device(endpoint) as device:
        job = device.submit(PAIR, n_runs=40, seed=5, settings={"pace": 0.05})
        changes = job.changes()
        next(changes)
        job.wait()
        *_, end = changes
        assert end.state is JobState.DONE
        assert device.sample(PAIR, n_runs=4, seed=1).record.seed == 1


def test_a_watcher_who_goes_away_is_forgotten(serving):
    with serving(Delivering()) as endpoint, open_device(endpoint) as device:
        job = device.submit(PAIR, n_runs=40, seed=5, settings={"pace": 0.1})
        for status in itertools.islice(job.changes(), 3):
            assert status.state in {JobState.QUEUED, JobState.RUNNING}
        assert len(job.result()) == 40
        assert device.metrics().value("dropped_replies_total") <= 1  # that to the wait


def test_a_watch_can_be_bounded(device):
    job = device.submit(PAIR, n_runs=20, seed=5, settings={"pace": 5.0})
    began = time.monotonic()
    with pytest.raises(JobTimeoutError, match="still running after"):
        list(job.changes(timeout_s=0.3))
    assert time.monotonic() - began < 8.0  # and not 100 s
    job.cancel()
