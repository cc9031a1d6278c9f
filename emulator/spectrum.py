"""Scales that an algorithm takes from its couplings, so that a user gives nothing else."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy.linalg import eigh_tridiagonal

from emulator.noise import normals

if TYPE_CHECKING:
    from emulator.products.coupling import CouplingMatrix

__all__ = ["LEAST_FIELD_WEIGHT", "Norms", "lowest_eigenvalue"]

LANCZOS_STEPS = 48
LEAST_FIELD_WEIGHT = 1e-3


class Norms(NamedTuple):
    r"""How large couplings and fields are, in units of the stored values.

    Attributes
    ----------
    n_spins : int
    couplings, field : float
        :math:`(\sum_{ij} J_{ij}^2)^{1/2}` and :math:`(\sum_i h_i^2)^{1/2}`.
    """

    n_spins: int
    couplings: float
    field: float

    @classmethod
    def of(cls, coupling: CouplingMatrix) -> Norms:
        """Measure couplings."""
        couplings = np.linalg.norm(np.ravel(coupling.as_floats(coupling.dtype).values))
        return cls(len(coupling.field), float(couplings), float(np.linalg.norm(coupling.field)))

    def natural_strength(self, field_weight: float = 0.0) -> float:
        r"""Return :math:`\xi_0 = \sqrt{N / \sum_i(\sum_j J_{ij}^2 + w^2h_i^2)}`, 1 without both.

        At w = 0 it is one over the root-mean-square norm of a row of J; for a dense random J, the
        spectrum of :math:`\xi_0 J` then ends at 2. A spin that its field holds decides nothing,
        and to count its field would weaken the couplings of all others. w is 0.001 at least,
        which keeps drives within float32 and gives a scale to fields without couplings.
        """
        norm = math.hypot(self.couplings, max(field_weight, LEAST_FIELD_WEIGHT) * self.field)
        return math.sqrt(self.n_spins) / norm if norm else 1.0


def lowest_eigenvalue(coupling: CouplingMatrix) -> float:
    """Return the lowest Ritz value of a short Lanczos run, in units of the stored values.

    It is the lowest eigenvalue where there are few spins, and else a few per cent of the spectral
    radius above it at most, as measured on MAX-CUT graphs and spin glasses. The start is a fixed
    random vector: the same couplings give the same number.
    """
    n_spins = len(coupling.field)
    matrix = coupling.matrix
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
