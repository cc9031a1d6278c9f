from __future__ import annotations

import asyncio

import pytest
from cim_machines import Patient

from cim_hal import AsyncDevicePool, IsingModel, PumpSchedule, Telemetry
from cim_hal.client import async_pool
from cim_hal.client.routing import unavailability
from cim_hal.machine.telemetry import DriverState
from cim_hal.protocol.wire.messages import DeviceStatus, StatusReport
from cim_hal.protocol.wire.messages.status import LockSummary, StopSummary, Throughput

PAIR = IsingModel.from_couplings([[0, 1], [1, 0]])
SHORT = PumpSchedule.constant(1.0, round_trips=200)
LOCK = LockSummary(holder="bob", epoch=7)


def _report(**changes) -> StatusReport:
    facts = {"device": "bench", "software": "cim-hal", "instance": "0" * 32, "uptime_s": 1.0}
    rest = {"state": "idle", "queued": 0, "n_sessions": 1, "throughput": Throughput(bucket_s=10.0)}
    return StatusReport(**facts, **rest, **changes)


def _machine(**interlocks: bool) -> DeviceStatus:
    telemetry = Telemetry(interlocks=interlocks)
    return DeviceStatus(driver=DriverState(), telemetry=telemetry, number=1, age_s=0.0)


@pytest.mark.parametrize(
    ("report", "epoch", "why"),
    [
        (_report(), 0, ""),
        (_report(lock=LOCK), 0, "bob locked it"),
        (_report(lock=LOCK), 6, "bob locked it"),
        (_report(lock=LOCK), 7, ""),
        (_report(stop=StopSummary(by="olga"), lock=LOCK), 7, "olga stopped it"),
        (_report(machine=_machine(lid=False, laser=True)), 0, "lid: open"),
        (_report(machine=_machine(lid=True)), 0, ""),
    ],
)
def test_a_machine_is_kept_from_those_who_may_not_use_it(report, epoch, why):
    assert unavailability(report, epoch) == why


def test_an_exception_while_jobs_are_dealt_out_is_the_outcome_of_all_that_wait(monkeypatch):
    def fail(*_):
        raise RuntimeError("no pair")

    async def main():
        async with AsyncDevicePool([Patient()], jobs_per_machine=2) as pool:
            jobs = [pool.submit(PAIR, SHORT, seed=seed) for seed in range(5)]
            while pool._machines[0].load.in_flight < 2 or len(pending(pool)) < 3:
                await asyncio.sleep(0.001)
            with monkeypatch.context() as patched:
                patched.setattr(async_pool, "next_pair", fail)  # from the end of the first job on
                outcomes = await asyncio.gather(*jobs, return_exceptions=True)
                assert not pending(pool)
            return outcomes, (await pool.sample(PAIR, SHORT, seed=0)).best_energy

    def pending(pool):
        return pool._waiting

    outcomes, energy = asyncio.run(asyncio.wait_for(main(), 60.0))
    assert [str(outcome) for outcome in outcomes[2:]] == ["no pair"] * 3
    assert [samples.best_energy for samples in outcomes[:2]] == [-1.0, -1.0]
    assert energy == -1.0


def test_a_machine_that_cannot_be_checked_is_lost_and_its_jobs_go_elsewhere(monkeypatch, caplog):
    async def fail():
        raise ValueError("no status of this kind")

    async def main():
        async with AsyncDevicePool([Patient(), Patient()]) as pool:
            machine = pool._machines[1]
            jobs = [pool.submit(PAIR, SHORT, seed=seed) for seed in range(6)]
            while not machine.attempts:
                await asyncio.sleep(0.001)
            monkeypatch.setattr(machine.session, "status", fail)
            samples = await asyncio.gather(*jobs)
            while machine.load.is_alive:
                await asyncio.sleep(0.01)
            assert list(pool.machines.values()) == [True, False]
            assert not machine.attempts
            return samples, machine.error

    monkeypatch.setattr(async_pool, "POLL_S", 0.05)
    samples, error = asyncio.run(asyncio.wait_for(main(), 60.0))
    assert [found.best_energy for found in samples] == [-1.0] * 6
    assert "no status of this kind" in str(error)
    assert "cannot be checked" in caplog.text
