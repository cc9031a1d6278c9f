"""The machines users find by name: honest about themselves, and good at known instances."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

from cim_hal import (
    IsingModel,
    TargetError,
    make_driver,
    open_device,
    read_model,
    registered_drivers,
)
from emulator import Imperfections
from emulator.presets import BENCH, PRESETS

NAMES = list(PRESETS)
ALL_MACHINES = [d.name for d in registered_drivers() if d.name.startswith("emulator")]
RINGS = ["emulator-100", "emulator-2000", "emulator-100k"]
SEVERAL = ["emulator", "emulator-100", "emulator-mean-field"]  # of each kind, for the fast tests


def slow_but(several: list[str], names: list[str]) -> list[Any]:
    """Names; those that are not among several are for the slow tests."""
    return [n if n in several else pytest.param(n, marks=pytest.mark.slow) for n in names]


@pytest.mark.parametrize("name", NAMES)
def test_an_entry_point_gives_the_machine_of_that_name(name):
    capabilities = make_driver(name).describe()
    assert capabilities.name == name
    assert capabilities.reproducible
    assert capabilities.reports_amplitudes
    assert capabilities == make_driver(name).describe()
    own = PRESETS[name].machine().describe()
    assert capabilities.model_copy(update={"options": ()}) == own


@pytest.mark.parametrize("name", ALL_MACHINES)
def test_every_machine_can_be_built_with_other_bits_and_threads(name):
    driver = make_driver(name, {"coupling_bits": 3, "threads": 1})
    assert driver.describe().coupling_bits == 3
    assert {o.name: o.value for o in driver.describe().options} == {
        "coupling_bits": 3,
        "threads": 1,
    }
    with pytest.raises(TargetError, match="it must be a whole number from 2 to 16 bits"):
        make_driver(name, {"coupling_bits": 1})


@pytest.mark.parametrize("name", ["emulator", "emulator-dsb"])
def test_a_machine_of_other_bits_runs_as_one(name):
    driver = make_driver(name, {"coupling_bits": 3, "threads": 1})
    model = IsingModel.from_couplings([[0, -1, 0], [-1, 0, 0.5], [0, 0.5, 0]], [0, 0.25, 0])
    with open_device(driver) as session:
        samples = session.sample(model, n_runs=16, seed=1)
    assert samples.record.lowering.levels_used <= 7
    assert samples.best_energy == -1.75


@pytest.mark.parametrize("name", slow_but([*SEVERAL, "emulator-dsb"], ALL_MACHINES))
def test_the_listed_ground_states_of_20_spins_are_found_in_every_job(name, shared_dir, energies_of):
    with np.load(shared_dir / "instances/sk/SK1_N20.npz") as archive:
        weights, listed = archive["W"], archive["listed_ground_energies"]
    driver = make_driver(name)
    for W, energy in zip(weights, listed, strict=True):
        model = IsingModel.from_maxcut(W.astype(np.float64))
        assert energies_of(driver, model, n_runs=64, round_trips=1000).min() == energy


@pytest.mark.parametrize("name", RINGS)
def test_the_fibre_holds_the_pulses_within_three_per_cent(name):
    # published lengths are round numbers; a laboratory trims the fibre to whole pulses
    preset = PRESETS[name]
    assert preset.cavity.pulses == pytest.approx(preset.pulses, rel=0.03)
    assert preset.cavity.round_trip_s == pytest.approx(preset.round_trip_s, rel=0.03)
    assert preset.cavity.pulse_rate_hz == preset.pulse_rate_hz


def test_round_trips_take_as_long_as_in_the_machines_of_2016_and_2021():
    times = [PRESETS[name].round_trip_s for name in RINGS]
    assert times == pytest.approx([1.6e-6, 5e-6, 24.5e-6], rel=1e-3)


@pytest.mark.parametrize("name", NAMES)
def test_pulses_that_are_no_spins_are_reference_pulses(name):
    preset = PRESETS[name]
    dynamics = preset.dynamics
    if preset.cavity is None:
        assert getattr(dynamics, "imperfections", Imperfections()) == Imperfections()
    else:
        assert dynamics.imperfections.max_spins == preset.max_spins
        assert dynamics.imperfections.train_pulses == preset.pulses
        assert dynamics.loss_exponent == pytest.approx(preset.cavity.loss_exponent)


@pytest.mark.parametrize("name", NAMES)
def test_a_number_is_published_with_a_source_or_assumed(name):
    preset = PRESETS[name]
    assert bool(preset.published) == bool(preset.sources)
    assert not set(preset.published) & set(preset.assumed)
    properties = preset.machine().describe().properties
    assert properties["assumed"] == ", ".join(preset.assumed)
    assert "dynamics" in preset.assumed


def test_what_is_wrong_with_a_machine_is_among_its_properties():
    capabilities = make_driver("emulator-100").describe()
    assert capabilities.max_spins == 100
    assert capabilities.properties["pulses"] == 160
    assert capabilities.properties["imperfections.phase_drift_rad"] == BENCH.phase_drift_rad
    assert "doi:10.1126/science.aah5178" in capabilities.properties["sources"]


def test_the_noise_of_the_adc_is_half_its_step_in_the_machines_of_2016():
    for name in RINGS:
        dynamics = PRESETS[name].dynamics
        noise_codes = dynamics.electronic_noise * dynamics.constants().adc_scale
        assert noise_codes == pytest.approx(0.5)


@pytest.mark.parametrize(
    "options", [{"max_spins": 300, "pulses": 200}, {"published": ("colour of the fibre",)}]
)
def test_a_record_that_contradicts_itself_is_refused(options):
    with pytest.raises(ValueError, match="emulator-100: "):
        replace(PRESETS["emulator-100"], **options)


@pytest.mark.parametrize("name", slow_but(["emulator", "emulator-mean-field"], NAMES))
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


@pytest.mark.slow
def test_a_sparse_graph_of_100_000_spins_is_sampled_through_a_session():
    n_spins = 100_000
    ends = np.random.default_rng(0).permutation(np.repeat(np.arange(n_spins), 3)).reshape(-1, 2)
    ends = ends[ends[:, 0] != ends[:, 1]]
    W = sp.coo_array((np.ones(len(ends)), ends.T), shape=(n_spins, n_spins)).tocsr()
    model = IsingModel.from_maxcut(W + W.T)
    with open_device("emulator-100k") as session:
        schedule = session.capabilities.default_schedule.stretched(100)
        samples = session.sample(model, schedule, n_runs=8, seed=1)
    # random spins cut half of the edges, the best cuts of cubic graphs more than nine tenths
    assert samples.spins.shape == (8, n_spins)
    assert model.cut(samples.best) > 0.8 * len(ends)
