"""Simulated bifurcation: conserved energy, the limit of its step, and success rates."""

from __future__ import annotations

import math

import numpy as np
import pytest

from cim_hal import IsingModel, Program, StopToken, lower, make_driver, read_model
from emulator import SimulatedBifurcation
from emulator.dynamics.base import natural_strength
from emulator.dynamics.bifurcation import longest_stable_step
from emulator.dynamics.spectrum import lowest_eigenvalue
from emulator.products.coupling import CouplingMatrix

NAMES = ["emulator-bsb", "emulator-dsb"]


def glass(n: int, seed: int = 0) -> np.ndarray:
    upper = np.triu(np.random.default_rng(seed).normal(size=(n, n)), 1)
    return upper + upper.T


def hamiltonian(x, y, J, c0: float, pump: float):
    potential = x**4 / 4 + (1 - pump) * x**2 / 2 - 0.5 * c0 * x * (J @ x)
    return (y**2 / 2 + potential).sum(axis=0)


def energy_errors(start, dt: float) -> tuple[float, float]:
    """Root-mean-square errors of all runs in the first and in the second 200 units of time."""
    J, pump = glass(10), 0.6
    machine = SimulatedBifurcation(
        variant="adiabatic", time_step=dt, stability=math.inf, precision="double"
    )
    block = start(machine, J, runs=64)
    block.x[:], block.y[:] = 3 * block.x, 3 * block.y
    c0 = 0.5 * np.sqrt(10 / (J**2).sum())
    before = hamiltonian(block.x, block.y, J, c0, pump)
    errors = []
    for _ in range(round(400 / dt)):
        block.advance(pump)
        errors.append(hamiltonian(block.x, block.y, J, c0, pump) - before)
    early, late = np.split(np.array(errors), 2)
    return float(np.sqrt(np.mean(early**2))), float(np.sqrt(np.mean(late**2)))


@pytest.mark.slow
def test_at_constant_pump_the_energy_error_is_bounded_and_of_first_order(start):
    # T25: 60 periods; the error of a method that is not symplectic grows with time
    (coarse, coarse_late), (fine, fine_late) = (energy_errors(start, dt) for dt in (0.04, 0.02))
    assert coarse_late < 1.1 * coarse
    assert fine_late < 1.1 * fine
    assert coarse / fine == pytest.approx(2, abs=0.1)


@pytest.mark.parametrize(("share", "grows"), [(0.99, False), (1.01, True)])
def test_a_step_is_stable_up_to_2_over_the_highest_frequency(start, share, grows):
    # T26: dt sqrt(1 - p + c0 |lambda_min|) < 2, here at p = 0
    J = glass(10, seed=1)
    values, modes = np.linalg.eigh(J)
    c0 = 0.5 * np.sqrt(10 / (J**2).sum())
    dt = share * longest_stable_step(c0, values[0])
    assert dt * np.sqrt(1 + c0 * abs(values[0])) == pytest.approx(2 * share)
    machine = SimulatedBifurcation(
        variant="ballistic", time_step=dt, stability=math.inf, precision="double"
    )
    block = start(machine, J)
    block.x[:, 0], block.y[:, 0] = 1e-9 * modes[:, 0], 0
    for _ in range(60):
        block.advance(0.0)
    assert (np.linalg.norm(block.x) > 1e-6) == grows


def test_the_default_step_keeps_to_its_share_of_the_limit(start):
    J = -(np.ones((60, 60)) - np.eye(60))  # lambda_min = -59
    block = start(SimulatedBifurcation(time_step=1.0, stability=0.5), J)
    c0 = 0.5 / np.sqrt(59)
    assert block.time_step == pytest.approx(1 / np.sqrt(1 + c0 * 59), rel=1e-4)
    assert start(SimulatedBifurcation(time_step=0.1), J).time_step == 0.1


@pytest.mark.parametrize("name", ["G1", "G22"])
def test_the_lowest_eigenvalue_of_benchmark_graphs_is_found(name, shared_dir):
    # -lambda_max of the graph; the Perron mode is far from the rest
    import scipy.sparse.linalg

    J = read_model(shared_dir / f"instances/gset/{name}.txt").model.J
    coupling = CouplingMatrix.of(J, np.zeros(J.shape[0]), largest_code=1, dtype=np.float32)
    exact = scipy.sparse.linalg.eigsh(J.astype(np.float64), k=1, which="SA")[0][0]
    assert lowest_eigenvalue(coupling) == pytest.approx(exact, rel=1e-4)


@pytest.mark.parametrize("n", [1, 2, 7, 40])
@pytest.mark.parametrize("largest_code", [None, 1])
def test_the_lowest_eigenvalue_of_few_spins_is_exact(n, largest_code):
    J = np.rint(5 * glass(n, seed=n))
    coupling = CouplingMatrix.of(J, np.zeros(n), largest_code=largest_code, dtype=np.float64)
    scale = natural_strength(coupling)
    exact = np.linalg.eigvalsh(J)[0] * (np.sqrt(n / (J**2).sum()) if n > 1 else 1)
    assert scale * lowest_eigenvalue(coupling) == pytest.approx(exact, rel=1e-3, abs=1e-9)


def test_walls_stop_an_oscillator(start):
    machine = SimulatedBifurcation(variant="ballistic", time_step=0.5, precision="double")
    block = start(machine, np.zeros((2, 2)))
    block.x[:, 0], block.y[:, 0] = (0.9, 0.5), (1.0, 0.1)
    block.advance(1.0)
    np.testing.assert_allclose(block.x[:, 0], [1.0, 0.55])
    np.testing.assert_allclose(block.y[:, 0], [0.0, 0.1])


def test_heating_lets_momentum_grow(start):
    machine = SimulatedBifurcation(time_step=0.5, heating=0.2)
    block = start(machine, np.zeros((1, 1)))
    block.x[:], block.y[:] = 0.0, 0.1
    block.advance(1.0)
    assert block.y[0, 0] == pytest.approx(0.1 + 0.2 * 0.5 * 0.1)


@pytest.mark.parametrize("variant", ["adiabatic", "ballistic", "discrete"])
def test_a_field_turns_uncoupled_spins(start, variant):
    h = np.array([1.0, -1.0, 0.5, -2.0])
    block = start(SimulatedBifurcation(variant=variant), np.zeros((4, 4)), h=h, runs=16)
    for pump in np.linspace(0, 1, 200):
        block.advance(pump)
    assert (np.sign(block.x) == np.sign(h)[:, None]).all()


@pytest.mark.parametrize(
    "option", [{"variant": "other"}, {"stability": 0.0}, {"variant": "adiabatic", "heating": 0.1}]
)
def test_options_out_of_range_are_named(option):
    with pytest.raises(ValueError, match=list(option)[-1]):
        SimulatedBifurcation(**option)


def energies(name: str, model: IsingModel, *, n_runs: int) -> np.ndarray:
    driver = make_driver(name)
    capabilities = driver.describe()
    program = Program(lower(model, capabilities), capabilities.default_schedule, n_runs, 1)
    return model.energy(program.lowering.lift(driver.run(program, StopToken()).spins))


@pytest.mark.parametrize("name", NAMES)
def test_the_first_100_spin_glass_is_solved_in_60_of_100_runs(name, shared_dir):
    with np.load(shared_dir / "instances/sk/SK1_N100.npz") as archive:
        W, ground = archive["W"][0], archive["listed_ground_energies"][0]
    found = energies(name, IsingModel.from_maxcut(W.astype(np.float64)), n_runs=256)
    assert np.mean(found == ground) > 0.6


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_g1_is_cut_within_a_thousandth_of_its_maximum(name, shared_dir):
    model = read_model(shared_dir / "instances/gset/G1.txt").model
    cuts = (-model.J.sum() / 2 - energies(name, model, n_runs=64)) / 2
    assert cuts.max() > 0.999 * 11624
