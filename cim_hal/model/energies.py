r"""Energies as exact sums, and the tolerance within which two of them are equal.

Sums of floats depend on the order of their terms, and BLAS changes the order with the size of a
batch. Here couplings and field are written as integers in two units,

.. math:: J_{ij} \approx u\,(a_{ij} + 2^{-s} b_{ij}),

so small that every partial sum of the :math:`a`, and of the :math:`b`, is an integer below
:math:`2^{53}`: exact in any order. An energy is rounded once, when the two sums are put together.
Hence it depends on the spins alone: not on the batch, the order of the spins or the storage.

What is left out of an entry is below :math:`2^{-s-1} u`, with s = 53 less the bits of the number
of entries: :math:`2^{-61}` of the largest entry for 2000 spins.

References
----------
T. Ozaki et al., Numer. Algorithms 59, 95 (2012), doi:10.1007/s11075-011-9478-1.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import scipy  # not scipy.sparse: it takes 0.4 s, and dense models do not need it

from cim_hal.errors import ModelError
from cim_hal.model.conversion import row_blocks
from cim_hal.model.packed import PackedValues
from cim_hal.model.triangle import pieces

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cim_hal.model.conversion import Couplings, CsrArray
    from cim_hal.model.packed import Values

__all__ = [
    "ROUNDING",
    "ExactSums",
    "check_range",
    "exact_sum",
    "largest",
    "magnitude_sum",
]

# Two energies closer than this share of the sum of all magnitudes are equal: sums in float64 made
# in another order, such as those of other programs, differ by a few units of 2^-53.
ROUNDING = 2.0**-50
# The largest magnitude in J and h may be this small: its share of 2^-15 has all digits of a float.
SMALLEST = 1e-300
# The sum of all magnitudes may be this large: a sum of many energies is a float.
LARGEST = 1e303
BLOCK = 128  # rows of J at a time: their two parts stay in the cache
KEPT_BYTES = 64 * 1024**2  # parts of J are kept for the next call, if they take less


@dataclass(eq=False)
class ExactSums:
    """The exact sums over spins of one model."""

    J: Couplings
    h: NDArray[np.float64]

    def __post_init__(self) -> None:
        values = self.J if isinstance(self.J, np.ndarray) else self.J.data
        n_bits = int(np.count_nonzero(values) + np.count_nonzero(self.h)).bit_length()
        self._exponent = math.frexp(max(largest(values), largest(self.h)))[1]
        unit = math.ldexp(1.0, n_bits - 52)  # in multiples of 2^exponent, the largest entry
        self._units = unit, math.ldexp(unit, n_bits - 53)
        self._kept: list[_Part] | None = None

    def interaction(self, spins: NDArray[np.float64], *, field: bool = True) -> NDArray[np.float64]:
        r"""Return :math:`\frac12\sigma^T J\sigma + h^T\sigma` for the rows of `spins` (runs, n).

        Without the last term where `field` is false.
        """
        sums = np.zeros((2, len(spins)))
        for at, top, part in self._parts():
            if isinstance(part, np.ndarray):
                here = slice(top, top + len(part))
                sums[at] += np.einsum("rn,rn->r", spins[:, here], spins[:, top:] @ part.T)
            else:
                sums[at] += np.einsum("rn,nr->r", spins, part @ spins.T)
        if field and self.h.any():
            for at, part in self._split(self.h):
                sums[at] += spins @ part
        return np.ldexp(sums[0] * self._units[0] + sums[1] * self._units[1], self._exponent)

    def _parts(self) -> Iterable[_Part]:
        if self._kept is not None:
            return self._kept
        J = self.J
        parts = self._dense(J) if isinstance(J, np.ndarray) else self._sparse(J)
        if (8 * J.size if isinstance(J, np.ndarray) else 12 * J.nnz) > KEPT_BYTES:
            return parts
        self._kept = list(parts)
        return self._kept

    def _dense(self, J: NDArray[Any]) -> Iterator[_Part]:
        for top in range(0, len(J), BLOCK):  # above the diagonal: half the work
            rows = J[top : top + BLOCK, top:].copy()
            rows[:, : len(rows)] = np.triu(rows[:, : len(rows)], 1)
            for at, part in self._split(rows):
                yield at, top, part

    def _sparse(self, J: CsrArray) -> Iterator[_Part]:
        upper = scipy.sparse.csr_array(scipy.sparse.triu(J, 1))
        for at, part in self._split(np.asarray(upper.data)):
            yield at, 0, scipy.sparse.csr_array((part, upper.indices, upper.indptr), shape=J.shape)

    def _split(self, values: NDArray[Any]) -> Iterator[tuple[int, NDArray[np.float64]]]:
        """Yield the integers of the first part, and those of the second where there are any."""
        return _split(values * math.ldexp(1.0, -self._exponent), self._units)


# Which of the two units, the first row, and a block of the upper triangle.
_Part: TypeAlias = "tuple[int, int, NDArray[np.float64] | CsrArray]"


def check_range(values: Values, h: NDArray[Any], offset: float = 0.0, *, name: str = "J") -> None:
    """Raise a `ModelError` if numbers, which are finite, are too large or small to compute with.

    Where only a part of all is `SMALLEST` or less it is fine: it is far below the rounding.
    """
    peak = max(largest(values), largest(h))
    if 0 < peak < SMALLEST:
        raise ModelError(
            f"the largest magnitude in {name} and h is {peak:g}",
            hint=f"it must be 0 or at least {SMALLEST:g}: choose another unit",
        )
    if max(peak, abs(offset)) * (values.size + h.size + 1) <= LARGEST:
        return
    with np.errstate(over="ignore"):
        total = magnitude_sum(np.asarray(values)) + np.abs(h).sum(dtype=np.float64)
    if not total + abs(offset) <= LARGEST:
        raise ModelError(
            f"the magnitudes of {name}, h and the offset sum up to {total + abs(offset):g}",
            hint=f"at most {LARGEST:g}: energies would overflow",
        )


def exact_sum(pieces: Iterable[tuple[int, NDArray[np.float64]]], most: int) -> float:
    """Return the sum of integer weights times `values`, at most `most` numbers from 0 to 1.

    It does not depend on their order, nor on the zeros among them.
    """
    n_bits = most.bit_length()
    units = math.ldexp(1.0, n_bits - 52), math.ldexp(1.0, 2 * n_bits - 105)
    sums = [0.0, 0.0]
    for weight, values in pieces:
        for at, part in _split(values, units):
            sums[at] += weight * float(part.sum())
    return sums[0] * units[0] + sums[1] * units[1]


def _split(
    values: NDArray[np.float64], units: tuple[float, float]
) -> Iterator[tuple[int, NDArray[np.float64]]]:
    """Yield integers of the first unit, and those of the second where there are any."""
    left = values
    for at, unit in enumerate(units):
        scaled = left * (1.0 / unit)  # powers of two: exact
        part = np.rint(scaled)
        if at == 0 or part.any():
            yield at, part
        left = np.multiply(scaled - part, unit, out=scaled)


def largest(values: Values) -> float:
    """Return the largest magnitude; NaN if one is."""
    if isinstance(values, PackedValues):
        return float(any(piece.any() for piece in pieces(values)))
    return max(float(values.max(initial=0)), -float(values.min(initial=0)))


def magnitude_sum(values: NDArray[Any]) -> float:
    """Return the sum of all magnitudes; integers are not added in their own type."""
    if values.dtype.kind == "f":
        return float(np.abs(values).sum(dtype=np.float64))
    return float(sum(np.abs(values[some], dtype=np.float64).sum() for some in row_blocks(values)))
