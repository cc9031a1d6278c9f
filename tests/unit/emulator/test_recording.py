from __future__ import annotations

import numpy as np
import pytest

from cim_hal import (
    Capabilities,
    IsingModel,
    JobCancelledError,
    Program,
    PumpSchedule,
    StopToken,
    lower,
    open_device,
)
from emulator import EmulatedCim, MeasurementFeedback, SimCim

upper = np.triu(np.random.default_rng(2).choice([-1, 1], (20, 20)), 1)
GLASS = IsingModel.from_couplings(upper + upper.T)
CAPABILITIES = Capabilities(
    name="test", max_spins=100, coupling_bits=8, reports_amplitudes=True, default_pump=(0.0, 1.2)
)


def _machine(threads: int) -> EmulatedCim:
    return EmulatedCim(MeasurementFeedback(), capabilities=CAPABILITIES, threads=threads)


def _program(n_runs: int) -> Program:
    schedule = PumpSchedule.linear(0.0, 1.2, round_trips=30)
    return Program(lower(GLASS, CAPABILITIES), schedule, n_runs, seed=1)


@pytest.fixture
def _eager(monkeypatch):
    monkeypatch.setattr("emulator.recording.DELIVER_S", 0.0)


@pytest.mark.usefixtures("_eager")
@pytest.mark.parametrize("threads", [1, 2])
def test_runs_of_finished_blocks_are_delivered_in_order_and_the_readout_begins_with_them(threads):
    parts = []
    readout = _machine(threads).run(_program(300), StopToken(take=parts.append))
    found = np.concatenate(parts)
    assert len(parts) >= 2
    assert 64 <= len(found) < 300
    np.testing.assert_array_equal(found, readout.values[: len(found)])


@pytest.mark.usefixtures("_eager")
def test_deliveries_change_no_bit_of_a_result():
    with open_device(_machine(1)) as device:
        job = device.submit(GLASS, n_runs=300, seed=4)
        batches = list(job.batches())
        result = job.result()
    joined = batches[0]
    for batch in batches[1:]:
        joined = joined.concat(batch)
    np.testing.assert_array_equal(joined.amplitudes, result.amplitudes)
    np.testing.assert_array_equal(joined.energies, result.energies)


def test_a_short_job_delivers_nothing():
    parts = []
    _machine(1).run(_program(100), StopToken(take=parts.append))
    assert parts == []


@pytest.mark.usefixtures("_eager")
def test_what_was_finished_when_a_job_was_cancelled_was_delivered():
    parts = []

    def take(values):
        parts.append(values)
        stop.set()

    stop = StopToken(take=take)
    with pytest.raises(JobCancelledError):
        _machine(1).run(_program(300), stop)
    whole = _machine(1).run(_program(300), StopToken())
    np.testing.assert_array_equal(np.concatenate(parts), whole.values[: sum(map(len, parts))])


@pytest.mark.usefixtures("_eager")
def test_a_machine_without_noise_that_stays_at_zero_says_that_it_is_meant():
    machine = EmulatedCim(SimCim(noise=0.0), capabilities=CAPABILITIES, threads=1)
    parts = []
    readout = machine.run(_program(300), StopToken(take=parts.append))
    assert not readout.values.any()
    assert parts == []
    readout.check(_program(300))
    with open_device(machine) as device:
        assert device.sample(GLASS, n_runs=4).record.notes["zero_amplitudes"] is True
