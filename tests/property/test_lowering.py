"""The law of lowering: energies on the machine are the model's, within the stated bound."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

from cim_hal import Capabilities, CapabilityError, IsingModel, lower

finite = st.floats(-1e3, 1e3, allow_nan=False, width=32)


@st.composite
def ising_models(draw, max_spins: int = 6) -> IsingModel:
    n = draw(st.integers(1, max_spins))
    J = np.zeros((n, n))
    upper = np.triu_indices(n, 1)
    J[upper] = draw(st.lists(finite, min_size=len(upper[0]), max_size=len(upper[0])))
    h = draw(st.one_of(st.none(), st.lists(finite, min_size=n, max_size=n)))
    couplings = sp.csr_array(J + J.T) if draw(st.booleans()) else J + J.T
    return IsingModel.from_couplings(couplings, h, draw(finite))


@st.composite
def machines(draw) -> Capabilities:
    bits = draw(st.one_of(st.none(), st.integers(2, 16)))
    has_field = draw(st.booleans())
    field_bits = draw(st.one_of(st.none(), st.integers(2, 16))) if has_field else None
    return Capabilities(
        name="any", max_spins=16, coupling_bits=bits, has_field=has_field, field_bits=field_bits
    )


def dense(coupling) -> np.ndarray:
    return coupling if isinstance(coupling, np.ndarray) else coupling.toarray()


seeds = st.one_of(st.none(), st.integers(0, 2**63 - 1))


@given(ising_models(), machines(), seeds)
def test_lowering_moves_no_energy_by_more_than_the_stated_bound(model, machine, gauge_seed):
    lowering = lower(model, machine, gauge_seed=gauge_seed)
    spins = np.array(list(itertools.product((-1, 1), repeat=lowering.n_spins)), dtype=np.int8)
    levels = dense(lowering.coupling).astype(np.float64)
    pair = np.einsum("ri,ij,rj->r", spins, levels, spins)
    machine_energy = -0.5 * pair - spins @ lowering.field.astype(np.float64)
    lifted = model.energy(lowering.lift(spins))
    error = np.abs(lifted - model.offset - lowering.report.step * machine_energy)
    rounding = 1e-9 * (1 + np.abs(levels).sum() * lowering.report.step)
    assert error.max() <= lowering.report.energy_error_bound + rounding


@given(ising_models(), machines(), seeds)
def test_every_spin_vector_of_the_model_is_reachable(model, machine, gauge_seed):
    lowering = lower(model, machine, gauge_seed=gauge_seed)
    spins = np.array(list(itertools.product((-1, 1), repeat=lowering.n_spins)), dtype=np.int8)
    reached = {tuple(row) for row in lowering.lift(spins)}
    assert len(reached) == 2**model.n_spins


@given(ising_models(), machines())
def test_the_report_tells_the_truth(model, machine):
    report = (lowering := lower(model, machine)).report
    folded = bool(model.h.any()) and not machine.has_field
    assert report.field_spin is folded
    assert report.machine_spins == model.n_spins + folded == lowering.n_spins
    assert report.bits == machine.coupling_bits
    if report.bits is None:
        assert (report.max_error, report.levels_used) == (0, None)
    else:
        assert report.levels_used == len(set(dense(lowering.coupling).ravel().tolist()))
        assert np.abs(dense(lowering.coupling)).max() <= 2 ** (report.bits - 1) - 1
        assert report.max_error <= report.step / 2 * (1 + 1e-9)
        assert report.rms_error <= report.max_error * (1 + 1e-9)


@given(ising_models(), machines(), seeds)
def test_dense_and_sparse_forms_of_a_model_give_one_report(model, machine, gauge_seed):
    J = dense(model.J)
    of_dense, of_sparse = (
        lower(IsingModel.from_couplings(form, model.h), machine, gauge_seed=gauge_seed).report
        for form in (J, sp.csr_array(J))
    )
    assert of_dense == of_sparse


@given(ising_models(), machines())
def test_the_rms_error_is_over_all_entries_of_couplings_and_field(model, machine):
    report = (lowering := lower(model, machine)).report
    real = lower(model, machine.model_copy(update={"coupling_bits": None, "field_bits": None}))
    errors = real.coupling - report.step * lowering.coupling.astype(np.float64)
    singles = real.field - report.step * lowering.field
    both = np.concatenate([dense(errors).ravel(), singles])
    assert report.rms_error == pytest.approx(np.sqrt(np.mean(both**2)), rel=1e-9, abs=1e-300)


@given(ising_models())
def test_a_gauge_changes_signs_and_nothing_else(model):
    machine = Capabilities(name="any", max_spins=16, coupling_bits=8)
    plain, gauged = lower(model, machine), lower(model, machine, gauge_seed=5)
    flip = np.outer(gauged.gauge, gauged.gauge)
    assert (abs(gauged.coupling - flip * plain.coupling)).sum() == 0


def test_amplitudes_are_lifted_with_their_size():
    machine = Capabilities(name="any", max_spins=3, coupling_bits=8)
    lowering = lower(IsingModel.from_couplings([[0, 1], [1, 0]], [1, 1]), machine)
    lifted = lowering.lift(np.array([[0.5, -0.25, -2.0]], dtype=np.float32))
    assert lifted.dtype == np.float32
    assert lifted.tolist() == [[-0.5, 0.25]]


def test_the_auxiliary_spin_counts_against_the_machine():
    machine = Capabilities(name="any", max_spins=2, coupling_bits=8)
    lower(IsingModel.from_couplings([[0, 1], [1, 0]]), machine)
    with pytest.raises(CapabilityError, match=r"needs 3, the device has 2 .*auxiliary spin"):
        lower(IsingModel.from_couplings([[0, 1], [1, 0]], [1, 0]), machine)


@pytest.mark.parametrize("bits", [1, 9, 0, -3])
def test_bits_out_of_range_are_refused(bits):
    machine = Capabilities(name="any", max_spins=2, coupling_bits=8)
    with pytest.raises(CapabilityError, match=f"coupling_bits: the request needs {bits}"):
        lower(IsingModel.from_couplings([[0, 1], [1, 0]]), machine, bits=bits)


def test_fewer_bits_than_the_machine_has_can_be_asked_for():
    machine = Capabilities(name="any", max_spins=3, coupling_bits=None)
    model = IsingModel.from_couplings([[0, 1.0, 0.4], [1.0, 0, 0], [0.4, 0, 0]])
    assert lower(model, machine, bits=2).coupling.tolist() == [[0, 1, 0], [1, 0, 0], [0, 0, 0]]


@given(ising_models(), machines(), seeds, st.integers(0, 2**32 - 1))
def test_frames_are_lifted_as_their_runs_would_be(model, machine, gauge_seed, seed):
    lowering = lower(model, machine, gauge_seed=gauge_seed)
    frames = np.random.default_rng(seed).normal(size=(3, 4, lowering.n_spins)).astype(np.float32)
    lifted = lowering.lift(frames)
    assert lifted.dtype == np.float32
    for frame, expected in zip(lifted, frames, strict=True):
        np.testing.assert_array_equal(frame, lowering.lift(expected))
