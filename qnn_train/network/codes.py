r"""Codes: integers as affine functions of bits.

.. math:: w = w_0 + \sum_p c_p\,u_p, \qquad u_p \in \{0, 1\}

binary
    :math:`2u - 1`, the values -1 and +1.
ternary
    :math:`u_1 + u_2 - 1`, the values -1, 0 and +1; zero has two codes.
B bits
    :math:`2\sum_p 2^p u_p - (2^B - 1)`, the odd integers from :math:`1 - 2^B` to
    :math:`2^B - 1`; one bit is binary. Symmetric, so that no sign is favoured.
range
    :math:`w_0 + d\sum_{p<B} 2^p u_p`: any equally spaced values, such as 0 and 1.
codebook
    :math:`\sum_r c_r u_r` under the equality :math:`\sum_r u_r = 1`: any values, one bit each.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from math import gcd

import numpy as np

from cim_hal.text import counted
from qnn_train.arguments import as_bits, check_whole, checked
from qnn_train.arrays import ArrayLike, BitArray, IntArray
from qnn_train.errors import AssemblyError

__all__ = [
    "MAX_BITS",
    "ParameterCode",
    "bias_code",
    "codebook",
    "parameter_code",
    "range_code",
    "weight_code",
]

MAX_BITS = 8
MAX_CODEBOOK = 16
KINDS = f"binary, ternary, 1bit to {MAX_BITS}bit, range(first,step,bits) or codebook(a,b,...)"


@checked
@dataclass(frozen=True)
class ParameterCode:
    """An integer parameter written in bits.

    Parameters
    ----------
    name : str
        What `parameter_code` makes this code of: ``"binary"``, ``"3bit"``, ``"codebook(-4,0,1)"``,
        or ``"none"`` for a parameter fixed at 0.
    offset : int
        Value with all bits 0.
    coefficients : tuple of int
        Value of each bit.
    one_hot : bool
        Whether exactly one bit is 1.

    Examples
    --------
    >>> weight_code("ternary").decode([[0, 0], [0, 1], [1, 1]])
    array([-1,  0,  1])
    """

    name: str
    offset: int
    coefficients: tuple[int, ...]
    one_hot: bool = False

    @property
    def bits(self) -> int:
        """Bits of one parameter in the program."""
        return len(self.coefficients)

    @property
    def storage_bits(self) -> int:
        """Bits that tell its values apart, for a codebook the length of an index."""
        return (len(self.values) - 1).bit_length()

    @cached_property
    def values(self) -> tuple[int, ...]:
        """All values, ascending."""
        return tuple(sorted({self._value(word) for word in self._words()}))

    @property
    def step(self) -> int:
        """Greatest common divisor of the distances between values; 0 for a single value."""
        return gcd(*(value - self.values[0] for value in self.values))

    def times(self, factor: int) -> ParameterCode:
        """Return the code of `factor` times the values: a bias beside finer activations.

        Raises
        ------
        AssemblyError
            `factor` is not positive.
        """
        if factor < 1:
            raise AssemblyError(f"a code times {factor}", hint="a positive integer")
        if factor == 1 or not self.bits:
            return self
        base, _, before = self.name.partition("*")
        coefficients = tuple(factor * c for c in self.coefficients)
        name = f"{base}*{factor * int(before or 1)}"
        return ParameterCode(name, factor * self.offset, coefficients, self.one_hot)

    def decode(self, bits: ArrayLike) -> IntArray:
        """Return the values of bits of shape (..., B); int64, shape (...).

        A word of a codebook in which not exactly one bit is 1 counts as the value next to its
        sum, so that every sample of a machine is a network.

        Raises
        ------
        AssemblyError
            Numbers other than 0 and 1.
        """
        words = as_bits("bits", bits).astype(np.int64)
        sums = words @ np.array(self.coefficients, dtype=np.int64) + self.offset
        if not self.one_hot:
            return sums
        values = np.array(self.values)
        return values[np.abs(sums[..., None] - values).argmin(axis=-1)]

    def encode(self, values: ArrayLike) -> BitArray:
        """Return bits (..., B), int8, of values (...); the first word where several would do.

        Raises
        ------
        AssemblyError
            A value the code does not have.
        """
        given = np.asarray(values)
        check_whole("values", given)
        wanted = given.astype(np.int64)
        every = list(self._words())
        words = np.array(every, dtype=np.int8).reshape(len(every), self.bits)
        values, first = np.unique(self.decode(words), return_index=True)
        at = np.searchsorted(values, wanted).clip(max=len(values) - 1)
        if not (values[at] == wanted).all():
            raise AssemblyError(f"a value is not of the {self.name} code", hint=f"{self.values}")
        return words[first[at]]

    def _words(self) -> Iterable[tuple[int, ...]]:
        if self.one_hot:
            return [tuple(int(r == s) for s in range(self.bits)) for r in range(self.bits)]
        return product((0, 1), repeat=self.bits)

    def _value(self, word: tuple[int, ...]) -> int:
        return self.offset + sum(c * u for c, u in zip(self.coefficients, word, strict=True))


@checked
def parameter_code(name: str) -> ParameterCode:
    """Return the code of a name.

    The names are ``"none"``, ``"binary"``, ``"ternary"``, ``"<B>bit"``,
    ``"range(first,step,bits)"`` and ``"codebook(a,b,...)"``, each perhaps with ``"*k"`` behind it
    for k times its values.

    Raises
    ------
    AssemblyError
        No such code.

    Examples
    --------
    >>> parameter_code("range(0,1,2)").values, parameter_code("2bit*5").values
    ((0, 1, 2, 3), (-15, -5, 5, 15))
    """
    base, _, factor = name.partition("*")
    if factor and not re.fullmatch(r"[1-9]\d{0,5}", factor):
        raise AssemblyError(f"no code of the kind {name!r}", hint=KINDS)
    return _base_code(base, name).times(int(factor or 1))


@checked
def weight_code(name: str) -> ParameterCode:
    """Return the code of weights, any of `parameter_code` but ``"none"``.

    Raises
    ------
    AssemblyError
        No such code.
    """
    if name == "none":
        raise AssemblyError("no weights of the kind 'none'", hint=KINDS)
    return parameter_code(name)


@checked
def bias_code(bits: int) -> ParameterCode:
    """Return the code of odd integers in `bits` bits; 0 bits fix the parameter at 0.

    Raises
    ------
    AssemblyError
        Fewer than 0 or more than ``MAX_BITS`` bits.
    """
    _check_bits(bits)
    if bits == 0:
        return ParameterCode("none", 0, ())
    return ParameterCode(f"{bits}bit", 1 - 2**bits, tuple(2 ** (p + 1) for p in range(bits)))


@checked
def range_code(first: int, step: int, bits: int) -> ParameterCode:
    """Return the code of first, first + step, ..., 2^bits values.

    Raises
    ------
    AssemblyError
        A step below 1, or a number of bits outside 1 to ``MAX_BITS``.
    """
    _check_bits(bits)
    if step < 1 or bits == 0:
        raise AssemblyError(
            f"a range of {counted(bits, 'bit')} with step {step}", hint="both at least 1"
        )
    coefficients = tuple(step * 2**p for p in range(bits))
    return ParameterCode(f"range({first},{step},{bits})", first, coefficients)


@checked
def codebook(values: Iterable[int]) -> ParameterCode:
    """Return the one-hot code of any different values.

    Raises
    ------
    AssemblyError
        Fewer than 2 or more than 16 values, or one that stands twice.
    """
    entries = tuple(values)
    if not 2 <= len(set(entries)) == len(entries) <= MAX_CODEBOOK:
        raise AssemblyError(
            f"a codebook of {entries}", hint=f"2 to {MAX_CODEBOOK} different values"
        )
    return ParameterCode(f"codebook({','.join(map(str, entries))})", 0, entries, one_hot=True)


def _base_code(base: str, name: str) -> ParameterCode:
    if base == "none":
        return bias_code(0)
    if base == "binary":
        return ParameterCode("binary", -1, (2,))
    if base == "ternary":
        return ParameterCode("ternary", -1, (1, 1))
    if number := re.fullmatch(rf"([1-{MAX_BITS}])-?bit", base):
        return bias_code(int(number[1]))
    if numbers := re.fullmatch(r"(range|codebook)\((-?\d{1,6}(?:,-?\d{1,6})*)\)", base):
        entries = [int(entry) for entry in numbers[2].split(",")]
        if numbers[1] == "codebook":
            return codebook(entries)
        if len(entries) == 3:
            return range_code(*entries)
    raise AssemblyError(f"no weights of the kind {name!r}", hint=KINDS)


def _check_bits(bits: int) -> None:
    if not 0 <= bits <= MAX_BITS:
        raise AssemblyError(f"a code of {counted(bits, 'bit')}", hint=f"0 to {MAX_BITS}")
