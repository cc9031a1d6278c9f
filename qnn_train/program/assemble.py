r"""From a network, samples and labels to a program.

Bits of the parameters are shared by all samples. Each sample adds, for every hidden neuron, the
bits of a `BitEncoding`: in which segment of its activation the pre-activation lies, and where in
it. The activation is then an affine function of bits. From the second trained layer on, a weight
bit u meets a bit of an activation; their product is a bit of its own, so that sums stay affine.

The loss is linear in the bits of another encoding, that of the margin, whatever the loss; the
squared one is quadratic in the margin, which is affine, and needs no encoding. A reward
:math:`-\lambda\,y_s m_s` may draw margins apart where the loss alone leaves ties; ours.

The scheme (intervals, indicators, order reduction, any loss) is that of arXiv:2506.18240 as far as
its abstract tells; the encoding of the encodings is our choice.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import scipy.sparse as sp

from cim_hal.text import counted
from qnn_train.arguments import as_bits, check_whole, checked
from qnn_train.arrays import ArrayLike, BitArray, IntArray
from qnn_train.errors import AssemblyError
from qnn_train.network import Architecture, QuantizedNetwork
from qnn_train.network.network import margin_of
from qnn_train.program.builder import (
    Affine,
    Builder,
    PlacedEncoding,
    Reduction,
    VariableTable,
    stack,
)
from qnn_train.program.loss import Loss, SquaredLoss
from qnn_train.program.qcbo import Gates, LinearConstraints, Parts, Products, Qcbo, squared_norm

__all__ = ["Assembly", "Task", "assemble", "check_samples"]


@dataclass(frozen=True, eq=False)
class Assembly:
    """A program and what its bits mean.

    Attributes
    ----------
    qcbo : Qcbo
    variables : VariableTable
        ``weight/l`` and ``bias/l`` of trained layer l; ``sample/s/product/l``,
        ``sample/s/segment/l`` and ``sample/s/slack/l`` of sample s; ``sample/s/segment/margin/k``
        and ``sample/s/slack/margin/k`` of its output k.
    encodings : tuple of PlacedEncoding
        The segment and slack bits again, with what they say.
    derived : int64 array, shape (k, 3)
        Rows (i, j, y): bit y is bit i times bit j wherever the constraints hold.
    architecture : Architecture
    inputs : int64 array, shape (samples, n_inputs)
    labels : int64 array, shape (samples, outputs)
        Values -1 and +1.
    """

    qcbo: Qcbo
    variables: VariableTable
    encodings: tuple[PlacedEncoding, ...]
    derived: IntArray
    architecture: Architecture
    inputs: IntArray
    labels: IntArray

    def parameters(self, x: ArrayLike) -> BitArray:
        """Return the parameter bits of all bits (..., n); they come first."""
        return as_bits("x", x)[..., : self.architecture.n_bits]

    def complete(self, parameters: ArrayLike) -> BitArray:
        """Return a feasible x (..., n) with these parameter bits (..., n_bits).

        By the forward pass; there is only one, except where a segment in the middle has an encoding
        whose length is not a power of two.

        Raises
        ------
        AssemblyError
            Numbers other than 0 and 1, or a word of a codebook that is not one-hot.
        """
        bits = as_bits("parameters", parameters)
        x = np.zeros((*bits.shape[:-1], self.variables.n_bits), dtype=np.int8)
        x[..., : bits.shape[-1]] = bits
        network = QuantizedNetwork.from_bits(self.architecture, bits)
        _check_codebooks(self.architecture, bits)
        sums = network.forward(self.inputs)
        margins = margin_of(self.architecture, sums[-1])
        if self.architecture.n_outputs == 1:
            margins = margins[..., None]
        for placed in self.encodings:
            if placed.layer is None:
                z = margins[..., placed.sample, [placed.output]]
            else:
                z = sums[placed.layer][..., placed.sample, :]
            x[..., placed.bits] = placed.encoding.encode(z)
        first, second, product = self.derived.T
        x[..., product] = x[..., first] * x[..., second]
        return x


@checked
def assemble(
    architecture: Architecture,
    inputs: ArrayLike,
    labels: ArrayLike,
    *,
    loss: Loss,
    margin_reward: float = 0.0,
    reduction: Reduction = "rosenberg",
) -> Assembly:
    """State the training of `architecture` as a program.

    Parameters
    ----------
    inputs : integer array, shape (samples, n_inputs)
        Features, as a rule -1 and +1.
    labels : integer array, shape (samples,), or (samples, outputs) for several outputs
        Values -1 and +1; see `one_against_rest`.
    loss : Loss
        Of each margin; samples and outputs add up.
    margin_reward : float
        λ: the objective falls by λ for each unit of margin on the side of the label.
    reduction : {"rosenberg", "one-hot"}
        How the product of a weight bit and one-hot indicators is made linear: a bit with
        Rosenberg's polynomial for every indicator but one, or, ours, a bit for every indicator
        with the weight bit as their sum and the indicators as gates.

    Raises
    ------
    AssemblyError
        Shapes that differ, inputs that are no integers, or labels other than -1 and +1.
    """
    samples, signs = check_samples(architecture, inputs, labels)
    builder = Builder(architecture, reduction)
    margins: list[Affine] = []
    for sample, (features, wanted) in enumerate(zip(samples, signs.tolist(), strict=True)):
        of_sample, grid = builder.margins(sample, features)
        if not isinstance(loss, SquaredLoss):
            builder.add_loss(loss, sample, of_sample, grid, wanted)
        margins += of_sample
    qcbo = _program(builder, margins, signs.ravel(), loss, margin_reward)
    return Assembly(
        qcbo=qcbo,
        variables=builder.variables,
        encodings=tuple(builder.encodings),
        derived=_triples(builder.derived),
        architecture=architecture,
        inputs=samples,
        labels=signs,
    )


def _program(
    builder: Builder, margins: list[Affine], signs: IntArray, loss: Loss, margin_reward: float
) -> Qcbo:
    n_bits = builder.variables.n_bits
    M, offset = stack(margins, n_bits)
    if isinstance(loss, SquaredLoss):
        Q, c, constant = squared_norm(M, offset - loss.target * signs)
    else:
        row, intercept = stack([builder.loss], n_bits)
        Q, c, constant = sp.csr_array((n_bits, n_bits)), row.toarray()[0], float(intercept[0])
    if margin_reward:
        c = c - margin_reward * (M.T @ signs)
        constant -= margin_reward * float(offset @ signs)
    A, fixed = stack(builder.equalities, n_bits)
    return Qcbo.from_arrays(
        Q,
        c,
        constant,
        equalities=LinearConstraints(A, -fixed),
        products=Products(_triples(builder.products)),
        gates=Gates(_triples(builder.gates)),
    )


def check_samples(
    architecture: Architecture, inputs: ArrayLike, labels: ArrayLike
) -> tuple[IntArray, IntArray]:
    """Return inputs (samples, n_inputs) and labels (samples, outputs), int64.

    Raises
    ------
    AssemblyError
        Shapes that differ, inputs that are no integers, or labels other than -1 and +1.
    """
    samples, signs = np.asarray(inputs), np.asarray(labels)
    if samples.ndim != 2 or samples.shape[1] != architecture.n_inputs:
        raise AssemblyError(f"inputs have shape {samples.shape}, not (_, {architecture.n_inputs})")
    outputs = architecture.n_outputs
    given = signs[:, None] if signs.ndim == 1 and outputs == 1 else signs
    if given.shape != (len(samples), outputs) or not len(given):
        raise AssemblyError(
            f"labels have shape {signs.shape}, inputs {samples.shape}", hint=f"{outputs} outputs"
        )
    if not (np.abs(signs) == 1).all():
        raise AssemblyError("labels must be -1 or +1")
    check_whole("inputs", samples)
    return samples.astype(np.int64), given.astype(np.int64)


def _check_codebooks(architecture: Architecture, bits: BitArray) -> None:
    for index, *places in architecture.split():
        layer = architecture.layers[index]
        for code, place in zip((layer.weights, layer.biases), places, strict=True):
            if code.one_hot and (bits[..., place].reshape(-1, code.bits).sum(-1) != 1).any():
                raise AssemblyError(f"a word of {code.name} in which not exactly one bit is 1")


def _triples(rows: list[tuple[int, int, int]]) -> IntArray:
    return np.array(rows, dtype=np.int64).reshape(-1, 3)


@checked
@dataclass(frozen=True, eq=False)
class Task:
    """A network, samples and a loss; programs are made of it when they are asked for.

    Parameters
    ----------
    architecture, inputs, labels, loss, margin_reward, reduction
        See `assemble`.
    """

    architecture: Architecture
    inputs: ArrayLike
    labels: ArrayLike
    loss: Loss
    margin_reward: float = 0.0
    reduction: Reduction = "rosenberg"

    @cached_property
    def assembly(self) -> Assembly:
        """All samples in one program.

        Raises
        ------
        AssemblyError
            See `assemble`.
        """
        return self._assembled(slice(None))

    @property
    def qcbo(self) -> Qcbo:
        """The program of all samples."""
        return self.assembly.qcbo

    def parts(self, batch: int = 1) -> Parts:
        """Return a program for every `batch` samples, whose parameter bits are shared.

        Samples are dealt out so that each part has its share of every label.

        Raises
        ------
        AssemblyError
            A batch of no sample; see `assemble`.
        """
        programs = [self._assembled(chosen).qcbo for chosen in self._dealt(batch)]
        return Parts(self.architecture.n_bits, tuple(programs))

    def largest_part(self, batch: int | None) -> Assembly:
        """Return the part of the most bits; the whole where `batch` is None."""
        if batch is None:
            return self.assembly
        parts = (self._assembled(chosen) for chosen in self._dealt(batch))
        return max(parts, key=lambda part: part.qcbo.n_bits)

    def _dealt(self, batch: int) -> list[IntArray]:
        """Return the samples of each part, every label dealt out in turn."""
        if batch < 1:
            raise AssemblyError(f"parts of {counted(batch, 'sample')}", hint="at least 1")
        _, signs = check_samples(self.architecture, self.inputs, self.labels)
        order = np.lexsort(signs.T[::-1])
        count = -(-len(signs) // batch)
        return [np.sort(order[part::count]) for part in range(count)]

    def _assembled(self, chosen: slice | IntArray) -> Assembly:
        return assemble(
            self.architecture,
            np.asarray(self.inputs)[chosen],
            np.asarray(self.labels)[chosen],
            loss=self.loss,
            margin_reward=self.margin_reward,
            reduction=self.reduction,
        )
