"""The peers' own calls, each behind one signature. Runs in the peers' environment.

A function takes the couplings of E(s) = -1/2 s'Js, makes `runs` runs of `steps` steps, and returns
the seconds of the loop (set-up excluded where the peer lets us) and the spins, shape (runs, n).
Energies the peers report are not used.

Seconds of one thread are those of its processor, so that other load on the computer counts less;
of several threads, those of the clock on the wall.
"""

from __future__ import annotations

import importlib
import os
import time
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = [
    "Couplings",
    "ccvm",
    "cim_optimizer",
    "clock",
    "dwave_annealing",
    "dwave_tabu",
    "mindquantum",
    "openjij_annealing",
    "simulated_bifurcation",
]

# ccvm-simulators has no defaults: these are of its read-me and its examples, for 20 variables.
CCVM_PARAMETERS: dict[str, dict[str, float]] = {
    "MF": {"pump": 0.0, "feedback_scale": 4000, "j": 5.0, "S": 20.0, "dt": 0.0025},
    "MF of the example": {"pump": 0.5, "feedback_scale": 20, "j": 20, "S": 0.2, "dt": 0.0025},
    "Langevin": {"dt": 0.005, "sigma": 0.02, "feedback_scale": 1.0},
}


@dataclass(frozen=True, eq=False)
class Couplings:
    """An instance in the forms the peers want, each made once.

    Attributes
    ----------
    J : int8 array, shape (n, n)
        Symmetric and hollow.
    """

    J: NDArray[np.int8]

    @property
    def n_spins(self) -> int:
        """Spins."""
        return len(self.J)

    @cached_property
    def doubles(self) -> NDArray[np.float64]:
        """Dense float64."""
        return self.J.astype(np.float64)

    @cached_property
    def matrix(self) -> Any:
        """CSR, float64: what mindquantum turns everything into."""
        return importlib.import_module("scipy.sparse").csr_matrix(self.doubles)

    @cached_property
    def tensor(self) -> Any:
        """Dense float32 tensor."""
        torch = importlib.import_module("torch")
        return torch.from_numpy(self.J.astype(np.float32))

    @cached_property
    def dimod_model(self) -> Any:
        """A dimod BinaryQuadraticModel, whose energy has the opposite sign of J."""
        model = importlib.import_module("dimod").BinaryQuadraticModel
        i, j = np.nonzero(np.triu(self.J))
        pairs = i, j, -self.doubles[i, j]
        return model.from_numpy_vectors(np.zeros(self.n_spins), pairs, 0.0, "SPIN")

    @cached_property
    def openjij_model(self) -> Any:
        """An OpenJij model, sparse as by default."""
        model = importlib.import_module("openjij").model.model.BinaryQuadraticModel
        names = list(range(self.n_spins))
        # both triangles would be added
        upper = -np.triu(self.doubles)
        return model.from_numpy_matrix(upper, names, 0.0, "SPIN", sparse=True)


def clock() -> float:
    """Return the time in seconds that this process is measured by."""
    return time.process_time() if os.environ["OMP_NUM_THREADS"] == "1" else time.perf_counter()


class Stopwatch:
    """Translates times that a package took on the wall to those of `clock`."""

    def __init__(self) -> None:
        self._wall_s, self._clock_s = time.perf_counter(), clock()

    def __call__(self, seconds: float) -> float:
        """Return a part of the time since this was made, other load taken off in proportion."""
        wall_s, clock_s = time.perf_counter() - self._wall_s, clock() - self._clock_s
        return seconds * min(clock_s / wall_s, 1.0)


def mindquantum(
    couplings: Couplings,
    *,
    steps: int,
    runs: int,
    seed: int,
    algorithm: str,
    mends_coupling: bool = False,
    **options: float,
) -> tuple[float, NDArray[Any]]:
    """Run an algorithm of QAIA; `mends_coupling` sets xi to what its formula was meant to say."""
    np.random.seed(seed)  # noqa: NPY002  mindquantum draws from the global state
    make = getattr(importlib.import_module("mindquantum.algorithm.qaia"), algorithm)
    solver = make(couplings.matrix, n_iter=steps, batch_size=runs, **options)
    if mends_coupling:
        # CAC, CFC, SFC square J as a matrix; meant is the sum of its squared elements
        solver.xi = np.sqrt(2 * couplings.n_spins / couplings.matrix.power(2).sum())
    start = clock()
    solver.update()
    return clock() - start, solver.x.T


def simulated_bifurcation(
    couplings: Couplings,
    *,
    steps: int,
    runs: int,
    seed: int,
    mode: str,
    time_step: float = 0.1,
) -> tuple[float, NDArray[Any]]:
    """Run bSB or dSB for a fixed number of steps, without the early stop."""
    torch = importlib.import_module("torch")
    optimizer = importlib.import_module("simulated_bifurcation.optimizer")
    torch.manual_seed(seed)
    optimizer.reset_env()
    optimizer.set_env(time_step=time_step)
    engine = optimizer.SimulatedBifurcationEngine.get_engine(mode)
    solver = optimizer.SimulatedBifurcationOptimizer(
        agents=runs,
        max_steps=steps,
        timeout=None,
        engine=engine,
        heated=False,
        verbose=False,
        sampling_period=50,
        convergence_threshold=50,
    )
    start = clock()
    spins = solver.run_integrator(couplings.tensor, early_stopping=False)
    return clock() - start, spins.numpy().T


def cim_optimizer(
    couplings: Couplings,
    *,
    steps: int,
    runs: int,
    seed: int,
    scheme: str,
    preset: str | None = None,
) -> tuple[float, NDArray[Any]]:
    """Run CAC or AHC without tuning; the time includes trajectories, which it always stores."""
    torch = importlib.import_module("torch")
    package = importlib.import_module("cim_optimizer")
    torch.manual_seed(seed)
    J = couplings.doubles
    if scheme == "AHC":
        # its length is a time, in steps of 0.05
        arguments = {"T_time": steps * 0.05 + 1e-9}
        solve = package.AHC.CIM_AHC_GPU
    else:
        arguments = {"T_time": steps, **_cac_parameters(package, preset, J)}
        solve = package.CAC.CIM_CAC_GPU
    start = clock()
    spins = solve(J=J, batch_size=runs, **arguments)[0]
    return clock() - start, spins


def _cac_parameters(package: Any, preset: str | None, J: NDArray[Any]) -> dict[str, float]:
    defaults = package.solve_Ising.Ising.solver.__dataclass_fields__
    names = ("time_step", "r", "alpha", "beta", "gamma", "delta", "mu", "rho", "tau", "noise")
    parameters = {name: defaults[f"cac_{name}"].default for name in names}
    if preset is not None:
        make = getattr(package, preset)
        tuned = make(J) if preset == "G1_params" else make()
        parameters |= {name: tuned[f"cac_{name}"] for name in names if f"cac_{name}" in tuned}
    return parameters


def ccvm(
    couplings: Couplings,
    *,
    steps: int,
    runs: int,
    seed: int,
    algorithm: str,
    parameters: str | None = None,
) -> tuple[float, NDArray[Any]]:
    """Run a solver of box-constrained quadratic programs: s = 2x - 1, Q = -4J, V = 2J1."""
    torch = importlib.import_module("torch")
    solvers = importlib.import_module("ccvm_simulators.solvers")
    boxqp = importlib.import_module("ccvm_simulators.problem_classes.boxqp")
    torch.manual_seed(seed)
    solver = getattr(solvers, f"{algorithm}Solver")(device="cpu", batch_size=runs)
    constants = CCVM_PARAMETERS[parameters or algorithm]
    solver.parameter_key = {couplings.n_spins: {**constants, "iterations": steps}}
    instance = boxqp.ProblemInstance(device="cpu", instance_type="test", name="ising")
    instance.problem_size = couplings.n_spins
    instance.q_matrix = -4 * couplings.tensor
    instance.v_vector = 2 * couplings.tensor.sum(dim=1)
    instance.optimal_sol = instance.best_sol = 0.0  # unknown to it, and not used here
    instance.scale_coefs(solver.get_scaling_factor(instance.q_matrix))
    read = Stopwatch()
    solution = solver(instance=instance, post_processor=None)
    return read(solution.solve_time), solution.variables["problem_variables"].numpy() - 0.5


def dwave_annealing(
    couplings: Couplings, *, steps: int, runs: int, seed: int
) -> tuple[float, NDArray[Any]]:
    """Anneal for `steps` sweeps."""
    sampler = importlib.import_module("dwave.samplers").SimulatedAnnealingSampler()
    model = couplings.dimod_model
    read = Stopwatch()
    answer = sampler.sample(model, num_reads=runs, num_sweeps=steps, seed=seed)
    return read(answer.info["timing"]["sampling_ns"] * 1e-9), answer.record.sample


def dwave_tabu(
    couplings: Couplings, *, steps: int, runs: int, seed: int
) -> tuple[float, NDArray[Any]]:
    """Search for `steps` milliseconds a run."""
    sampler = importlib.import_module("dwave.samplers").TabuSampler()
    model = couplings.dimod_model
    start = clock()
    answer = sampler.sample(model, num_reads=runs, timeout=steps, seed=seed)
    return clock() - start, answer.record.sample


def openjij_annealing(
    couplings: Couplings, *, steps: int, runs: int, seed: int
) -> tuple[float, NDArray[Any]]:
    """Anneal for `steps` sweeps. Not seeded: with a seed, all its reads are the same."""
    del seed
    sampler = importlib.import_module("openjij").SASampler()
    model = couplings.openjij_model
    read = Stopwatch()
    answer = sampler.sample(model, num_reads=runs, num_sweeps=steps)
    return read(float(np.sum(answer.info["list_exec_times"])) * 1e-6), answer.record.sample
