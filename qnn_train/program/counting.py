"""What a program costs: spins, constraints, couplings, range of its numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np

if TYPE_CHECKING:
    from qnn_train.program.assemble import Assembly

__all__ = ["ProgramSize"]


@dataclass(frozen=True)
class ProgramSize:
    """The size of an assembled program.

    Attributes
    ----------
    spins : int
        Bits of the program; a machine without a field needs one more.
    parameter_bits : int
        Those that encode weights and biases.
    bits_per_parameter : float
        Mean over all weights and biases of the bits that encode them.
    equalities, products : int
        Number of constraints.
    couplings : int
        Pairs of bits that the loss or a constraint couples.
    largest_coefficient : float
        Largest number in an equality, relative to the smallest that is not zero.
    """

    spins: int
    parameter_bits: int
    bits_per_parameter: float
    equalities: int
    products: int
    couplings: int
    largest_coefficient: float

    @classmethod
    def of(cls, assembly: Assembly) -> Self:
        """Count."""
        qcbo = assembly.qcbo
        magnitudes = np.abs(qcbo.equalities.A.data)
        return cls(
            spins=qcbo.n_bits,
            parameter_bits=assembly.architecture.n_bits,
            bits_per_parameter=assembly.architecture.bits_per_parameter,
            equalities=len(qcbo.equalities),
            products=len(qcbo.products),
            couplings=_couplings(assembly),
            largest_coefficient=float(magnitudes.max() / magnitudes.min())
            if magnitudes.size
            else 0,
        )


def _couplings(assembly: Assembly) -> int:
    qcbo = assembly.qcbo
    pattern = abs(qcbo.equalities.A)
    coupled = (pattern.T @ pattern).toarray() != 0
    coupled |= qcbo.Q != 0
    first, second, product = qcbo.products.bits.T
    for i, j in ((first, second), (first, product), (second, product)):
        coupled[i, j] = coupled[j, i] = True
    return int(np.triu(coupled, 1).sum())
