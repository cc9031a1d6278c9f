"""An emulated machine reports what it did."""

from __future__ import annotations

import pytest

from cim_hal import IsingModel, JobCancelledError, PumpSchedule, make_driver, open_device

PAIR = IsingModel.from_couplings([[0, 1], [1, 0]])


def test_jobs_that_come_to_their_end_are_counted_and_timed():
    machine = make_driver("emulator")
    assert [reading.value for reading in machine.status().readings] == [0, 0, 0.0]
    with open_device(machine) as device:
        samples = [device.sample(PAIR, n_runs=4) for _ in range(2)]
        long = PumpSchedule.linear(0.0, 1.5, round_trips=100_000)
        job = device.submit(PAIR, long, n_runs=1000)
        job.cancel()
        with pytest.raises(JobCancelledError):
            job.result(timeout_s=30.0)
        told = machine.status()
    assert (told["jobs"].value, told["runs"].value) == (2, 8)
    device_s = [found.record.device_s for found in samples]
    assert 0 < told["busy"].value <= sum(device_s)
    round_trips = 4 * samples[-1].record.round_trips
    assert told["round_trip_rate"].value >= round_trips / device_s[-1]
