"""Sessions of an event loop, with real sockets and in this process."""

from __future__ import annotations

import asyncio
import gc
import time

import numpy as np
import pytest
from cim_machines import Annealer, Faulty, Patient

from cim_hal import (
    IsingModel,
    JobTimeoutError,
    LoopbackTransport,
    PumpSchedule,
    TargetError,
    TransportError,
    open_device_async,
)
from cim_hal.errors import ClosedError, DriverFaultError, LocalProtocolError
from cim_hal.protocol.jobs.state import JobState
from cim_hal.testing import TcpProxy

PAIR = IsingModel.from_couplings([[0, 1], [1, 0]])
LONG = PumpSchedule.constant(1.0, round_trips=60_000)
SHORT = PumpSchedule.constant(1.0, round_trips=1)
TICK_S = 0.7  # of a call past its deadline, on a busy machine


def _glass(n_spins, seed=0):
    upper = np.triu(np.random.default_rng(seed).normal(size=(n_spins, n_spins)), 1)
    return IsingModel.from_couplings(upper + upper.T)


# ---- the same as the other session ----------------------------------------------------------


def test_errors_are_those_of_the_other_session(serving):
    async def main(endpoint):
        async with open_device_async(endpoint) as device:
            with pytest.raises(DriverFaultError, match="the laser is off"):
                await device.sample(PAIR, seed=0)
            assert len(await device.sample(PAIR, seed=99)) == 1
            assert (await device.describe()).busy is False
            assert (await device.status()).queued == 0
            assert (await device.metrics()).value("jobs_total", end="failed") == 1
            await device.ping()

    with serving(Faulty()) as endpoint:
        asyncio.run(main(endpoint))


def test_a_session_that_is_not_open_or_closed_says_so(serving):
    async def main(endpoint):
        device = open_device_async(endpoint)
        with pytest.raises(LocalProtocolError, match="not open yet"):
            device.capabilities.name  # noqa: B018
        await device.open()
        assert device.capabilities.name == "annealer"
        await device.close()
        await device.close()
        with pytest.raises(ClosedError):
            await device.describe()
        return device

    with serving(Annealer()) as endpoint:
        device = asyncio.run(main(endpoint))

        async def again():
            await device.describe()

        with pytest.raises(LocalProtocolError, match="another event loop"):
            asyncio.run(again())


def test_a_transport_that_blocks_is_refused():
    async def main():
        async with open_device_async(LoopbackTransport(Annealer())):
            pass

    with pytest.raises(TargetError, match="event loop"):
        asyncio.run(main())


# ---- cancellation ---------------------------------------------------------------------------


def test_a_task_that_is_cancelled_leaves_the_session_and_the_others_alone(serving):
    """Cancelled in each of the first ticks, so also in that in which its reply comes."""

    async def main(endpoint):
        async with open_device_async(endpoint) as device:
            await device.sample(PAIR, seed=0)
            for n_ticks in range(60):
                doomed = asyncio.create_task(device.describe())
                bystander = asyncio.create_task(device.sample(PAIR, n_runs=2, seed=n_ticks))
                for _ in range(n_ticks):
                    await asyncio.sleep(0.0001)
                doomed.cancel()
                await asyncio.wait([doomed])
                assert len(await asyncio.wait_for(bystander, 30.0)) == 2

    with serving(Annealer()) as endpoint:
        asyncio.run(main(endpoint))


def test_who_stops_waiting_for_a_job_does_not_cancel_it(serving):
    async def main(endpoint):
        async with open_device_async(endpoint) as device:
            job = await device.submit(PAIR, PumpSchedule.constant(1.0, round_trips=2000))
            waiting = asyncio.create_task(job.result())
            await asyncio.sleep(0.1)
            waiting.cancel()
            await asyncio.wait([waiting])
            assert await job.state() is JobState.RUNNING
            assert len(await job.result()) == 1

    with serving(Patient()) as endpoint:
        asyncio.run(main(endpoint))


@pytest.mark.parametrize("after_s", [0.0, 0.001, 0.01, 0.2])
def test_a_sample_that_is_cancelled_frees_the_machine(serving, after_s):
    async def main(endpoint):
        async with open_device_async(endpoint) as device:
            await device.load(PAIR)
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(device.sample(PAIR, LONG), after_s)
            began = time.monotonic()
            assert len(await device.sample(PAIR, SHORT)) == 1
            assert time.monotonic() - began < 5.0

    with serving(Patient()) as endpoint:
        asyncio.run(main(endpoint))


# ---- deadlines ------------------------------------------------------------------------------


def test_no_call_outlasts_its_deadline_while_nothing_goes_through(serving):
    async def main(proxy):
        async with open_device_async(proxy.endpoint, timeout_s=30.0) as device:
            job = await device.submit(PAIR, LONG)
            with proxy.hold():
                calls = [
                    device.describe(timeout_s=0.4),
                    device.load(_glass(8), timeout_s=0.4),
                    device.submit(PAIR, timeout_s=0.4),
                    device.sample(PAIR, timeout_s=0.4),
                    device.cancel(job.id, timeout_s=0.4),
                    job.result(timeout_s=0.4),
                ]
                began = time.monotonic()
                errors = await asyncio.gather(*calls, return_exceptions=True)
                took_s = time.monotonic() - began
            assert all(isinstance(e, TransportError | JobTimeoutError) for e in errors), errors
            assert 0.2 <= took_s <= 0.4 + TICK_S
            await job.cancel()

    with serving(Patient()) as endpoint, TcpProxy(endpoint) as proxy:
        asyncio.run(main(proxy))


# ---- the end --------------------------------------------------------------------------------


@pytest.mark.usefixtures("collectable")
def test_a_session_that_is_forgotten_lets_go_of_its_server(serving):
    async def forget(endpoint):
        device = await open_device_async(endpoint).open()
        await device.ping()

    async def forget_and_go_on(endpoint):
        await forget(endpoint)
        gc.collect()
        await asyncio.sleep(0.05)
        async with open_device_async(endpoint) as device:
            await device.ping()

    with serving(Annealer()) as endpoint:
        asyncio.run(forget(endpoint))
        gc.collect()
        asyncio.run(forget_and_go_on(endpoint))
