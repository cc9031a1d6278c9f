"""What a short Lanczos run tells of the couplings of a model, and the gain that fits them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import scipy  # not scipy.linalg: it takes 0.2 s, and not every machine asks for modes

from emulator.dynamics.stability import ExtremeModes
from emulator.noise import normals
from emulator.products.coupling import LARGE

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from emulator.products.coupling import CouplingMatrix

__all__ = ["extreme_modes", "gain_factor", "lowest_eigenvalue"]

LANCZOS_STEPS = 48
FEW_LANCZOS_STEPS = 16  # of large models, of which only modes far from the others count
MOST_SLOW_MODES = 4

# Large glasses have 2 in natural units. Where couplings come from few constraints it is a tenth:
# one strong mode makes the norm of a row, and all others are too weak to leave threshold.
LOWEST_EDGE = 1.5
LARGEST_GAIN_FACTOR = 8.0


def _ritz_values(
    multiply: Callable[[NDArray[Any]], NDArray[Any]], vector: NDArray[Any], steps: int
) -> NDArray[np.float64]:
    """Return the Ritz values of a Lanczos run, in rising order; `vector` is normalized."""
    vector /= np.linalg.norm(vector)
    before, overlap = np.zeros_like(vector), 0.0
    diagonal: list[float] = []
    beside: list[float] = []
    for _ in range(min(steps, len(vector))):
        image = multiply(vector)
        diagonal.append(float(vector @ image))
        image -= diagonal[-1] * vector + overlap * before
        overlap = float(np.linalg.norm(image))
        if overlap <= 1e-5 * max(map(abs, (*diagonal, *beside))):
            break
        beside.append(overlap)
        before, vector = vector, image / overlap
    end = len(diagonal) - 1
    values: Any = scipy.linalg.eigh_tridiagonal(diagonal, beside[:end], eigvals_only=True)
    return values


def _start(coupling: CouplingMatrix) -> NDArray[Any]:
    """Return a random vector, always the same, so that couplings give always the same number."""
    start = normals(0, round_trip=0, n_spins=len(coupling.field), n_runs=1)[:, 0]
    return start.astype(coupling.dtype)


def lowest_eigenvalue(coupling: CouplingMatrix) -> float:
    """Return the lowest Ritz value of a short Lanczos run, in units of the stored values.

    It is the lowest eigenvalue where there are few spins, and else a few per cent of the spectral
    radius above it at most, as measured on MAX-CUT graphs and spin glasses.
    """
    return float(_ritz_values(coupling.operator(), _start(coupling), LANCZOS_STEPS)[0])


def gain_factor(coupling: CouplingMatrix, n_coupled: int) -> float:
    r"""Return :math:`1.5/\lambda_{max}` within 1 and 8, of the couplings in natural units.

    Of the first `n_coupled` spins: the spin that stands for a field would add a mode of its own.
    """
    multiply = coupling.operator()
    start = _start(coupling)
    start[n_coupled:] = 0

    def among_coupled(vector: NDArray[Any]) -> NDArray[Any]:
        image = multiply(vector)
        image[n_coupled:] = 0
        return image

    steps = LANCZOS_STEPS if n_coupled <= LARGE else FEW_LANCZOS_STEPS
    edge = float(_ritz_values(among_coupled, start, min(steps, n_coupled))[-1]) * coupling.unit
    if edge <= 0:
        return 1.0
    return min(max(LOWEST_EDGE / edge, 1.0), LARGEST_GAIN_FACTOR)


def extreme_modes(coupling: CouplingMatrix, most: int = MOST_SLOW_MODES) -> ExtremeModes:
    """Return the modes of the largest magnitude as a Lanczos run finds them, the lowest among them.

    In units of the stored values; the basis is kept orthogonal, so that no mode is found twice.
    """
    n_spins, multiply = len(coupling.field), coupling.operator()
    steps = min(LANCZOS_STEPS if n_spins <= LARGE else FEW_LANCZOS_STEPS, n_spins)
    basis = np.zeros((steps + 1, n_spins), coupling.dtype)
    basis[0] = _start(coupling)
    basis[0] /= np.linalg.norm(basis[0])
    diagonal: list[float] = []
    beside: list[float] = []
    for step in range(steps):
        image = multiply(basis[step])
        diagonal.append(float(basis[step] @ image))
        for _ in range(2):  # once leaves a rest of rounding errors
            image -= (basis[: step + 1] @ image) @ basis[: step + 1]
        beside.append(float(np.linalg.norm(image)))
        if beside[-1] <= 1e-5 * max(map(abs, (*diagonal, *beside))):
            break
        basis[step + 1] = image / beside[-1]
    values, parts = scipy.linalg.eigh_tridiagonal(diagonal, beside[: len(diagonal) - 1])
    ends = np.argsort(-np.abs(values), kind="stable")[:most]
    chosen = np.unique([0, *ends])
    vectors = parts.T[chosen].astype(basis.dtype) @ basis[: len(diagonal)]
    rest = float(np.abs(np.delete(values, chosen)).max(initial=0.0))
    return ExtremeModes(values[chosen], vectors, rest)
