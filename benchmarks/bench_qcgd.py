"""One step of conditional gradients without the oracle, beside a bare matrix product.

Run with ``pytest benchmarks/bench_qcgd.py``; the network is that of the headline, 354 spins. The
step is the gradient from the multipliers and the move towards an atom. BLAS has one thread, as two
fight on a small machine.
"""

from __future__ import annotations

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from qnn_train import LiftedProblem, SquaredLoss, assemble, majority_network, weight_code
from qnn_train.solve import BoundedDual
from qnn_train.solve.qcgd import State, advance, multipliers


@pytest.fixture(scope="module")
def problem() -> LiftedProblem:
    rng = np.random.default_rng(0)
    network = majority_network(16, 3, weights=weight_code("binary"), bias_bits=2)
    inputs, labels = rng.choice([-1, 1], (20, 16)), rng.choice([-1, 1], 20)
    return LiftedProblem.lift(assemble(network, inputs, labels, loss=SquaredLoss(3.0)).qcbo)


@pytest.mark.benchmark(group="354 spins")
def test_step(benchmark, problem):
    atom = np.random.default_rng(1).integers(0, 2, problem.size - 1).astype(np.int8)
    rule = BoundedDual(1.0, reach=problem.size**2 * problem.squared_norm())
    state, _ = advance(problem, State.start(problem), atom, rule=rule, penalty=1.0)

    def step() -> None:
        problem.gradient(multipliers(state, 1.0))
        advance(problem, state, atom, rule=rule, penalty=1.0)

    with threadpool_limits(1):
        benchmark(step)


@pytest.mark.benchmark(group="354 spins")
def test_matrix_product(benchmark, problem):
    matrix = np.random.default_rng(2).normal(size=(problem.size, problem.size))
    with threadpool_limits(1):
        benchmark(lambda: matrix @ matrix)
