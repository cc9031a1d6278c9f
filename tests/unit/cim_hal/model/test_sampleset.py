"""Sets of samples, put together and cut."""

from __future__ import annotations

import numpy as np
import pytest
from cim_machines import Adjustable, Exhaustive

from cim_hal import IsingModel, ModelError, SampleSet, Trace, TraceRequest, open_device


@pytest.fixture(scope="module")
def sets():
    rng = np.random.default_rng(0)
    J = np.triu(rng.normal(size=(9, 9)), 1)
    model = IsingModel.from_couplings(J + J.T)
    with open_device(Adjustable()) as device:
        return model, [device.sample(model, n_runs=6, seed=seed) for seed in (1, 2)]


def test_two_sets_make_one_in_the_order_of_energies(sets):
    model, (first, second) = sets
    both = first.concat(second)
    assert len(both) == 12
    assert (np.diff(both.energies) >= 0).all()
    np.testing.assert_array_equal(both.energies, model.energy(both.spins))
    np.testing.assert_array_equal(np.sign(both.amplitudes), both.spins)
    assert both.best_energy == min(first.best_energy, second.best_energy)


def test_the_record_is_that_of_the_set_with_the_lower_energy(sets):
    _, (first, second) = sets
    lower, higher = sorted(sets[1], key=lambda samples: samples.best_energy)
    assert lower.best_energy < higher.best_energy
    assert first.concat(second).record == second.concat(first).record == lower.record
    assert first.concat(first).record == first.record


def test_amplitudes_are_kept_where_both_sets_have_them(sets):
    model, (first, _) = sets
    with open_device(Exhaustive()) as device:
        bare = device.sample(model, seed=0)
    assert first.concat(bare).amplitudes is None
    assert first.concat(bare).best_energy == bare.best_energy


def test_a_slice_is_a_list_of_samples(sets):
    _, (first, _) = sets
    assert [energy for _, energy in first[1:4]] == first.energies[1:4].tolist()
    assert [energy for _, energy in first[::-2]] == first.energies[::-2].tolist()


def test_the_lowest_are_the_first(sets):
    _, (first, _) = sets
    few = first.lowest(2)
    np.testing.assert_array_equal(few.energies, first.energies[:2])
    np.testing.assert_array_equal(few.amplitudes, first.amplitudes[:2])
    assert len(first.lowest(100)) == 6


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


def test_only_sets_of_one_size_are_put_together(sets):
    _, (first, _) = sets
    with open_device(Exhaustive()) as device:
        pair = device.sample(IsingModel.from_couplings([[0, 1], [1, 0]]), seed=0)
    with pytest.raises(ModelError, match="9 and 2 spins"):
        first.concat(pair)
    with pytest.raises(ModelError, match="not a SampleSet"):
        first.concat([pair])


@pytest.mark.parametrize("energy", [None, "low", float("nan"), 1j, [1.0]])
def test_a_success_is_defined_by_one_number(sets, energy):
    with pytest.raises(ModelError, match="energy"):
        sets[1][0].success_probability(energy)


@pytest.mark.parametrize("n_runs", [0, -1, 1.5, None])
def test_a_number_of_samples_is_a_positive_integer(sets, n_runs):
    with pytest.raises(ModelError, match="n_runs"):
        sets[1][0].lowest(n_runs)


def test_runs_are_indexed_iterated_and_counted(sets):
    model, (first, _) = sets
    assert first.first.energy == first[0].energy == first.best_energy
    np.testing.assert_array_equal(first.first.spins, first.best)
    assert [sample.energy for sample in first] == first.energies.tolist()
    np.testing.assert_array_equal(np.array([sample.spins for sample in first]), first.spins)
    doubled = first.concat(first)
    different, counts = doubled.counted()
    assert counts.sum() == 12
    assert len(different) == len(np.unique(first.spins, axis=0)) == len(counts)
    assert (np.diff(different.energies) >= 0).all()
    np.testing.assert_array_equal(different.energies, model.energy(different.spins))
    with pytest.raises(IndexError):
        first[6]


def test_what_is_shown_of_models_samples_and_machines_is_short_and_harmless(sets):
    model, (first, _) = sets
    with open_device(Adjustable()) as device:
        shown = (model, first, device.capabilities)
    assert repr(model) == "IsingModel(9 spins, 36 couplings)"
    assert "6 runs of 9 spins" in repr(first)
    for each in shown:
        assert len(repr(each)) < 120
        assert each._repr_html_().startswith("<table>")
    record = first.record.model_copy(update={"device": "<script>"})
    evil = SampleSet(first.spins, first.energies, None, record)
    assert "<script>" not in evil._repr_html_()
