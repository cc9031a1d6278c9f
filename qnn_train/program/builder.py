"""The named bits and the constraints of a program, collected sample after sample."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import gcd, prod
from typing import Literal, NamedTuple, Self

import numpy as np
import scipy.sparse as sp

from cim_hal.model.conversion import CsrArray, csr
from qnn_train.arguments import as_bits
from qnn_train.arrays import ArrayLike, BitArray, FloatArray, IntArray
from qnn_train.errors import AssemblyError
from qnn_train.network import (
    Architecture,
    BitEncoding,
    Grid,
    Layer,
    ParameterCode,
    Segment,
    Spline,
    margin_grid,
    propagate,
    shortest_encoding,
)
from qnn_train.program.loss import Loss

__all__ = [
    "Activation",
    "Affine",
    "Block",
    "Builder",
    "PlacedEncoding",
    "Reduction",
    "VariableTable",
    "only_line",
    "stack",
]


@dataclass(frozen=True)
class Block:
    """Consecutive bits under one name."""

    name: str  # such as ``"weight/0"`` (shared by all samples) or ``"sample/3/sign/0"``
    start: int  # where it begins in the vector of all bits
    shape: tuple[int, ...]  # its shape, in row-major order

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
            A block is missing, unknown, of another shape, or not of bits.
        """
        if values.keys() != self.blocks.keys():
            odd = sorted(values.keys() ^ self.blocks.keys())
            raise AssemblyError(f"the blocks {odd} are missing or unknown")
        bits = np.empty(self.n_bits, dtype=np.int8)
        for name, block in self.blocks.items():
            array = np.asarray(values[name])
            if array.shape != block.shape:
                raise AssemblyError(f"{name!r} has shape {array.shape}, not {block.shape}")
            bits[block.indices] = as_bits(name, array)
        return bits

    def decode(self, bits: ArrayLike) -> dict[str, BitArray]:
        """Return every block of bits of shape (..., n_bits), each of shape (..., *block.shape)."""
        vector = np.asarray(bits, dtype=np.int8)
        return {name: vector[..., block.indices] for name, block in self.blocks.items()}


@dataclass
class Affine:
    r"""The function :math:`c_0 + \sum_k c_k x_k`."""

    constant: float = 0
    # coefficient of each bit, by its position
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
        """Return this function of integers divided by what all share with `divisor`.

        Activations under Σβ = 1 have their values as coefficients, which need not be multiples of
        the resolution of a sum: -3, -1, 3 have the resolution 2.

        Raises
        ------
        AssemblyError
            A number that is no integer.
        """
        numbers = (self.constant, *self.terms.values())
        if any(number != int(number) for number in numbers):
            raise AssemblyError("an equality of integers with a number that is none")
        shared = gcd(divisor, *map(int, numbers))
        terms = {bit: c // shared for bit, c in self.terms.items()}
        return Affine(self.constant // shared, terms)


def stack(functions: Sequence[Affine], n_bits: int) -> tuple[CsrArray, FloatArray]:
    """Return ``A`` (m, n_bits) and ``c`` (m,) with the values of the functions ``A @ x + c``."""
    rows = np.repeat(np.arange(len(functions)), [len(f.terms) for f in functions])
    columns = np.array([bit for f in functions for bit in f.terms], dtype=np.int64)
    values = np.array([c for f in functions for c in f.terms.values()], dtype=np.float64)
    shape = (len(functions), n_bits)
    matrix = sp.csr_array(sp.coo_array((values, (rows, columns)), shape=shape))
    matrix.eliminate_zeros()
    return csr(matrix), np.array([f.constant for f in functions], dtype=np.float64)


Reduction = Literal["rosenberg", "one-hot"]


@dataclass(frozen=True, eq=False)
class PlacedEncoding:
    """Where an encoding lies in the vector of all bits, and what it says."""

    encoding: BitEncoding
    bits: IntArray  # shape (neurons, encoding.n_bits)
    sample: int
    layer: int | None  # of the pre-activations it writes; None for a margin
    output: int = 0  # which margin, where `layer` is None


class Activation(NamedTuple):
    """A constant plus bits with coefficients, the first `one_hot` of them under Σβ = 1."""

    constant: float
    bits: tuple[int, ...] = ()
    coefficients: tuple[float, ...] = ()
    one_hot: int = 0

    @classmethod
    def of(cls, encoding: BitEncoding, bits: Sequence[int], reduction: Reduction) -> Activation:
        """Return the spline at the value that `encoding` writes in `bits`."""
        one_hot = encoding.n_indicators if encoding.one_hot and reduction == "one-hot" else 0
        constant, coefficients = encoding.function(reference=not one_hot)
        used = [p for p, c in enumerate(coefficients) if p < one_hot or c != 0]
        return cls(
            constant, tuple(bits[p] for p in used), tuple(coefficients[p] for p in used), one_hot
        )

    def affine(self) -> Affine:
        """Return it as an affine function."""
        return Affine(self.constant, dict(zip(self.bits, self.coefficients, strict=True)))


class Builder:
    """Collects variables, constraints and the loss.

    Parameters
    ----------
    architecture : Architecture
    reduction : {"rosenberg", "one-hot"}
        How products of a weight bit and the indicators of three or more segments are made linear.
    """

    def __init__(self, architecture: Architecture, reduction: Reduction) -> None:
        self.architecture = architecture
        self.reduction: Reduction = reduction
        self.variables = VariableTable()
        self.encodings: list[PlacedEncoding] = []
        self.equalities: list[Affine] = []
        self.products: list[tuple[int, int, int]] = []
        self.gates: list[tuple[int, int, int]] = []
        self.derived: list[tuple[int, int, int]] = []
        self.loss = Affine()
        self._weights: list[IntArray] = []
        self._biases: list[IntArray] = []
        for index, layer in enumerate(architecture.layers):
            shape = (layer.outputs, layer.inputs)
            self._weights.append(self._parameters(f"weight/{index}", layer.weights, shape))
            self._biases.append(self._parameters(f"bias/{index}", layer.biases, shape[:1]))

    def margins(self, sample: int, features: IntArray) -> tuple[list[Affine], Grid]:
        """Add what belongs to one sample; return its margins and what they reach."""
        activations = [Activation(value) for value in features.tolist()]
        grids = propagate(self.architecture, features.tolist())
        for index, layer in enumerate(self.architecture.hidden):
            sums = self._sums(sample, index, activations)
            encoding = shortest_encoding(layer.activation, grids[index])
            name = f"sample/{sample}/{{}}/{index}"
            bits = self._write(encoding, sums, name)
            self.encodings.append(PlacedEncoding(encoding, bits, sample, index))
            activations = [Activation.of(encoding, row, self.reduction) for row in bits.tolist()]
        reached = margin_grid(self.architecture, grids)
        if self.architecture.readout is not None:
            return self._sums(sample, len(self.architecture.hidden), activations), reached
        total = Affine()
        for activation in activations:
            total.accumulate(activation.affine())
        return [total], reached

    def add_loss(
        self, loss: Loss, sample: int, margins: list[Affine], grid: Grid, labels: list[int]
    ) -> None:
        """Add a loss that needs to know in which interval each margin lies."""
        for output, (margin, label) in enumerate(zip(margins, labels, strict=True)):
            spline = loss.spline(grid, label)
            if (line := only_line(spline, grid)) is not None:
                self.loss.constant += line.intercept
                self.loss.accumulate(margin, times=line.slope)
                continue
            encoding = shortest_encoding(spline, grid)
            bits = self._write(encoding, [margin], f"sample/{sample}/{{}}/margin/{output}")
            self.encodings.append(PlacedEncoding(encoding, bits, sample, None, output))
            value = Activation.of(encoding, bits[0].tolist(), "rosenberg")
            self.loss.accumulate(value.affine())

    def _parameters(self, name: str, code: ParameterCode, shape: tuple[int, ...]) -> IntArray:
        indices = self.variables.block(name, (*shape, code.bits)).indices
        if code.one_hot:
            self.equalities += [
                _exactly_one(encoding) for encoding in indices.reshape(-1, code.bits).tolist()
            ]
        return indices

    def _write(self, encoding: BitEncoding, sums: list[Affine], name: str) -> IntArray:
        """Encode each sum, and require equality; return the bits, (sums, encoding.n_bits)."""
        parts = [np.zeros((len(sums), 0), dtype=np.int64)]
        for kind, size in (("segment", encoding.n_indicators), ("slack", encoding.slack_bits)):
            if size:
                block = self.variables.block(name.format(kind), (len(sums), size))
                parts.append(block.indices)
        bits = np.concatenate(parts, axis=1)
        equalities, gates = encoding.equalities(), encoding.gates
        for total, row in zip(sums, bits.tolist(), strict=True):
            if encoding.one_hot:
                self.equalities.append(_exactly_one(row[: encoding.n_indicators]))
            for written in equalities:
                difference = Affine(-written.constant).accumulate(total)
                for coefficient, bit in zip(written.coefficients, row, strict=True):
                    difference.add(-coefficient, bit)
                self.equalities.append(difference.over(encoding.step))
            self.gates += [(row[g.slack], row[g.indicator], g.opens) for g in gates]
        return bits

    def _sums(self, sample: int, index: int, activations: list[Activation]) -> list[Affine]:
        layer = self.architecture.layers[index]
        weights, biases = self._weights[index], self._biases[index]
        shape = (*weights.shape, len(activations[0].bits))
        products = np.zeros(shape, dtype=np.int64)
        if shape[-1]:
            products = self.variables.block(f"sample/{sample}/product/{index}", shape).indices
        of_offsets = Affine(layer.biases.offset)
        for activation in activations:
            of_offsets.accumulate(activation.affine(), times=layer.weights.offset)
        sums = []
        for output in range(layer.outputs):
            total = Affine(of_offsets.constant, dict(of_offsets.terms))
            for c, bit in zip(layer.biases.coefficients, biases[output].tolist(), strict=True):
                total.add(c, bit)
            for activation, bits, made in zip(
                activations, weights[output].tolist(), products[output].tolist(), strict=True
            ):
                self._multiply(total, layer, activation, bits, made)
            sums.append(total)
        return sums

    def _multiply(
        self,
        total: Affine,
        layer: Layer,
        activation: Activation,
        weight_bits: list[int],
        products: list[list[int]],
    ) -> None:
        """Add Σ_p c_p u_p a to `total`."""
        for c, u, made in zip(layer.weights.coefficients, weight_bits, products, strict=True):
            total.add(c * activation.constant, u)
            for value, product in zip(activation.coefficients, made, strict=True):
                total.add(c * value, product)
            self._tie(u, activation, made)

    def _tie(self, u: int, activation: Activation, products: list[int]) -> None:
        """Make each product that of `u` and a bit of the activation."""
        triples = [(u, bit, y) for bit, y in zip(activation.bits, products, strict=True)]
        self.derived += triples
        self.products += triples[activation.one_hot :]
        if activation.one_hot:  # Σ_i y_i = u and y_i ≤ β_i
            of_indicators = products[: activation.one_hot]
            self.equalities.append(Affine(0, {**dict.fromkeys(of_indicators, 1), u: -1}))
            self.gates += [(y, beta, 1) for _, beta, y in triples[: activation.one_hot]]


def only_line(spline: Spline, grid: Grid) -> Segment | None:
    """Return the one segment that `grid` reaches, or None: a loss on one line needs no bit."""
    segments = grid.segments(spline)
    return segments[0] if len(segments) == 1 else None


def _exactly_one(bits: Sequence[int]) -> Affine:
    return Affine(-1, dict.fromkeys(bits, 1))
