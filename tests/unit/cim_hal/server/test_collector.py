from __future__ import annotations

import numpy as np
import pytest

from cim_hal import Capabilities, IsingModel, Program, PumpSchedule, Readout, lower
from cim_hal.errors import DriverFaultError
from cim_hal.protocol.effects import Run
from cim_hal.protocol.wire.results import unpack_spins
from cim_hal.server.collector import ResultCollector

# A field that is folded onto a third spin, and a gauge: what comes out is in the caller's spins.
MODEL = IsingModel.from_couplings([[0, 1], [1, 0]], [0.0, -1.0])
CAPABILITIES = Capabilities(name="bench", max_spins=8, coupling_bits=8, reports_amplitudes=True)
VALUES = np.random.default_rng(3).standard_normal((6, 3)).astype(np.float32)


def _program() -> Program:
    schedule = PumpSchedule.constant(1.0, round_trips=1)
    return Program(lower(MODEL, CAPABILITIES, gauge_seed=4), schedule, 6, seed=1)


@pytest.fixture
def announced() -> list[ResultCollector]:
    return []


@pytest.fixture
def collector(announced) -> ResultCollector:
    return ResultCollector(Run("job", _program()), announced.append, keeps_amplitudes=True)


def test_what_was_delivered_is_the_beginning_of_the_whole_bit_for_bit(collector):
    collector.add(VALUES[:2])
    collector.add(VALUES[2:5])
    part, whole = collector.partial(), collector.complete(Readout(VALUES), 0.5)
    np.testing.assert_array_equal(part.spins, whole.spins[:5])
    np.testing.assert_array_equal(part.amplitudes, whole.amplitudes[:5])
    lifted = collector._program.lowering.lift(VALUES)
    np.testing.assert_array_equal(whole.amplitudes, lifted)
    np.testing.assert_array_equal(unpack_spins(whole.spins, 2), np.where(lifted < 0, -1, 1))
    assert (whole.n_spins, whole.device_s) == (2, 0.5)


def test_rows_do_not_change_once_they_were_looked_at(collector):
    values = VALUES.copy()
    collector.add(values[:2])
    before = collector.partial()
    kept = before.amplitudes.copy()
    values[:] = 9.0
    collector.add(values[2:4])
    np.testing.assert_array_equal(before.amplitudes, kept)
    with pytest.raises(ValueError, match="read-only"):
        before.amplitudes[0, 0] = 1.0


def test_a_delivery_is_announced_once_until_somebody_looks(collector, announced):
    collector.add(VALUES[:1])
    collector.add(VALUES[1:2])
    assert announced == [collector]
    assert len(collector.partial().spins) == 2
    collector.add(VALUES[2:3])
    assert announced == [collector, collector]


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        (VALUES[:0], "0 runs, where 5 are left"),
        (VALUES, "6 runs, where 5 are left"),
        (VALUES[:2, :2], "shape"),
        (VALUES[0], "shape"),
        (np.full((1, 3), np.nan), "not finite"),
        (np.zeros((1, 3), np.int8), "other than -1 and"),
        (np.ones((1, 3), np.int8), "some are bare spins"),
        ([[0.5, 0.5, 0.5]], "0 runs"),
        (VALUES[:1] * 1j, "real numbers"),
    ],
)
def test_runs_that_cannot_be_those_of_the_program_are_refused(collector, values, sentence):
    collector.add(VALUES[:1])
    with pytest.raises(DriverFaultError, match=sentence):
        collector.add(values)
    assert len(collector.partial().spins) == 1


def test_a_readout_that_begins_otherwise_is_refused(collector):
    collector.add(VALUES[:2])
    other = VALUES.copy()
    other[1, 1] *= 1.5  # the same sign
    with pytest.raises(DriverFaultError, match="does not begin with the runs"):
        collector.complete(Readout(other), 0.5)
    with pytest.raises(DriverFaultError, match="does not begin with the runs"):
        collector.complete(Readout(np.where(VALUES < 0, -1, 1).astype(np.int8)), 0.5)


def test_amplitudes_of_a_machine_that_reports_none_are_left_out():
    collector = ResultCollector(Run("job", _program()), lambda _: None, keeps_amplitudes=False)
    collector.add(VALUES[:2])
    assert collector.partial().amplitudes is None
    other = VALUES.copy()
    other[1, 1] *= 1.5
    assert collector.complete(Readout(other), 0.5).amplitudes is None


def test_what_was_put_away_is_what_is_seen_from_then_on(collector):
    collector.add(VALUES[:2])
    kept = []

    def keep(job, measured):
        kept.append((job, len(measured.spins)))
        return measured

    collector.keep_partial(keep)
    assert kept == [("job", 2)]
    assert collector.partial() is collector.partial()


@pytest.mark.parametrize(
    ("noted", "device_s"), [(0.4, 0.6), (5.0, 0.0), (-1.0, 1.0), ("long", 1.0)]
)
def test_time_of_compiling_is_not_that_of_the_machine(collector, noted, device_s):
    whole = collector.complete(Readout(VALUES, notes={"compile_s": noted}), 1.0)
    assert whole.device_s == pytest.approx(device_s)
    assert whole.notes["compile_s"] == noted
