"""Exact optima of small programs: by trying all vectors, or by the solver CP-SAT of OR-tools.

CP-SAT (extra ``exact``) takes integers, so real coefficients are rounded to a grid whose error is
stated; what it returns is evaluated with the true ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from cim_hal.extras import load_extra
from qnn_train.arguments import checked
from qnn_train.arrays import BitArray, FloatArray
from qnn_train.errors import AssemblyError, TrainingError
from qnn_train.program import Qcbo
from qnn_train.solve.oracle import MAX_EXHAUSTIVE_BITS, Answer, evaluate, every_vector, qubo_of

__all__ = ["CpSatOracle", "Optimum", "cp_sat", "exhaustive"]

# Sums of rounded coefficients stay below 2^50: exact in CP-SAT and in float64.
RANGE = 2.0**50


@dataclass(frozen=True, eq=False)
class Optimum:
    """The best feasible vector an exact solver found.

    Attributes
    ----------
    bits : int8 array, shape (n,)
    objective : float
    proven : bool
        Whether nothing is better by more than `error`.
    bound : float
        No feasible vector is below this.
    error : float
        Largest effect of rounding the coefficients on the objective.
    """

    bits: BitArray
    objective: float
    proven: bool
    bound: float
    error: float


@checked
def exhaustive(qcbo: Qcbo) -> Optimum:
    """Try all vectors.

    Raises
    ------
    AssemblyError
        More than 18 bits.
    TrainingError
        No vector is feasible.
    """
    if qcbo.n_bits > MAX_EXHAUSTIVE_BITS:
        raise AssemblyError(
            f"{qcbo.n_bits} bits are too many to try all", hint=f"at most {MAX_EXHAUSTIVE_BITS}"
        )
    vectors = every_vector(qcbo.n_bits)
    feasible = vectors[qcbo.is_feasible(vectors)]
    if not len(feasible):
        raise TrainingError("no vector is feasible")
    objectives = qcbo.objective(feasible)
    best = int(objectives.argmin())
    least = float(objectives[best])
    return Optimum(feasible[best], least, proven=True, bound=least, error=0.0)


@checked
def cp_sat(qcbo: Qcbo, *, seconds: float = 60.0, workers: int = 1) -> Optimum:
    """Minimize with CP-SAT: equalities, products and gates as they are, no penalty.

    Parameters
    ----------
    seconds : float
        Time limit; the best vector so far is returned then, not proven.
    workers : int
        Threads; with one the result is reproducible.

    Raises
    ------
    TrainingError
        OR-tools is not installed, an equality has coefficients other than integers, no vector is
        feasible, or none was found in time.
    """
    cp_model = _module()
    model = cp_model.CpModel()
    x = [model.new_bool_var(f"x{i}") for i in range(qcbo.n_bits)]
    _constrain(model, x, qcbo)
    Q = np.triu(qcbo.Q + np.triu(qcbo.Q.T, 1), 1)
    linear = qcbo.c + qcbo.Q.diagonal()
    scale = RANGE / max(float(np.abs(Q).sum() + np.abs(linear).sum()), 1e-300)
    rows, columns = np.nonzero(np.rint(scale * Q))
    terms = [round(scale * value) * x[i] for i, value in enumerate(linear)]
    terms += [
        round(scale * Q[i, j]) * _product(model, x[i], x[j])
        for i, j in zip(rows.tolist(), columns.tolist(), strict=True)
    ]
    model.minimize(sum(terms))
    solver = cp_model.CpSolver()
    solver.parameters.max_time_in_seconds = seconds
    solver.parameters.num_workers = workers
    status = solver.solve(model)
    if status == cp_model.INFEASIBLE:
        raise TrainingError("no vector is feasible")
    if status not in {cp_model.OPTIMAL, cp_model.FEASIBLE}:
        raise TrainingError(f"nothing found within {seconds:g} s", hint="allow more seconds")
    bits = np.array([solver.value(bit) for bit in x], dtype=np.int8)
    error = 0.5 * (len(terms) + np.count_nonzero(Q) - len(rows)) / scale
    return Optimum(
        bits,
        float(qcbo.objective(bits)),
        proven=status == cp_model.OPTIMAL,
        bound=solver.best_objective_bound / scale + qcbo.constant - error,
        error=error,
    )


@checked
class CpSatOracle:
    """The exact answer for more bits than can be tried.

    Parameters
    ----------
    seconds : float
        Time limit of a call.

    Raises
    ------
    TrainingError
        OR-tools is not installed.
    """

    def __init__(self, *, seconds: float = 60.0) -> None:
        _module()
        self._seconds = seconds

    def minimize(self, gradient: FloatArray) -> Answer:
        """Minimize without constraints; one vector is returned."""
        Q, constant = qubo_of(gradient)
        found = cp_sat(Qcbo.from_arrays(Q, constant=constant), seconds=self._seconds)
        return evaluate(gradient, found.bits[None])


def _module() -> Any:
    return load_extra("ortools.sat.python.cp_model", "CP-SAT", TrainingError)


def _constrain(model: Any, x: list[Any], qcbo: Qcbo) -> None:
    A, b = qcbo.equalities.A, qcbo.equalities.b
    if not ((A.data == np.rint(A.data)).all() and (b == np.rint(b)).all()):
        raise TrainingError("equalities must have integer coefficients for CP-SAT")
    for row, right in enumerate(b):
        part = slice(A.indptr[row], A.indptr[row + 1])
        pairs = zip(A.indices[part].tolist(), A.data[part].tolist(), strict=True)
        model.add(sum(round(value) * x[i] for i, value in pairs) == round(right))
    for i, j, y in qcbo.products.bits.tolist():
        _multiply(model, x[y], x[i], x[j])
    for gated, gate, opens in qcbo.gates.bits.tolist():
        model.add_implication(x[gated], x[gate] if opens else x[gate].negated())


def _product(model: Any, first: Any, second: Any) -> Any:
    product = model.new_bool_var("")
    _multiply(model, product, first, second)
    return product


def _multiply(model: Any, product: Any, first: Any, second: Any) -> None:
    model.add_implication(product, first)
    model.add_implication(product, second)
    model.add_bool_or([first.negated(), second.negated(), product])
