"""Names for the bits of a program: blocks in one long vector."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import prod
from typing import TYPE_CHECKING, Self

import numpy as np
import scipy.sparse as sp

from qnn_train.errors import AssemblyError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from qnn_train.arrays import ArrayLike, BitArray, FloatArray, IntArray


__all__ = ["Affine", "Block", "VariableTable", "stack"]


@dataclass(frozen=True)
class Block:
    """Consecutive bits under one name.

    Attributes
    ----------
    name : str
        Such as ``"weight/0"`` (shared by all samples) or ``"sample/3/sign/0"``.
    start : int
        Where it begins in the vector of all bits.
    shape : tuple of int
        Its shape, in row-major order.
    """

    name: str
    start: int
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        """Number of bits."""
        return prod(self.shape)

    @property
    def indices(self) -> IntArray:
        """Position of each bit; int64, of the block's shape."""
        return np.arange(self.start, self.start + self.size).reshape(self.shape)


@dataclass
class VariableTable:
    """The blocks of a program, in order.

    Examples
    --------
    >>> table = VariableTable()
    >>> _ = table.block("weight", (2,)), table.block("sign", ())
    >>> table.encode({"weight": [1, 0], "sign": 1})
    array([1, 0, 1], dtype=int8)
    """

    blocks: dict[str, Block] = field(default_factory=dict)
    n_bits: int = 0

    def block(self, name: str, shape: tuple[int, ...]) -> Block:
        """Append a block.

        Raises
        ------
        AssemblyError
            The name is taken.
        """
        if name in self.blocks:
            raise AssemblyError(f"the block {name!r} stands twice in the table")
        added = Block(name, self.n_bits, shape)
        self.blocks[name] = added
        self.n_bits += added.size
        return added

    def encode(self, values: Mapping[str, ArrayLike]) -> BitArray:
        """Return the vector of all bits, int8, shape (n_bits,).

        Raises
        ------
        AssemblyError
            A block is missing, unknown, or of another shape.
        """
        if values.keys() != self.blocks.keys():
            odd = sorted(values.keys() ^ self.blocks.keys())
            raise AssemblyError(f"the blocks {odd} are missing or unknown")
        bits = np.empty(self.n_bits, dtype=np.int8)
        for name, block in self.blocks.items():
            array = np.asarray(values[name])
            if array.shape != block.shape:
                raise AssemblyError(f"{name!r} has shape {array.shape}, not {block.shape}")
            bits[block.indices] = array
        return bits

    def decode(self, bits: ArrayLike) -> dict[str, BitArray]:
        """Return every block of bits of shape (..., n_bits), each of shape (..., *block.shape)."""
        vector = np.asarray(bits, dtype=np.int8)
        return {name: vector[..., block.indices] for name, block in self.blocks.items()}


@dataclass
class Affine:
    r"""The function :math:`c_0 + \sum_k c_k x_k`.

    Parameters
    ----------
    constant : float
    terms : dict
        Coefficient of each bit, by its position.
    """

    constant: float = 0
    terms: dict[int, float] = field(default_factory=dict)

    def add(self, coefficient: float, bit: int) -> Self:
        """Add ``coefficient * x[bit]`` in place."""
        self.terms[bit] = self.terms.get(bit, 0) + coefficient
        return self

    def accumulate(self, other: Affine, *, times: float = 1) -> Self:
        """Add ``times * other`` in place."""
        self.constant += times * other.constant
        for bit, coefficient in other.terms.items():
            self.add(times * coefficient, bit)
        return self

    def over(self, divisor: int) -> Affine:
        """Return this function of integers divided by a common divisor, again of integers."""
        terms = {bit: c // divisor for bit, c in self.terms.items()}
        return Affine(self.constant // divisor, terms)


def stack(functions: Sequence[Affine], n_bits: int) -> tuple[sp.csr_array, FloatArray]:
    """Return ``A`` (m, n_bits) and ``c`` (m,) with the values of the functions ``A @ x + c``."""
    rows = np.repeat(np.arange(len(functions)), [len(f.terms) for f in functions])
    columns = np.array([bit for f in functions for bit in f.terms], dtype=np.int64)
    values = np.array([c for f in functions for c in f.terms.values()], dtype=np.float64)
    shape = (len(functions), n_bits)
    matrix = sp.csr_array(sp.coo_array((values, (rows, columns)), shape=shape))
    matrix.eliminate_zeros()
    return matrix, np.array([f.constant for f in functions], dtype=np.float64)
