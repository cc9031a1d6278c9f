r"""Codes: integers as affine functions of bits.

.. math:: w = w_0 + \sum_p c_p\,u_p, \qquad u_p \in \{0, 1\}

binary
    :math:`2u - 1`, the values -1 and +1.
ternary
    :math:`u_1 + u_2 - 1`, the values -1, 0 and +1; zero has two codes.
B bits
    :math:`2\sum_p 2^p u_p - (2^B - 1)`, the odd integers from :math:`1 - 2^B` to
    :math:`2^B - 1`; one bit is binary. Symmetric, so that no sign is favoured.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import product
from math import gcd
from typing import TYPE_CHECKING

import numpy as np

from qnn_train.errors import AssemblyError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = ["MAX_BITS", "ParameterCode", "bias_code", "weight_code"]

MAX_BITS = 8


@dataclass(frozen=True)
class ParameterCode:
    """An integer parameter written in bits.

    Parameters
    ----------
    name : str
        ``"binary"``, ``"ternary"``, ``"3bit"``, ..., or ``"none"`` for a parameter fixed at 0.
    offset : int
        Value with all bits 0.
    coefficients : tuple of int
        Value of each bit.

    Examples
    --------
    >>> weight_code("ternary").decode([[0, 0], [0, 1], [1, 1]])
    array([-1,  0,  1])
    """

    name: str
    offset: int
    coefficients: tuple[int, ...]

    @property
    def bits(self) -> int:
        """Bits of one parameter."""
        return len(self.coefficients)

    @property
    def values(self) -> tuple[int, ...]:
        """All values, ascending."""
        return tuple(sorted({self._value(word) for word in self._words()}))

    @property
    def step(self) -> int:
        """Greatest common divisor of the distances between values; 0 for a single value."""
        return gcd(*self.coefficients) if self.coefficients else 0

    def decode(self, bits: ArrayLike) -> NDArray[np.int64]:
        """Return the values of bits of shape (..., B); int64, shape (...)."""
        words = np.asarray(bits, dtype=np.int64)
        return words @ np.array(self.coefficients, dtype=np.int64) + self.offset

    def encode(self, values: ArrayLike) -> NDArray[np.int8]:
        """Return bits (..., B), int8, of values (...); the first word where several would do.

        Raises
        ------
        AssemblyError
            A value the code does not have.
        """
        wanted = np.asarray(values, dtype=np.int64)
        words = np.array(list(self._words()), dtype=np.int8).reshape(2**self.bits, self.bits)
        matches = wanted[..., None] == self.decode(words)
        if not matches.any(axis=-1).all():
            raise AssemblyError(f"a value is not of the {self.name} code", hint=f"{self.values}")
        return words[matches.argmax(axis=-1)]

    def _words(self) -> product[tuple[int, ...]]:
        return product((0, 1), repeat=self.bits)

    def _value(self, word: tuple[int, ...]) -> int:
        return self.offset + sum(c * u for c, u in zip(self.coefficients, word, strict=True))


def weight_code(name: str) -> ParameterCode:
    """Return the code ``"binary"``, ``"ternary"`` or ``"<B>bit"``.

    Raises
    ------
    AssemblyError
        No such code.
    """
    if name == "binary":
        return ParameterCode("binary", -1, (2,))
    if name == "ternary":
        return ParameterCode("ternary", -1, (1, 1))
    number = re.fullmatch(r"(\d{1,2})-?bit", name)
    if number is None or not 1 <= int(number[1]) <= MAX_BITS:
        raise AssemblyError(
            f"no weights of the kind {name!r}", hint=f"binary, ternary, or 1bit to {MAX_BITS}bit"
        )
    return bias_code(int(number[1]))


def bias_code(bits: int) -> ParameterCode:
    """Return the code of odd integers in `bits` bits; 0 bits fix the parameter at 0.

    Raises
    ------
    AssemblyError
        Fewer than 0 or more than `MAX_BITS` bits.
    """
    if not 0 <= bits <= MAX_BITS:
        raise AssemblyError(f"a code of {bits} bits", hint=f"0 to {MAX_BITS}")
    if bits == 0:
        return ParameterCode("none", 0, ())
    return ParameterCode(f"{bits}bit", 1 - 2**bits, tuple(2 ** (p + 1) for p in range(bits)))
