"""Exact optima of small programs: by trying all vectors, or by the solver CP-SAT of OR-tools.

CP-SAT (extra ``exact``) takes integers of 64 bits, so real coefficients are rounded to a grid whose
error is stated. Where it could outweigh the smallest coefficient, a finer grid decides among the
vectors that the first one cannot tell apart, and so on: no coefficient is too small to count.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Self

import numpy as np

from cim_hal.extras import load_extra
from cim_hal.text import counted
from qnn_train.arguments import checked
from qnn_train.arrays import BitArray, FloatArray
from qnn_train.errors import AssemblyError, TrainingError
from qnn_train.program import Qcbo
from qnn_train.solve.oracle import (
    MAX_EXHAUSTIVE_BITS,
    Answer,
    check_finite,
    evaluate,
    every_vector,
)

__all__ = ["CpSatOracle", "Optimum", "cp_sat", "exhaustive", "float64_resolves", "program_of"]

# Sums of rounded coefficients stay below 2^50: exact in CP-SAT and in float64.
RANGE_BITS = 50


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
        Largest effect of rounding the coefficients on the objective, less than any of them.
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
            f"{counted(qcbo.n_bits, 'bit')} are too many to try all",
            hint=f"at most {MAX_EXHAUSTIVE_BITS}",
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
    model = _module().CpModel()
    x = [model.new_bool_var(f"x{i}") for i in range(qcbo.n_bits)]
    _constrain(model, x, qcbo)
    found = _Search(model, x, _IntegerForm.of(model, x, qcbo), workers).minimized(seconds)
    if found is None:
        raise TrainingError(f"nothing found within {seconds:g} s", hint="allow more seconds")
    bits, proven, bound, error = found
    objective = float(qcbo.objective(bits))
    bound = objective - error if proven else bound + qcbo.constant
    return Optimum(bits, objective, proven=proven, bound=bound, error=error)


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
        found = cp_sat(program_of(gradient), seconds=self._seconds)
        return evaluate(gradient, found.bits[None])


def program_of(gradient: FloatArray) -> Qcbo:
    """Return the program without constraints whose objective is a form; no sum is rounded."""
    check_finite(gradient)
    return Qcbo.from_arrays(gradient[1:, 1:], 2.0 * gradient[0, 1:], gradient[0, 0])


def float64_resolves(gradient: FloatArray) -> bool:
    """Tell whether the smallest coefficient is more than the rounding of a sum of all."""
    sizes = np.abs(gradient)
    total, sizes[0, 0] = sizes.sum(), 0.0
    smallest = sizes.min(initial=np.inf, where=sizes > 0)
    return bool(smallest > 2.0**-RANGE_BITS * len(sizes) * total)


@dataclass(frozen=True)
class _IntegerForm:
    """A sum of factors times real coefficients: integers of one unit, however long."""

    factors: list[Any]
    coefficients: list[int]
    unit: Fraction

    @classmethod
    def of(cls, model: Any, x: list[Any], qcbo: Qcbo) -> Self:
        rows, columns = (places.tolist() for places in np.nonzero(np.triu(qcbo.Q, 1)))
        factors = x + [_product(model, x[i], x[j]) for i, j in zip(rows, columns, strict=True)]
        pairs = zip(qcbo.c.tolist(), qcbo.Q.diagonal().tolist(), strict=True)
        exact = [Fraction(single) + Fraction(squared) for single, squared in pairs]
        exact += [2 * Fraction(each) for each in qcbo.Q[rows, columns].tolist()]
        finest = max((each.denominator for each in exact), default=1)  # powers of two
        return cls(factors, [int(each * finest) for each in exact], Fraction(1, finest))

    @property
    def smallest(self) -> int:
        return min((abs(each) for each in self.coefficients if each), default=1)

    def split(self, shift: int) -> tuple[Any, _IntegerForm]:
        """Return the sum rounded to multiples of 2^shift, in units of it, and what is left."""
        whole = [(each + (1 << shift >> 1)) >> shift for each in self.coefficients]
        left = [each - (much << shift) for each, much in zip(self.coefficients, whole, strict=True)]
        total = sum(much * factor for much, factor in zip(whole, self.factors, strict=True))
        return total, _IntegerForm(self.factors, left, self.unit)

    @property
    def spread(self) -> int:
        """How far two values can differ at most."""
        return sum(map(abs, self.coefficients))


class _Search:
    """CP-SAT, asked once for each grid."""

    def __init__(self, model: Any, x: list[Any], form: _IntegerForm, workers: int) -> None:
        self._model, self._x, self._form = model, x, form
        self._solver = _module().CpSolver()
        self._solver.parameters.num_workers = workers

    def minimized(self, seconds: float) -> tuple[BitArray, bool, float, float] | None:
        """Return the best bits, whether they are proven, a bound, and the error of rounding."""
        ends, above, form, found = time.monotonic() + seconds, 0, self._form, None
        shift, bound = _shift(form.spread), -np.inf
        while True:
            objective, form = form.split(shift)
            objective += above
            is_proven, bits = self._solved(objective, ends - time.monotonic())
            if bits is None:  # in time
                return found
            error = float(form.spread * form.unit)
            if found is None:
                bound = self._solver.best_objective_bound * float(form.unit * 2**shift) - error
            found = bits, is_proven, bound, error
            if not is_proven or form.spread < self._form.smallest:
                return found
            # Only vectors this little above the minimum can be better by what was rounded off.
            beyond = self._model.new_int_var(0, form.spread >> shift, "")
            self._model.add(objective == beyond + round(self._solver.objective_value))
            finer = _shift(2 * form.spread)
            above = beyond * 2 ** (shift - finer) if form.spread >> shift else 0
            shift = finer

    def _solved(self, objective: Any, seconds: float) -> tuple[bool, BitArray | None]:
        cp_model, solver = _module(), self._solver
        self._model.minimize(objective)
        solver.parameters.max_time_in_seconds = max(seconds, 0.0)
        status = solver.solve(self._model)
        if status == cp_model.INFEASIBLE:
            raise TrainingError("no vector is feasible")
        if status not in {cp_model.OPTIMAL, cp_model.FEASIBLE}:
            return False, None
        bits = np.array([solver.value(bit) for bit in self._x], dtype=np.int8)
        return status == cp_model.OPTIMAL, bits


def _shift(spread: int) -> int:
    return max(0, spread.bit_length() - RANGE_BITS)


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
