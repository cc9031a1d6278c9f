"""The continuous machine behind its name: reproducible, with a field, and good at small models."""

from __future__ import annotations

import json

import numpy as np
import pytest

from cim_hal import IsingModel, make_driver

NAME = "emulator-gaussian"


def glass(n: int, *, field: bool = False) -> IsingModel:
    rng = np.random.default_rng(n)
    upper = np.triu(rng.normal(size=(n, n)), 1)
    return IsingModel.from_couplings(upper + upper.T, rng.normal(size=n) if field else None)


def equalities(n_bits: int, n_rows: int, n_slack: int) -> IsingModel:
    """Squares of linear equalities with slack bits that a planted point satisfies: minimum 0."""
    rng = np.random.default_rng(0)
    a = rng.choice([-1, 0, 1], (n_rows, n_bits), p=[0.25, 0.5, 0.25])
    A = np.hstack([a, -np.kron(np.eye(n_rows), 2.0 ** np.arange(n_slack))])
    b = a @ rng.integers(0, 2, n_bits) - rng.integers(0, 2**n_slack, n_rows)
    return IsingModel.from_qubo(A.T @ A - 2 * np.diag(b @ A), float(b @ b))


def test_the_entry_point_gives_the_machine_of_that_name():
    capabilities = make_driver(NAME).describe()
    assert capabilities.name == NAME
    assert capabilities.has_field
    assert capabilities.reproducible
    assert capabilities == make_driver(NAME).describe()


def test_the_listed_ground_states_of_20_spins_are_found_in_every_job(shared_dir, energies_of):
    with np.load(shared_dir / "instances/sk/SK1_N20.npz") as archive:
        weights, listed = archive["W"], archive["listed_ground_energies"]
    driver = make_driver(NAME)
    for W, energy in zip(weights, listed, strict=True):
        model = IsingModel.from_maxcut(W.astype(np.float64))
        assert energies_of(driver, model, n_runs=32, round_trips=1000).min() == energy


@pytest.mark.slow
def test_all_small_cubic_graphs_are_cut_at_their_maximum(shared_dir, energies_of):
    graphs = json.loads((shared_dir / "instances/small/cubic_and_moebius.json").read_text())
    driver = make_driver(NAME)
    for graph in graphs.values():
        W = np.zeros((graph["n"], graph["n"]))
        W[tuple(np.transpose(graph["edges"]))] = 1
        energies = energies_of(driver, IsingModel.from_maxcut(W + W.T), n_runs=32, round_trips=300)
        assert W.sum() - 2 * graph["max_cut"] == energies.min()


def test_constraints_of_101_bits_with_a_field_are_all_satisfied(energies_of):
    model = equalities(n_bits=26, n_rows=25, n_slack=3)
    assert np.any(model.h)
    assert energies_of(make_driver(NAME), model).min() == pytest.approx(0, abs=1e-6)


def test_scaling_couplings_and_field_changes_no_spin(amplitudes_of):
    model = glass(30, field=True)
    J, h = np.asarray(model.J), model.h
    one, other = (
        amplitudes_of(make_driver(NAME), IsingModel.from_couplings(c * J, c * h), round_trips=200)
        for c in (1.0, 2.0**-30)  # a power of 2: no rounding
    )
    np.testing.assert_array_equal(one, other)


@pytest.mark.slow
def test_g22_is_cut_like_by_the_default_machine(shared_dir, energies_of):
    from cim_hal import read_model

    model = read_model(shared_dir / "instances/gset/G22.txt").model
    energies = energies_of(make_driver(NAME), model)
    assert (-model.J.sum() / 2 - energies.min()) / 2 >= 13250
