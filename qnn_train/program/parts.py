"""A sum of programs that share their first bits: the form of a decomposition."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import scipy.sparse as sp

from qnn_train.errors import AssemblyError
from qnn_train.program.constraints import Gates, LinearConstraints, Products
from qnn_train.program.qcbo import Qcbo

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Parts"]


@dataclass(frozen=True, eq=False)
class Parts:
    r"""Programs :math:`f_s(w, y_s)` with their own copies of the shared bits w.

    Parameters
    ----------
    shared : int
        Number of bits w, which come first in every part.
    programs : tuple of Qcbo

    Raises
    ------
    AssemblyError
        No part, or one with fewer bits than are shared.
    """

    shared: int
    programs: tuple[Qcbo, ...]

    def __post_init__(self) -> None:
        if not self.programs:
            raise AssemblyError("a decomposition without parts")
        if min(program.n_bits for program in self.programs) < self.shared:
            raise AssemblyError(f"a part with fewer bits than the {self.shared} shared ones")

    def __len__(self) -> int:
        return len(self.programs)

    @property
    def n_bits(self) -> int:
        """Bits of all parts, copies of shared ones included."""
        return sum(program.n_bits for program in self.programs)

    def split(self, bits: NDArray[np.int8]) -> list[NDArray[np.int8]]:
        """Cut the bits of all parts (..., n_bits) into those of each."""
        ends = np.cumsum([program.n_bits for program in self.programs])
        return np.split(bits, ends[:-1], axis=-1)

    def joined(self) -> Qcbo:
        """Return the monolithic program: w once, then the private bits of each part."""
        size = self.n_bits - self.shared * (len(self) - 1)
        Q, c, constant = np.zeros((size, size)), np.zeros(size), 0.0
        rows, right, products, gates = [], [], [], []
        start = self.shared
        for program in self.programs:
            private = program.n_bits - self.shared
            places = np.concatenate([np.arange(self.shared), np.arange(start, start + private)])
            Q[np.ix_(places, places)] += program.Q
            c[places] += program.c
            constant += program.constant
            spread = sp.csr_array(
                (np.ones(len(places)), (np.arange(len(places)), places)), (len(places), size)
            )
            rows.append(program.equalities.A @ spread)
            right.append(program.equalities.b)
            products.append(places[program.products.bits])
            gates.append(_moved(program.gates, places))
            start += private
        return Qcbo.from_arrays(
            Q,
            c,
            constant,
            equalities=LinearConstraints(
                sp.csr_array(sp.vstack(rows, format="csr")), np.concatenate(right)
            ),
            products=Products(np.concatenate(products)),
            gates=Gates(np.concatenate(gates)),
        )


def _moved(gates: Gates, places: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.column_stack([places[gates.bits[:, :2]], gates.bits[:, 2]])
