"""One step of conditional gradients without the oracle, beside a bare matrix product.

Run with ``pytest benchmarks/bench_qcgd.py``. The network of the headline has 354 spins; 58 samples
of a 4-4-1 network with zero-one loss make 1,122 spins and 522 constraints. The step is the gradient
from the multipliers, the move towards an atom, and the packing of that atom. BLAS has one thread,
as two fight on a small machine. The assembly is that of the headline with 50 images.
"""

from __future__ import annotations

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from qnn_train import (
    LiftedProblem,
    SquaredLoss,
    Task,
    ZeroOneLoss,
    layered_network,
    majority_network,
    weight_code,
)
from qnn_train.solve import Atoms, BoundedDual, State
from qnn_train.solve.qcgd import advance, multipliers


def headline(samples: int) -> Task:
    rng = np.random.default_rng(0)
    network = majority_network(16, 3, weights=weight_code("binary"), bias_bits=2)
    inputs, labels = rng.choice([-1, 1], (samples, 16)), rng.choice([-1, 1], samples)
    return Task(network, inputs, labels, SquaredLoss(3.0))


def large() -> Task:
    rng = np.random.default_rng(0)
    inputs, labels = rng.choice([-1, 1], (58, 4)), rng.choice([-1, 1], 58)
    return Task(layered_network((4, 4, 1)), inputs, labels, ZeroOneLoss())


@pytest.fixture(scope="module", params=["354 spins", "1122 spins, 522 constraints"])
def problem(request) -> LiftedProblem:
    task = headline(20) if request.param == "354 spins" else large()
    return LiftedProblem.lift(task.qcbo)


@pytest.mark.benchmark(group="step")
def test_step(benchmark, problem):
    atom = np.random.default_rng(1).integers(0, 2, problem.size - 1).astype(np.int8)
    rule, atoms = BoundedDual(1.0, reach=problem.reach), Atoms(problem.size - 1)
    state, _ = advance(problem, State.start(problem), atom, rule=rule, penalty=1.0)

    def step() -> None:
        problem.gradient(multipliers(state, 1.0))
        advance(problem, state, atom, rule=rule, penalty=1.0)
        atoms.add(atom, 0.1)

    with threadpool_limits(1):
        benchmark(step)


@pytest.mark.benchmark(group="step")
def test_matrix_product(benchmark, problem):
    matrix = np.random.default_rng(2).normal(size=(problem.size, problem.size))
    with threadpool_limits(1):
        benchmark(lambda: matrix @ matrix)


@pytest.mark.benchmark(group="assembly of 50 images")
def test_assembly(benchmark):
    benchmark(lambda: headline(50).assembly)
