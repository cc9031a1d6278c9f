"""One connection that many waiting calls share."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from cim_machines import Annealer, Patient

from cim_hal import (
    IsingModel,
    PumpSchedule,
    Retries,
    TransportError,
    open_device,
    open_device_async,
)
from cim_hal.protocol.wire.limits import Limits
from cim_hal.testing import MessageFaults, MessageProxy, ResetEvery, TcpProxy

PAIR = IsingModel.from_couplings([[0, 1], [1, 0]])
LONG = PumpSchedule.constant(1.0, round_trips=60_000)


def _glass(n_spins, seed=0):
    upper = np.triu(np.random.default_rng(seed).normal(size=(n_spins, n_spins)), 1)
    return IsingModel.from_couplings(upper + upper.T)


async def _sample_all(device, models, seeds):
    jobs = [device.sample(model, n_runs=3, seed=seed) for model in models for seed in seeds]
    return [samples.amplitudes for samples in await asyncio.gather(*jobs)]


def _expected(models, seeds):
    with open_device(Annealer()) as device:
        return [device.sample(m, n_runs=3, seed=s).amplitudes for m in models for s in seeds]


@pytest.mark.parametrize("where", ["here", "there"])
def test_many_jobs_at_once_on_one_connection_give_what_one_after_another_gives(serving, where):
    models, seeds = [_glass(8, 1), _glass(30, 2)], range(20)

    async def main(target):
        async with open_device_async(target) as device:
            return await _sample_all(device, models, seeds)

    if where == "here":
        found = asyncio.run(main(Annealer()))
    else:
        with serving(Annealer()) as endpoint:
            found = asyncio.run(main(endpoint))
    np.testing.assert_equal(found, _expected(models, seeds))


def test_trouble_on_the_line_is_survived_by_all_who_share_it(serving):
    rare = MessageFaults(drop=0.02, duplicate=0.05, reorder=0.05)
    models, seeds = [_glass(8, 1), _glass(40, 2)], range(30)

    async def main(endpoint):
        async with open_device_async(
            endpoint, timeout_s=60.0, retries=Retries(retry_after_s=0.3)
        ) as device:
            return await _sample_all(device, models, seeds)

    with (
        serving(Annealer(), limits=Limits(chunk_bytes=2000)) as endpoint,
        MessageProxy(endpoint, to_server=rare, to_client=rare, seed=3) as messages,
        TcpProxy(messages.endpoint, upstream=[ResetEvery(segments=30)]) as proxy,
    ):
        found = asyncio.run(main(proxy.endpoint))
    np.testing.assert_equal(found, _expected(models, seeds))
    assert proxy.counts["resets"] >= 2
    assert messages.counts["dropped"] >= 2


def test_closing_wakes_those_who_wait(serving):
    async def main(endpoint):
        device = await open_device_async(endpoint).open()
        job = await device.submit(PAIR, LONG)
        waiting = asyncio.create_task(job.result())
        await asyncio.sleep(0.1)
        await device.close()
        with pytest.raises(TransportError):
            await asyncio.wait_for(waiting, 30.0)

    with serving(Patient()) as endpoint:
        asyncio.run(main(endpoint))
