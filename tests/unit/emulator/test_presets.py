"""The machines users find by name: honest about themselves, and good at known instances."""

from __future__ import annotations

import json

import numpy as np
import pytest

from cim_hal import IsingModel, make_driver, read_model

NAMES = ["emulator", "emulator-550", "emulator-mean-field"]


@pytest.mark.parametrize("name", NAMES)
def test_an_entry_point_gives_the_machine_of_that_name(name):
    capabilities = make_driver(name).describe()
    assert capabilities.name == name
    assert capabilities.reproducible
    assert capabilities.reports_amplitudes
    assert capabilities == make_driver(name).describe()


@pytest.mark.parametrize("name", NAMES)
def test_the_listed_ground_states_of_20_spins_are_found_in_every_job(name, shared_dir, energies_of):
    with np.load(shared_dir / "instances/sk/SK1_N20.npz") as archive:
        weights, listed = archive["W"], archive["listed_ground_energies"]
    driver = make_driver(name)
    for W, energy in zip(weights, listed, strict=True):
        model = IsingModel.from_maxcut(W.astype(np.float64))
        assert energies_of(driver, model, n_runs=32, round_trips=1000).min() == energy


@pytest.mark.parametrize("name", NAMES)
def test_all_small_cubic_graphs_are_cut_at_their_maximum(name, shared_dir, energies_of):
    graphs = json.loads((shared_dir / "instances/small/cubic_and_moebius.json").read_text())
    driver = make_driver(name)
    for graph in graphs.values():
        W = np.zeros((graph["n"], graph["n"]))
        W[tuple(np.transpose(graph["edges"]))] = 1
        energies = energies_of(driver, IsingModel.from_maxcut(W + W.T), n_runs=32, round_trips=300)
        assert W.sum() - 2 * graph["max_cut"] == energies.min()


def equalities(n_bits: int, n_rows: int, n_slack: int, seed: int) -> IsingModel:
    """Squares of linear equalities with slack bits that a planted point satisfies: minimum 0."""
    rng = np.random.default_rng(seed)
    a = rng.choice([-1, 0, 1], (n_rows, n_bits), p=[0.25, 0.5, 0.25])
    slack = -np.kron(np.eye(n_rows), 2.0 ** np.arange(n_slack))
    A = np.hstack([a, slack])
    b = a @ rng.integers(0, 2, n_bits) - rng.integers(0, 2**n_slack, n_rows)
    return IsingModel.from_qubo(A.T @ A - 2 * np.diag(b @ A), float(b @ b))


@pytest.mark.parametrize("name", ["emulator", "emulator-mean-field"])
def test_constraints_of_101_bits_are_all_satisfied_by_the_best_run(name, energies_of):
    model = equalities(n_bits=26, n_rows=25, n_slack=3, seed=0)
    assert energies_of(make_driver(name), model).min() == pytest.approx(0, abs=1e-6)


@pytest.mark.slow
def test_64_runs_on_g22_cut_at_least_13250(shared_dir, energies_of):
    model = read_model(shared_dir / "instances/gset/G22.txt").model
    energies = energies_of(make_driver("emulator"), model)
    edges = -model.J.sum() / 2
    assert (edges - energies.min()) / 2 >= 13250


@pytest.mark.slow
def test_the_ground_states_of_100_spin_glasses_are_found(shared_dir, energies_of):
    with np.load(shared_dir / "instances/sk/SK1_N100.npz") as archive:
        weights, listed = archive["W"], archive["listed_ground_energies"]
    driver = make_driver("emulator")
    for W, energy in zip(weights, listed, strict=True):
        model = IsingModel.from_maxcut(W.astype(np.float64))
        assert energies_of(driver, model, n_runs=128).min() == energy
