"""Which frames a trace has, how large it is, and its energies."""

from __future__ import annotations

import numpy as np
import pytest

from cim_hal import IsingModel, ModelError, Trace, TraceRequest


@pytest.mark.parametrize(
    ("every", "frames"),
    [(1, [1, 2, 3, 4, 5, 6, 7]), (3, [3, 6, 7]), (7, [7]), (100, [7])],
)
def test_frames_are_taken_at_equal_distances_and_after_the_last_round_trip(every, frames):
    request = TraceRequest(every)
    assert request.frames(7).tolist() == frames
    assert request.frames(7).dtype == np.int64
    assert request.n_frames(7) == len(frames)


def test_the_size_announced_is_that_of_the_amplitudes():
    request = TraceRequest(every=3, runs=5)
    assert request.n_bytes(10, 100, 7) == np.zeros((4, 5, 7), np.float32).nbytes
    assert request.n_bytes(10, 2, 7) == np.zeros((4, 2, 7), np.float32).nbytes


@pytest.mark.parametrize("wrong", [{"every": 0}, {"every": -3}, {"every": 1, "runs": 0}])
def test_a_trace_of_nothing_is_malformed(wrong):
    with pytest.raises(ModelError, match=r"trace\.(every|runs) = "):
        TraceRequest(**wrong)


def test_energies_are_those_of_the_callers_model_frame_by_frame():
    rng = np.random.default_rng(3)
    J = np.triu(rng.normal(size=(6, 6)), 1)
    model = IsingModel.from_couplings(J + J.T, rng.normal(size=6), offset=2.0)
    amplitudes = rng.normal(size=(5, 3, 6)).astype(np.float32)
    amplitudes[0, 0, 0] = 0.0  # counts as +1
    trace = Trace(np.arange(1, 6), np.linspace(0, 1, 5), amplitudes)
    assert trace.spins[0, 0, 0] == 1
    assert (len(trace), trace.n_runs) == (5, 3)
    np.testing.assert_array_equal(trace.energies(model), model.energy(trace.spins))


def test_a_model_of_another_size_is_refused():
    trace = Trace(np.array([1]), np.array([1.0]), np.ones((1, 2, 3), np.float32))
    with pytest.raises(ModelError, match="the last axis must be 2"):
        trace.energies(IsingModel.from_couplings(np.zeros((2, 2))))
