r"""From a network, samples and labels to a program.

Bits of the parameters are shared by all samples. Each sample adds, per sign neuron, one spin
:math:`\beta` for the interval its pre-activation lies in and the slack word r of `SignWord`, and
one equality: the affine sum equals the word. From the second trained layer on, a weight bit u
meets an activation :math:`2\beta - 1`; their product is a bit y of its own, so that sums stay
affine. The loss is :math:`\sum_s (m_s - \tau y_s)^2`, with :math:`m_s` the margin, which is affine.

The scheme (intervals, indicators, order reduction) is that of arXiv:2506.18240 as far as its
abstract tells; the encoding of intervals and the loss are our choice.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from qnn_train.errors import AssemblyError
from qnn_train.network import QuantizedNetwork, SignWord, propagate
from qnn_train.program.affine import Affine, stack
from qnn_train.program.constraints import LinearConstraints, Products
from qnn_train.program.least_squares import squared_norm
from qnn_train.program.qcbo import Qcbo
from qnn_train.program.variables import VariableTable

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from qnn_train.network import Architecture, Grid

__all__ = ["Assembly", "assemble", "spins_needed"]


@dataclass(frozen=True, eq=False)
class Assembly:
    """A program and what its bits mean.

    Attributes
    ----------
    qcbo : Qcbo
    variables : VariableTable
        ``weight/l`` and ``bias/l`` of trained layer l; ``sample/s/sign/l``, ``sample/s/slack/l``
        and ``sample/s/product/l`` of sample s.
    architecture : Architecture
    inputs : int64 array, shape (samples, n_inputs)
    labels : int64 array, shape (samples,)
        Values -1 and +1.
    """

    qcbo: Qcbo
    variables: VariableTable
    architecture: Architecture
    inputs: NDArray[np.int64]
    labels: NDArray[np.int64]

    def parameters(self, x: ArrayLike) -> NDArray[np.int8]:
        """Return the parameter bits of all bits (..., n); they come first."""
        return np.asarray(x, dtype=np.int8)[..., : self.architecture.n_bits]

    def complete(self, parameters: ArrayLike) -> NDArray[np.int8]:
        """Return the one feasible x with these parameter bits (n_bits,), by the forward pass."""
        bits = np.asarray(parameters, dtype=np.int8)
        x = np.zeros(self.variables.n_bits, dtype=np.int8)
        x[: len(bits)] = bits
        sums = QuantizedNetwork.from_bits(self.architecture, bits).forward(self.inputs)
        for sample, features in enumerate(self.inputs):
            for layer, grid in enumerate(propagate(self.architecture, features)):
                self._complete_layer(x, sample, layer, grid, sums[layer][sample])
        return x

    def _complete_layer(
        self,
        x: NDArray[np.int8],
        sample: int,
        layer: int,
        grid: Grid,
        sums: NDArray[np.float32],
    ) -> None:
        blocks = self.variables.blocks
        product = blocks.get(f"sample/{sample}/product/{layer}")
        if product is not None:
            before = x[blocks[f"sample/{sample}/sign/{layer - 1}"].indices]
            x[product.indices] = x[blocks[f"weight/{layer}"].indices] * before[None, :, None]
        signs = blocks.get(f"sample/{sample}/sign/{layer}")
        if signs is None:
            return
        word = SignWord.of(grid)
        within = (sums.astype(np.int64) - word.threshold) // word.step
        x[signs.indices] = sums >= 0
        slack = blocks[f"sample/{sample}/slack/{layer}"].indices
        x[slack] = (within[:, None] >> np.arange(word.slack_bits)) & 1


def assemble(
    architecture: Architecture, inputs: ArrayLike, labels: ArrayLike, *, target: float
) -> Assembly:
    """State the training of `architecture` as a program.

    Parameters
    ----------
    inputs : integer array, shape (samples, n_inputs)
        Features, as a rule -1 and +1.
    labels : integer array, shape (samples,)
        Values -1 and +1.
    target : float
        Margin τ that a sample should have on the side of its label.

    Raises
    ------
    AssemblyError
        Shapes that differ, inputs that are no integers, or labels other than -1 and +1.
    """
    samples, signs = _check(architecture, inputs, labels)
    builder = _Builder(architecture)
    margins = [builder.margin(sample, features) for sample, features in enumerate(samples)]
    n_bits = builder.variables.n_bits
    M, offset = stack(margins, n_bits)
    A, constant = stack(builder.equalities, n_bits)
    products = np.array(builder.products, dtype=np.int64).reshape(-1, 3)
    qcbo = Qcbo.from_arrays(
        *squared_norm(M, offset - target * signs),
        equalities=LinearConstraints(A, -constant),
        products=Products(products),
    )
    return Assembly(qcbo, builder.variables, architecture, samples, signs)


def spins_needed(architecture: Architecture, inputs: ArrayLike) -> int:
    """Return the bits of the program `assemble` would make, without making it."""
    spins = architecture.n_bits
    for features in np.asarray(inputs):
        grids = propagate(architecture, features)
        for index, layer in enumerate(architecture.layers):
            if index < len(architecture.hidden) and len(grids[index].signs) == 2:
                spins += layer.outputs * (1 + SignWord.of(grids[index]).slack_bits)
            if index > 0 and len(grids[index - 1].signs) == 2:
                spins += layer.weight_bits
    return spins


def _check(
    architecture: Architecture, inputs: ArrayLike, labels: ArrayLike
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    samples, signs = np.asarray(inputs), np.asarray(labels)
    if samples.ndim != 2 or samples.shape[1] != architecture.n_inputs:
        raise AssemblyError(f"inputs have shape {samples.shape}, not (_, {architecture.n_inputs})")
    if signs.shape != samples.shape[:1] or not len(signs):
        raise AssemblyError(f"labels have shape {signs.shape}, inputs {samples.shape}")
    if not (np.abs(signs) == 1).all():
        raise AssemblyError("labels must be -1 or +1")
    if not (samples == np.rint(samples)).all():
        raise AssemblyError("inputs must be integers")
    return samples.astype(np.int64), signs.astype(np.int64)


class _Builder:
    """Collects variables, equalities and products, sample after sample."""

    def __init__(self, architecture: Architecture) -> None:
        self.architecture = architecture
        self.variables = VariableTable()
        self.equalities: list[Affine] = []
        self.products: list[tuple[int, int, int]] = []
        self._weights: list[NDArray[np.int64]] = []
        self._biases: list[NDArray[np.int64]] = []
        for index, layer in enumerate(architecture.layers):
            shape = (layer.outputs, layer.inputs, layer.weights.bits)
            self._weights.append(self.variables.block(f"weight/{index}", shape).indices)
            shape = (layer.outputs, layer.biases.bits)
            self._biases.append(self.variables.block(f"bias/{index}", shape).indices)

    def margin(self, sample: int, features: NDArray[np.int64]) -> Affine:
        """Add what belongs to one sample; return its margin."""
        activations = [Affine(int(value)) for value in features]
        grids = propagate(self.architecture, features.tolist())
        for layer in range(len(self.architecture.hidden)):
            sums = self._sums(sample, layer, activations)
            activations = self._activations(sample, layer, sums, grids[layer])
        if self.architecture.readout is not None:
            return self._sums(sample, len(self.architecture.hidden), activations)[0]
        total = Affine()
        for activation in activations:
            total.accumulate(activation)
        return total

    def _sums(self, sample: int, index: int, activations: list[Affine]) -> list[Affine]:
        layer = self.architecture.layers[index]
        weights = self._weights[index]
        products = None
        if any(activation.terms for activation in activations):
            name = f"sample/{sample}/product/{index}"
            products = self.variables.block(name, weights.shape).indices
        sums = []
        for output in range(layer.outputs):
            total = Affine(layer.biases.offset)
            for c, bit in zip(layer.biases.coefficients, self._biases[index][output], strict=True):
                total.add(c, int(bit))
            for k, activation in enumerate(activations):
                total.accumulate(activation, times=layer.weights.offset)
                ys = None if products is None else products[output, k]
                self._add_weight_bits(
                    total, layer.weights.coefficients, weights[output, k], activation, ys
                )
            sums.append(total)
        return sums

    def _add_weight_bits(
        self,
        total: Affine,
        coefficients: tuple[int, ...],
        weight_bits: NDArray[np.int64],
        activation: Affine,
        product_bits: NDArray[np.int64] | None,
    ) -> None:
        """Add Σ c_p u_p a, where a is a constant or 2β - 1."""
        for p, (c, bit) in enumerate(zip(coefficients, weight_bits.tolist(), strict=True)):
            total.add(c * activation.constant, bit)
            if product_bits is not None:
                ((beta, slope),) = activation.terms.items()
                product = int(product_bits[p])
                total.add(c * slope, product)
                self.products.append((bit, beta, product))

    def _activations(self, sample: int, index: int, sums: list[Affine], grid: Grid) -> list[Affine]:
        if len(grid.signs) == 1:
            return [Affine(grid.signs[0]) for _ in sums]
        word = SignWord.of(grid)
        signs = self.variables.block(f"sample/{sample}/sign/{index}", (len(sums),)).indices
        shape = (len(sums), word.slack_bits)
        slack = self.variables.block(f"sample/{sample}/slack/{index}", shape).indices
        for total, sign, bits in zip(sums, signs.tolist(), slack.tolist(), strict=True):
            self.equalities.append(_equality(total, word, sign, bits))
        return [Affine(-1, {sign: 2}) for sign in signs.tolist()]


def _equality(total: Affine, word: SignWord, sign: int, slack: list[int]) -> Affine:
    """Return (z - word) / ε, which must be 0; every coefficient is an integer."""
    difference = Affine(word.width - word.threshold).accumulate(total).add(-word.width, sign)
    for value, bit in zip(word.slack_values, slack, strict=True):
        difference.add(-value, bit)
    terms = {bit: c // word.step for bit, c in difference.terms.items()}
    return Affine(difference.constant // word.step, terms)
