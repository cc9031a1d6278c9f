"""Scales that an algorithm takes from its couplings, so that a user gives nothing else."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse as sp
from scipy.linalg import eigh_tridiagonal

from emulator.noise import normals

if TYPE_CHECKING:
    from emulator.coupling import CouplingMatrix

__all__ = ["lowest_eigenvalue", "natural_strength"]

LANCZOS_STEPS = 48


def natural_strength(coupling: CouplingMatrix) -> float:
    r"""Return :math:`\xi_0 = \sqrt{N / \sum_i(\sum_j J_{ij}^2 + h_i^2)}`, 1 without couplings.

    It is one over the root-mean-square norm of a row, both in units of the stored values. For a
    dense random J, the spectrum of :math:`\xi_0 J` ends at 2.
    """
    values = coupling.dense if coupling.sparse is None else coupling.sparse[2]
    norm = math.hypot(np.linalg.norm(np.ravel(values)), np.linalg.norm(coupling.field))  # pyright: ignore[reportArgumentType, reportCallIssue]
    return math.sqrt(len(coupling.field)) / norm if norm else 1.0


def lowest_eigenvalue(coupling: CouplingMatrix) -> float:
    """Return the lowest Ritz value of a short Lanczos run, in units of the stored values.

    It is the lowest eigenvalue where there are few spins, and else a few per cent of the spectral
    radius above it at most, as measured on MAX-CUT graphs and spin glasses. The start is a fixed
    random vector: the same couplings give the same number.
    """
    n_spins = len(coupling.field)
    matrix = _matrix(coupling)
    vector = normals(0, round_trip=0, n_spins=n_spins, n_runs=1)[:, 0].astype(coupling.dtype)
    vector /= np.linalg.norm(vector)
    before, overlap = np.zeros_like(vector), 0.0
    diagonal: list[float] = []
    beside: list[float] = []
    for _ in range(min(LANCZOS_STEPS, n_spins)):
        image = matrix @ vector
        diagonal.append(float(vector @ image))
        image -= diagonal[-1] * vector + overlap * before
        overlap = float(np.linalg.norm(image))
        if overlap <= 1e-5 * max(map(abs, (*diagonal, *beside))):
            break
        beside.append(overlap)
        before, vector = vector, image / overlap
    ritz_values = eigh_tridiagonal(diagonal, beside[: len(diagonal) - 1], eigvals_only=True)
    return float(ritz_values[0])


def _matrix(coupling: CouplingMatrix) -> Any:
    if coupling.sparse is None:
        return coupling.dense
    starts, columns, values = coupling.sparse
    n_spins = len(coupling.field)
    return sp.csr_array((values, columns.astype(np.int64), starts.astype(np.int64)), (n_spins,) * 2)
