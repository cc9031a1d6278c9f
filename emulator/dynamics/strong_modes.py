r"""Modes of J that stand far out of its spectrum, which signs serve badly.

Signs jump: all of them feed back a mode of eigenvalue :math:`\lambda` with :math:`\lambda` times
its whole amplitude, and where that is far more than all else together, spins answer to nothing
but this mode. Of a strong mode :math:`v_k` the amplitudes x are fed back in place of the signs:

.. math:: f = J\sigma + h + \sum_k v_k\Big[\lambda_k\,v_k\cdot(x - \sigma)
              + (\overline{|x|} - 1)\,v_k\cdot h\Big], \qquad \sigma = \operatorname{sign}x

so that fixed points at the walls are those of J. A field along the mode, as cardinality
constraints have it, is scaled with the mean magnitude of the amplitudes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from emulator.dynamics.feedback import mean_magnitude
from emulator.kernel import kernel_part

if TYPE_CHECKING:
    from numpy.typing import DTypeLike, NDArray

    from emulator.dynamics.stability import ExtremeModes

__all__ = ["StrongModes", "add_strong_modes", "measure_strong_modes"]


class StrongModes(NamedTuple):
    """Some modes and what is to be added of them; make one with `of`.

    Attributes
    ----------
    vectors : array, shape (k, n)
    eigenvalues, field : array, shape (k,)
        In units of the stored couplings; the field along each mode.
    excess : array, shape (k, runs)
        What is to be added in this step.
    magnitude : array, shape (runs,)
        Mean magnitudes of the amplitudes.
    """

    vectors: NDArray[Any]
    eigenvalues: NDArray[Any]
    field: NDArray[Any]
    excess: NDArray[Any]
    magnitude: NDArray[Any]

    @classmethod
    def of(
        cls, modes: ExtremeModes, least: float, field: NDArray[Any], n_runs: int, dtype: DTypeLike
    ) -> StrongModes:
        """Take the modes of eigenvalues of at most -`least`."""
        is_strong = modes.eigenvalues < -least
        vectors = np.ascontiguousarray(modes.vectors[is_strong], dtype)
        eigenvalues = modes.eigenvalues[is_strong].astype(dtype)
        along = (vectors @ field).astype(dtype)
        state = np.zeros((len(vectors), n_runs), dtype), np.zeros(n_runs, dtype)
        return cls(vectors, eigenvalues, along, *state)


@kernel_part
def _add_differences(vector: NDArray[Any], x: NDArray[Any], out: NDArray[Any]) -> None:
    """Add what amplitudes have less of a mode than their signs, negative where they have less."""
    one = x.dtype.type(1)
    for i in range(len(x)):
        part, row = vector[i], x[i]
        for r in range(len(out)):
            out[r] += part * (row[r] + one if row[r] < 0 else row[r] - one)


@kernel_part
def measure_strong_modes(strong: StrongModes, x: NDArray[Any]) -> None:
    """Find what is to be added for amplitudes x (n, runs)."""
    if len(strong.vectors) == 0:
        return
    magnitude, one = strong.magnitude, x.dtype.type(1)
    mean_magnitude(x, magnitude)
    strong.excess[:] = 0
    for k in range(len(strong.vectors)):
        excess = strong.excess[k]
        _add_differences(strong.vectors[k], x, excess)
        for r in range(len(excess)):
            of_field = strong.field[k] * (magnitude[r] - one)
            excess[r] = strong.eigenvalues[k] * excess[r] + of_field


@kernel_part
def add_strong_modes(strong: StrongModes, first: int, product: NDArray[Any]) -> None:
    """Add to rows of a product, those from `first` on."""
    for k in range(len(strong.vectors)):
        excess = strong.excess[k]
        for i in range(len(product)):
            part, row = strong.vectors[k, first + i], product[i]
            for r in range(len(row)):
                row[r] += part * excess[r]
