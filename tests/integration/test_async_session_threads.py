"""What decision 5 asks of an asyncio session whose calls block in threads, over real sockets."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial

import numpy as np
import pytest
from cim_machines import Annealer, Patient

from cim_hal import IsingModel, PumpSchedule, open_device, open_device_async
from cim_hal.client import async_session
from cim_hal.client.options import ConnectionKeywords, Retries
from cim_hal.errors import ClosedError, QueueFullError
from cim_hal.protocol.jobs.state import JobState
from cim_hal.protocol.wire.limits import Limits

PAIR = IsingModel.from_couplings([[0, 1], [1, 0]])
LONG = PumpSchedule.constant(1.0, round_trips=60_000)


def _threads():
    return [t.name for t in threading.enumerate() if t.name.startswith("cim-hal c")]


def _wait_for(condition, seconds=20.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_two_hundred_jobs_are_awaited_at_once_on_one_connection(serving):
    async def main(endpoint):
        async with open_device_async(endpoint, timeout_s=60.0) as device:
            jobs = [device.sample(PAIR, n_runs=2, seed=seed) for seed in range(200)]
            found = await asyncio.gather(*jobs)
            names = _threads()
            assert names.count("cim-hal connection") == 1
            return [samples.amplitudes for samples in found]

    with serving(Annealer()) as endpoint:
        found = asyncio.run(main(endpoint))
        assert _threads() == []
        with open_device(endpoint) as device:
            expected = [device.sample(PAIR, n_runs=2, seed=s).amplitudes for s in range(0, 200, 40)]
    np.testing.assert_equal(found[::40], expected)


def test_nothing_is_remembered_of_requests_that_were_answered(serving):
    async def main(endpoint):
        async with open_device_async(endpoint) as device:
            for _ in range(5):
                await device.ping()
            return device._calls.runner.transport._connections[0]._mailboxes

    with serving(Annealer()) as endpoint:
        assert asyncio.run(main(endpoint)) == {}


def test_a_cancelled_await_frees_its_thread_and_cancels_its_job(serving):
    async def main(endpoint):
        async with open_device_async(endpoint) as device:
            sampling = asyncio.create_task(device.sample(PAIR, LONG))
            while not await device.jobs("running"):
                await asyncio.sleep(0.01)
            sampling.cancel()
            await asyncio.wait([sampling])
            assert sampling.cancelled()
            while await device.jobs("running", "stopping"):
                await asyncio.sleep(0.01)
            assert all(e.is_set() for e in device._calls._cancelled)

    with serving(Patient()) as endpoint:
        asyncio.run(asyncio.wait_for(main(endpoint), 60.0))
    assert _threads() == []


def test_a_timeout_of_asyncio_ends_a_wait_and_leaves_the_job(serving):
    async def main(endpoint):
        async with open_device_async(endpoint) as device:
            job = await device.submit(PAIR, LONG)
            try:
                async with asyncio.timeout(0.3):
                    await job.result()
            except TimeoutError:
                pass
            assert await job.state() is JobState.RUNNING
            await job.cancel()

    with serving(Patient()) as endpoint:
        asyncio.run(asyncio.wait_for(main(endpoint), 60.0))


def test_the_loop_is_never_blocked_by_a_call(serving):
    async def main(endpoint):
        async with open_device_async(endpoint) as device:
            job = await device.submit(PAIR, PumpSchedule.constant(1.0, round_trips=300))
            waiting, ticks = asyncio.create_task(job.result()), 0
            while not waiting.done():
                await asyncio.sleep(0)
                ticks += 1
            return ticks

    with serving(Patient()) as endpoint:
        assert asyncio.run(asyncio.wait_for(main(endpoint), 60.0)) > 100


@pytest.mark.usefixtures("collectable")
def test_a_loop_that_ends_without_close_leaves_no_call_behind(serving):
    async def main(endpoint):
        device = await open_device_async(endpoint).open()
        waiting = asyncio.create_task(device.sample(PAIR, LONG))
        await asyncio.sleep(0.2)
        del waiting

    with serving(Patient()) as endpoint:
        asyncio.run(main(endpoint))
        gc.collect()
        _wait_for(lambda: not _threads())
        with open_device(endpoint) as device:
            _wait_for(lambda: not device.describe().busy)


@contextmanager
def _full(serving):
    """A machine whose queue is full as long as the block lasts."""
    with (
        serving(Patient(), limits=Limits(user_queue_length=4)) as endpoint,
        open_device(endpoint) as device,
    ):
        for seed in range(5):  # one runs and four wait, for a minute each
            device.submit(PAIR, LONG, seed=seed, keep=False)
            _wait_for(lambda: device.jobs("running"))
        yield endpoint


def _refused(sample, seed):
    try:
        sample(PAIR, LONG, seed=seed)
    except QueueFullError as error:
        return str(error)


# No attempt is made with less than `base_s` left, and none waits longer than half of what is left:
# the last one has a second to be answered, on a machine where that takes long.
RETRYING: ConnectionKeywords = {"timeout_s": 6.0, "retries": Retries(base_s=2.0)}


def test_a_full_queue_is_an_error_at_the_deadline_as_it_is_for_threads(serving):
    async def main(endpoint):
        async with open_device_async(endpoint, **RETRYING) as device:
            jobs = (device.sample(PAIR, LONG, seed=seed) for seed in range(30))
            return await asyncio.gather(*jobs, return_exceptions=True)

    with _full(serving) as endpoint:
        with open_device(endpoint, **RETRYING) as device, ThreadPoolExecutor(30) as threads:
            expected = list(threads.map(partial(_refused, device.sample), range(30)))
        assert None not in expected
        began = time.monotonic()
        errors = asyncio.run(asyncio.wait_for(main(endpoint), 60.0))
        assert 2.0 < time.monotonic() - began < 40.0
    assert [type(error) for error in errors] == 30 * [QueueFullError]
    assert [str(error) for error in errors] == expected


async def _retrying(device):
    """Return tasks that have found the queue full and try again, for ten minutes."""
    before = (await device.metrics()).value("requests_total", type="sample")
    tasks = [asyncio.create_task(device.sample(PAIR, LONG, seed=seed)) for seed in range(60)]
    while (await device.metrics()).value("requests_total", type="sample") < before + 120:
        await asyncio.sleep(0.01)
    return tasks


def test_calls_that_try_a_full_queue_again_end_when_they_are_cancelled(serving):
    async def main(endpoint):
        async with open_device_async(endpoint, timeout_s=600.0) as device:
            tasks = await _retrying(device)
            began = time.monotonic()
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            _wait_for(lambda: all(e.is_set() for e in device._calls._cancelled))
        return time.monotonic() - began

    with _full(serving) as endpoint:
        assert asyncio.run(asyncio.wait_for(main(endpoint), 60.0)) < 20.0
        assert _threads() == []


def test_a_session_closes_soon_while_calls_try_a_full_queue_again(serving):
    async def main(endpoint):
        async with open_device_async(endpoint, timeout_s=600.0) as device:
            tasks = await _retrying(device)
            began = time.monotonic()
        took_s = time.monotonic() - began
        return took_s, await asyncio.gather(*tasks, return_exceptions=True)

    with _full(serving) as endpoint:
        took_s, errors = asyncio.run(asyncio.wait_for(main(endpoint), 60.0))
        assert took_s < 20.0
        assert _threads() == []
    assert [type(error) for error in errors] == 60 * [ClosedError]


def test_close_waits_only_so_long_for_a_cancelled_call(serving, monkeypatch):
    monkeypatch.setattr(async_session, "CANCEL_S", 0.2)
    monkeypatch.setattr(async_session, "END_S", 0.2)
    never = threading.Event()

    async def main(endpoint):
        device = await open_device_async(endpoint).open()
        call = asyncio.create_task(device._calls.run(never.wait))
        await asyncio.sleep(0.1)
        call.cancel()
        await asyncio.wait([call])
        assert not device._calls._cancelled[0].is_set()
        await device.close()

    with serving(Patient()) as endpoint:
        asyncio.run(asyncio.wait_for(main(endpoint), 60.0))
    never.set()
    _wait_for(lambda: not _threads())
