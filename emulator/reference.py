r"""Exact answers for one or two oscillators: their master equations in Fock space.

All states and operators here are real matrices, and

.. math:: \dot\rho = K\rho + \rho K^T + \sum_kC_k\rho C_k^T

with :math:`K = H - \tfrac12\sum_kC_k^TC_k` and :math:`H^T = -H`. Nothing is sampled: what is wrong
with a result is told by the weight of the highest levels.

References
----------
Drummond, Gardiner, J. Phys. A 13, 2353 (1980), doi:10.1088/0305-4470/13/7/018 (parametric
oscillators without their pump field).
Wiseman, Milburn, Phys. Rev. Lett. 70, 548 (1993), doi:10.1103/PhysRevLett.70.548 (feedback of a
homodyne record).
"""

from __future__ import annotations

import math
from functools import reduce
from operator import index
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import scipy.sparse as sp
from scipy.integrate import solve_ivp
from scipy.linalg import get_lapack_funcs, schur
from scipy.sparse.linalg import LinearOperator, gmres

from cim_hal.text import counted
from emulator.dynamics.gaussian import GaussianFeedback
from emulator.dynamics.positive_p import PositiveP
from emulator.dynamics.wigner import TruncatedWigner
from emulator.moments import Moments, checked_couplings
from emulator.products.coupling import CouplingMatrix

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

__all__ = ["Exact", "MasterEquation", "master_equation"]

# Of 20 levels in each of two modes, 400 x 400 numbers: a minute is spent on more.
MOST_STATES = 900
SETTLED = 1e-12
# vacuum without a pump has no drift, which would leave nothing to solve
SHIFT = 0.5
MOST_ITERATIONS = 2000


class Exact(NamedTuple):
    """Moments of a state in Fock space, and the probability of its highest levels.

    Attributes
    ----------
    moments : Moments
    tail : float
        Probability of the two highest levels of any mode: moments are off by about this, times
        the number of photons there.
    """

    moments: Moments
    tail: float


class MasterEquation:
    """The master equation of one or two oscillators at a constant pump.

    Made by `master_equation` for a dynamics; `optical` and `measured` take plain numbers.

    Parameters
    ----------
    ladders : sequence of sparse array, shape (levels ** n, levels ** n)
        a of each mode.
    hamiltonian : sparse array
        H, antisymmetric: -i times the Hamiltonian.
    jumps : sequence of sparse array
        C. One changes the number of photons by even numbers, or by odd ones.
    """

    def __init__(self, ladders: Sequence[Any], hamiltonian: Any, jumps: Sequence[Any]) -> None:
        self._ladders = ladders
        self._levels = round(ladders[0].shape[0] ** (1 / len(ladders)))
        numbers = reduce(np.add.outer, [np.arange(self._levels)] * len(ladders)).ravel()
        # no coherence between even and odd numbers: light is made in pairs
        self._halves = [np.flatnonzero(numbers % 2 == parity) for parity in (0, 1)]
        drift = (hamiltonian - 0.5 * sum(C.T @ C for C in jumps)).tocsr()
        self._drifts = [drift[half][:, half] for half in self._halves]
        pieces = [
            (to, start, C.tocsr()[self._halves[to]][:, self._halves[start]])
            for C in jumps
            for to in (0, 1)
            for start in (0, 1)
        ]
        self._pieces = [piece for piece in pieces if piece[2].nnz]

    @classmethod
    def optical(
        cls,
        J: ArrayLike,
        *,
        pump: float,
        saturation: float,
        levels: int,
        coupling_loss: float = 0.0,
    ) -> MasterEquation:
        r"""Return that of oscillators coupled by lossy splitters, the one of `PositiveP`.

        Parameters
        ----------
        J : array_like, shape (n, n)
            :math:`\xi J`, one or two oscillators.
        pump : float
            p, in thresholds.
        saturation : float
            :math:`A_s`.
        levels : int
            Numbers of photons kept in each oscillator, from 0.
        coupling_loss : float
            j.

        Raises
        ------
        ValueError
            More states than can be solved, or couplings stronger than the loss.
        """
        coupling, ladders = _prepared(J, pump, levels)
        rates, modes = np.linalg.eigh((1 + coupling_loss) * np.eye(len(coupling)) - coupling)
        if rates[0] < -1e-12:
            raise ValueError(f"a mode is lost at the rate {rates[0]:.3g}: splitters cannot amplify")
        jumps = [
            math.sqrt(2 * max(rate, 0.0)) * _sum(mode, ladders)
            for rate, mode in zip(rates, modes.T, strict=True)
        ]
        jumps += [a @ a / saturation for a in ladders]
        return cls(ladders, _parametric(pump, ladders), jumps)

    @classmethod
    def measured(
        cls,
        J: ArrayLike,
        *,
        pump: float,
        saturation: float,
        levels: int,
        measurement_strength: float = 1.0,
        detector_efficiency: float = 1.0,
    ) -> MasterEquation:
        r"""Return that of oscillators under homodyne detection and feedback.

        .. math:: \dot\rho = \dots + \mathcal D[c]\rho - i\sqrt{\eta_d}\,[M, c\rho + \rho c^\dagger]
                  + \mathcal D[M]\rho, \qquad c_j = \sqrt{2j}\,a_j,\quad
                  M_j = \frac{\sum_i\xi J_{ij}P_i}{2\sqrt{j\eta_d}}

        which is `GaussianFeedback` without converters, with nothing taken to be Gaussian.

        Parameters
        ----------
        J : array_like, shape (n, n)
            :math:`\xi J`, with the :math:`1 + j` that is in the :math:`\xi` of `GaussianFeedback`.
        pump : float
            p, in thresholds of a lone oscillator, its detector included.
        saturation : float
            :math:`A_s`.
        levels : int
            Numbers of photons kept in each oscillator, from 0.
        measurement_strength, detector_efficiency : float
            j and :math:`\eta_d`.

        Raises
        ------
        ValueError
            More states than can be solved.
        """
        coupling, ladders = _prepared(J, pump, levels)
        j, efficiency = measurement_strength, detector_efficiency
        H = _parametric((1 + j) * pump, ladders)
        jumps = [math.sqrt(2) * a for a in ladders]
        jumps += [math.sqrt(2 * j * (1 - efficiency)) * a for a in ladders if efficiency < 1]
        jumps += [math.sqrt(1 + j) * (a @ a) / saturation for a in ladders]
        # i M, and sqrt(eta) c - i M, of Wiseman and Milburn
        for a, column in zip(ladders, coupling.T, strict=True):
            detected = math.sqrt(2 * j * efficiency) * a
            moved = _sum(column, [b - b.T for b in ladders]) / math.sqrt(8 * j * efficiency)
            H = H - 0.5 * (detected.T @ moved + moved @ detected)
            jumps.append(detected - moved)
        return cls(ladders, H, jumps)

    def steady_state(self) -> Exact:
        """Return the moments of the state that does not change.

        Raises
        ------
        ValueError
            It was not found: the slowest change is too slow.
        """
        lyapunov = [_Lyapunov(drift.toarray()) for drift in self._drifts]
        vacuum = self._vacuum()

        def residual(flat: NDArray[np.float64]) -> NDArray[np.float64]:
            sources = self._jumped(parts := self._parts(flat))
            triples = zip(lyapunov, sources, parts, strict=True)
            jumped = [one.solve(source, part) for one, source, part in triples]
            # singular but for the trace, which is put where the vacuum is
            return flat - _flat(jumped) + vacuum * self._trace(flat)

        size = len(vacuum)
        make: Any = LinearOperator  # whose types are those of its subclasses
        operator = make((size, size), matvec=residual, dtype=np.float64)
        options = {"rtol": SETTLED, "restart": 100, "maxiter": MOST_ITERATIONS // 100}
        flat, failed = gmres(operator, vacuum, x0=vacuum, **options)
        if failed:
            raise ValueError("no steady state found: the slowest change of the state is too slow")
        return self._moments(flat / self._trace(flat))

    def at(self, times: ArrayLike) -> list[Exact]:
        """Return the moments of a state that is vacuum at time 0, at increasing later times.

        Raises
        ------
        ValueError
            Times that are none, negative, not finite, or do not increase.
        """

        def slope(_: float, flat: NDArray[np.float64]) -> NDArray[np.float64]:
            parts = self._parts(flat)
            drifted = (drift @ rho for drift, rho in zip(self._drifts, parts, strict=True))
            jumped = self._jumped(parts)
            return _flat([d + d.T + c for d, c in zip(drifted, jumped, strict=True)])

        later = np.atleast_1d(np.asarray(times, np.float64))
        is_later = later.size and later[0] >= 0 and np.isfinite(later).all()
        if not is_later or not (np.diff(later) > 0).all():
            raise ValueError(f"times must increase from 0 on: {later.tolist()}")
        options = {"method": "DOP853", "rtol": 1e-7, "atol": 1e-10}
        solution = solve_ivp(
            slope, (0.0, float(later[-1])), self._vacuum(), t_eval=later, **options
        )
        return [self._moments(flat) for flat in solution.y.T]

    def _jumped(self, parts: Sequence[NDArray[np.float64]]) -> list[NDArray[np.float64]]:
        sums = [np.zeros_like(part) for part in parts]
        for to, start, C in self._pieces:
            sums[to] += C @ (C @ parts[start]).T  # rho is symmetric
        return sums

    def _vacuum(self) -> NDArray[np.float64]:
        parts = [np.zeros((len(half),) * 2) for half in self._halves]
        parts[0][0, 0] = 1.0
        return _flat(parts)

    def _parts(self, flat: NDArray[np.float64]) -> list[NDArray[np.float64]]:
        even, odd = (len(half) for half in self._halves)
        parts = flat[: even**2].reshape(even, even), flat[even**2 :].reshape(odd, odd)
        # the antisymmetric part of rounding errors would grow
        return [0.5 * (part + part.T) for part in parts]

    def _trace(self, flat: NDArray[np.float64]) -> float:
        return float(sum(np.trace(part) for part in self._parts(flat)))

    def _moments(self, flat: NDArray[np.float64]) -> Exact:
        rho = np.zeros((sum(map(len, self._halves)),) * 2)
        for half, part in zip(self._halves, self._parts(flat), strict=True):
            rho[np.ix_(half, half)] = part

        def mean(operator: Any) -> float:
            return float((operator.T * rho).sum())

        a, vacuum = self._ladders, 0.5 * np.eye(len(self._ladders))
        photons, pairs = (
            np.array([[mean(b @ c) for c in a] for b in first]) for first in ([b.T for b in a], a)
        )
        squares = [0.5 * (sp.eye_array(len(rho)) + 2 * b.T @ b + b @ b + (b @ b).T) for b in a]
        fourth = np.array([[mean(b @ c) for c in squares] for b in squares])
        shape = (self._levels,) * len(a)
        highest = np.max(np.indices(shape), axis=0) >= self._levels - 2
        tail = float(np.diag(rho).reshape(shape)[highest].sum())
        return Exact(Moments(vacuum + photons + pairs, vacuum + photons - pairs, fourth), tail)


def master_equation(
    dynamics: TruncatedWigner | PositiveP | GaussianFeedback,
    J: ArrayLike,
    *,
    pump: float,
    levels: int,
) -> MasterEquation:
    """Return the master equation that a dynamics samples, of one or two oscillators.

    Parameters
    ----------
    dynamics : TruncatedWigner, PositiveP or GaussianFeedback
        Converters, fields and a decay of the measurement are left out.
    J : array_like, shape (n, n)
        Couplings of a model, which are brought to natural units as for a machine.
    pump : float
        p, in thresholds.
    levels : int
        Numbers of photons kept in each oscillator, from 0.

    Raises
    ------
    ValueError
        More states than can be solved, or couplings that splitters cannot have.
    TypeError
        A dynamics without a master equation.

    Examples
    --------
    >>> machine = TruncatedWigner(saturation=3.0, coupling_gain=0.2)
    >>> exact = master_equation(machine, [[0, 1], [1, 0]], pump=0.5, levels=12).steady_state()
    >>> bool(exact.moments.x[0, 1] > 0 and exact.tail < 1e-5)
    True
    """
    coupling = checked_couplings(J, pump)
    natural = CouplingMatrix.of(coupling, np.zeros(len(coupling)), largest_code=None, dtype=float)
    if isinstance(dynamics, TruncatedWigner | PositiveP):
        return MasterEquation.optical(
            dynamics.coupling_gain * natural.matrix,
            pump=pump,
            saturation=dynamics.saturation,
            levels=levels,
            coupling_loss=dynamics.coupling_loss,
        )
    if isinstance(dynamics, GaussianFeedback):
        return MasterEquation.measured(
            dynamics.loss * dynamics.coupling_gain * natural.matrix,
            pump=pump,
            saturation=dynamics.saturation,
            levels=levels,
            measurement_strength=dynamics.measurement_strength,
            detector_efficiency=dynamics.detector_efficiency,
        )
    raise TypeError(f"{type(dynamics).__name__} has no master equation here")


def _prepared(J: ArrayLike, pump: float, levels: int) -> tuple[NDArray[np.float64], list[Any]]:
    coupling, levels = checked_couplings(J, pump), index(levels)
    n = len(coupling)
    most = int(MOST_STATES ** (1 / n))
    if n > 2 or not 3 <= levels <= most:
        given = f"{counted(n, 'oscillator')} of {counted(levels, 'level')}"
        raise ValueError(f"{given}: one or two, of 3 to {counted(most, 'level')}")
    ladder, one = sp.diags_array(np.sqrt(np.arange(1.0, levels)), offsets=1), sp.eye_array(levels)
    return coupling, [
        reduce(sp.kron, [ladder if i == k else one for i in range(n)]).tocsr() for k in range(n)
    ]


def _sum(weights: NDArray[np.float64], operators: Sequence[Any]) -> Any:
    return sum(w * operator for w, operator in zip(weights.tolist(), operators, strict=True))


def _parametric(rate: float, ladders: Sequence[Any]) -> Any:
    return sum(0.5 * rate * (a.T @ a.T - a @ a) for a in ladders)


def _flat(parts: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    return np.concatenate([part.ravel() for part in parts])


_trsyl: Any = get_lapack_funcs("trsyl", dtype=np.float64)


class _Lyapunov:
    r"""Solves :math:`K\rho + \rho K^T - 2s\rho = -R - 2s\rho_0` by Bartels and Stewart."""

    def __init__(self, drift: NDArray[np.float64]) -> None:
        self._triangle, self._basis = schur(drift - SHIFT * np.eye(len(drift)))[:2]

    def solve(
        self, source: NDArray[np.float64], before: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Return the solution for R and the state before it."""
        Z, T = self._basis, self._triangle
        right = Z.T @ (source + 2 * SHIFT * before) @ Z
        y, scale, _ = _trsyl(T, T, -right, tranb="T")
        return Z @ (y / scale) @ Z.T
