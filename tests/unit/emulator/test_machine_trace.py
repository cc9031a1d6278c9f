"""A run watched is the same run, whatever the dynamics and however runs are grouped."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace

import numpy as np
import pytest

from cim_hal import (
    Capabilities,
    IsingModel,
    Program,
    PumpSchedule,
    Readout,
    StopToken,
    TraceRequest,
    lower,
)
from emulator import (
    BestSeen,
    ChaoticAmplitudeControl,
    EmulatedCim,
    MeanField,
    MeasurementFeedback,
    SimulatedBifurcation,
    TraceFile,
    TruncatedWigner,
)

DYNAMICS = [
    pytest.param(MeasurementFeedback(), id="feedback"),
    pytest.param(MeanField(noise=0.01), id="mean-field"),
    pytest.param(TruncatedWigner(coupling_loss=1.0), id="wigner"),
    pytest.param(ChaoticAmplitudeControl(), id="amplitude-control"),
    pytest.param(BestSeen(dynamics=SimulatedBifurcation(), every=7), id="best-seen"),
]
SCHEDULE = PumpSchedule.linear(0.0, 1.2, round_trips=50)


def machine(dynamics, *, max_spins: int = 100, **options) -> EmulatedCim:
    capabilities = Capabilities(
        name="test",
        max_spins=max_spins,
        coupling_bits=None if dynamics.has_field else 8,
        has_field=dynamics.has_field,
    )
    return EmulatedCim(dynamics, capabilities=capabilities, **options)


def run(driver: EmulatedCim, *, n_runs: int = 70, trace: TraceRequest | None = None) -> Readout:
    upper = np.triu(np.random.default_rng(0).normal(size=(15, 15)), 1)
    lowering = lower(IsingModel.from_couplings(upper + upper.T), driver.describe())
    program = Program(lowering, SCHEDULE, n_runs, 3, trace=trace)
    readout = driver.run(program, StopToken())
    readout.check(program)
    return readout


@pytest.mark.parametrize("dynamics", DYNAMICS)
def test_a_trace_changes_no_bit_of_the_readout(dynamics):
    driver = machine(dynamics)
    assert driver.describe().reports_trace
    plain, traced = run(driver), run(driver, trace=TraceRequest(every=3, runs=9))
    assert plain.trace is None
    np.testing.assert_array_equal(plain.values, traced.values)
    # the first run in a process may compile its kernels
    assert {**plain.notes, "compile_s": 0} == {**traced.notes, "compile_s": 0}


@pytest.mark.parametrize("dynamics", DYNAMICS)
def test_a_trace_depends_neither_on_threads_nor_on_its_own_size(dynamics):
    fine = run(machine(dynamics), n_runs=130, trace=TraceRequest(every=5, runs=100)).trace
    assert fine.amplitudes.shape == (10, 100, 15)
    for threads, n_runs, every, runs in ((2, 100, 5, 100), (3, 70, 10, 68), (1, 1, 25, 100)):
        driver = machine(dynamics, threads=threads)
        some = run(driver, n_runs=n_runs, trace=TraceRequest(every=every, runs=runs)).trace
        at = np.searchsorted(fine.round_trips, some.round_trips)
        np.testing.assert_array_equal(fine.round_trips[at], some.round_trips)
        np.testing.assert_array_equal(fine.amplitudes[at, : min(runs, n_runs)], some.amplitudes)
        np.testing.assert_array_equal(fine.pump[at], some.pump)


@pytest.mark.parametrize("dynamics", DYNAMICS[:4])
def test_the_last_frame_is_the_readout(dynamics):
    readout = run(machine(dynamics), trace=TraceRequest(every=20, runs=66))
    assert readout.trace.round_trips.tolist() == [20, 40, 50]
    np.testing.assert_array_equal(readout.trace.amplitudes[-1], readout.values[:66])


def test_frames_are_the_readouts_of_shorter_runs_at_constant_pump():
    driver = machine(MeanField(noise=0.01))
    lowering = lower(IsingModel.from_couplings([[0, 1], [1, 0]]), driver.describe())
    schedule = PumpSchedule.constant(1.1, round_trips=40)
    program = Program(lowering, schedule, 4, 3, trace=TraceRequest(every=10, runs=4))
    frames = driver.run(program, StopToken()).trace
    for round_trips, frame in zip(frames.round_trips, frames.amplitudes, strict=True):
        shorter = replace(program, schedule=schedule.stretched(int(round_trips)), trace=None)
        np.testing.assert_array_equal(driver.run(shorter, StopToken()).values, frame)


def test_a_machine_that_remembers_its_best_is_traced_as_it_moves():
    inner = SimulatedBifurcation()
    trace = TraceRequest(every=10, runs=20)
    remembering = run(machine(BestSeen(dynamics=inner, every=7)), trace=trace)
    plain = run(machine(inner), trace=trace)
    np.testing.assert_array_equal(remembering.trace.amplitudes, plain.trace.amplitudes)
    assert (remembering.values != plain.values).any()


@pytest.mark.parametrize("dynamics", DYNAMICS)
def test_a_trace_on_disk_is_the_trace_in_memory_and_changes_no_bit(dynamics, tmp_path):
    request = TraceRequest(every=8, runs=66)  # of two blocks
    kept = run(machine(dynamics), trace=request)
    path = tmp_path / "run.npy"
    for threads in (1, 2):
        driver = machine(dynamics, threads=threads, trace_file=TraceFile(path, request))
        readout = run(driver)
        assert readout.trace is None
        np.testing.assert_array_equal(readout.values, kept.values)
        written = np.load(path, mmap_mode="r")
        assert written.dtype == np.float32
        np.testing.assert_array_equal(written, kept.trace.amplitudes)


def test_a_trace_on_disk_may_be_asked_for_beside_one_in_memory(tmp_path):
    path = tmp_path / "run.npy"
    on_disk = TraceFile(path, TraceRequest(every=1, runs=5))
    driver = machine(MeanField(noise=0.01), trace_file=on_disk)
    readout = run(driver, trace=TraceRequest(every=20, runs=2))
    written = np.load(path)
    assert written.shape == (50, 5, 15)
    np.testing.assert_array_equal(readout.trace.amplitudes, written[[19, 39, 49], :2])


def test_a_trace_on_disk_is_not_kept_in_memory(tmp_path):
    # 77 MB written, a frame of 0.2 MB at a time
    model = IsingModel.from_couplings(np.diag(np.ones(799), 1) + np.diag(np.ones(799), -1))
    on_disk = TraceFile(tmp_path / "run.npy", TraceRequest(every=1, runs=64))
    driver = machine(MeanField(), trace_file=on_disk, max_spins=800)
    schedule = PumpSchedule.linear(0.0, 1.2, round_trips=375)
    program = Program(lower(model, driver.describe()), schedule, 64, 1)
    driver.run(Program(lower(model, driver.describe()), SCHEDULE, 64, 1), StopToken())
    tracemalloc.start()
    driver.run(program, StopToken())
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert on_disk.path.stat().st_size > 375 * 64 * 800 * 4
    assert peak < 20 * 2**20  # J of 800 spins in float64 and float32
