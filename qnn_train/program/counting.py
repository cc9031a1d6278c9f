r"""What a program costs: spins, constraints, couplings, range of its numbers.

With d_l neurons, B bits a weight and B' bits a bias, T bits in an activation and N samples,

.. math:: S = \sum_l d_l (d_{l-1} B_l + B'_l)
          + N\Big[\sum_{l\ \text{hidden}} d_l (n_l + s_l) + \sum_{l \ge 2} d_l d_{l-1} B_l T_{l-1}
          + \sum_k (n_k + s_k)\Big]

with n indicators and s slack bits of the encodings of neurons and of margins k. The form is
ours (see `bounds`), the numbers are those of our encodings, and each sample has its own.
"""

from __future__ import annotations

from dataclasses import astuple, dataclass
from typing import Self

import numpy as np
import scipy.sparse as sp  # noqa: TC002  `checked` reads annotations

from cim_hal import IsingModel
from cim_hal.model.conversion import CsrArray  # noqa: TC001  `checked` reads annotations
from qnn_train.arguments import checked
from qnn_train.arrays import ArrayLike
from qnn_train.errors import AssemblyError
from qnn_train.network import Architecture, Grid, margin_grid, propagate, shortest_encoding
from qnn_train.program.assemble import Assembly, check_samples
from qnn_train.program.builder import Activation, Reduction, only_line
from qnn_train.program.loss import Loss, SquaredLoss

__all__ = ["ProgramSize", "SpinCount", "count_spins", "dynamic_range", "spins_needed"]


@dataclass(frozen=True)
class SpinCount:
    """Bits of a program by what they are for."""

    parameters: int  # weights and biases
    indicators: int  # encodings of the hidden neurons, all samples
    slack: int
    products: int  # weight bits times bits of activations
    loss: int  # encodings of the margins

    @property
    def total(self) -> int:
        """All bits."""
        return sum(astuple(self))

    def __add__(self, other: SpinCount) -> SpinCount:
        """Return the sum, part by part."""
        return SpinCount(*map(sum, zip(astuple(self), astuple(other), strict=True)))


@checked
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
    equalities, products, gates : int
        Number of constraints.
    couplings : int
        Pairs of bits that the loss or a constraint couples.
    largest_coefficient : float
        Largest number in an equality, relative to the smallest that is not zero.
    dynamic_range : float
        That of the penalty form with weight 1, see `dynamic_range`.
    """

    spins: int
    parameter_bits: int
    bits_per_parameter: float
    equalities: int
    products: int
    gates: int
    couplings: int
    largest_coefficient: float
    dynamic_range: float

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
            gates=len(qcbo.gates),
            couplings=_couplings(assembly),
            largest_coefficient=float(magnitudes.max() / magnitudes.min())
            if magnitudes.size
            else 0,
            dynamic_range=dynamic_range(qcbo.penalized(1.0)[0]),
        )


@checked
def count_spins(
    architecture: Architecture,
    inputs: ArrayLike,
    labels: ArrayLike | None = None,
    *,
    loss: Loss | None = None,
    reduction: Reduction = "rosenberg",
) -> SpinCount:
    """Return the bits of the program `assemble` would make, without making it.

    Parameters
    ----------
    inputs : integer array, shape (samples, n_inputs)
    labels : integer array, shape (samples,) or (samples, outputs)
        Needed with a loss that has indicators.
    loss : Loss, optional
        The squared loss by default, which has none.

    Raises
    ------
    AssemblyError
        Samples that `assemble` would refuse, or a loss without labels.
    """
    if labels is None and not (loss is None or isinstance(loss, SquaredLoss)):
        raise AssemblyError("the encodings of this loss depend on labels")
    ones = np.ones((len(np.asarray(inputs)), architecture.n_outputs), dtype=int)
    samples, signs = check_samples(architecture, inputs, ones if labels is None else labels)
    total = SpinCount(architecture.n_bits, 0, 0, 0, 0)
    for features, wanted in zip(samples.tolist(), signs.tolist(), strict=True):
        grids = propagate(architecture, features)
        margin = margin_grid(architecture, grids)
        of_loss = 0 if loss is None else sum(_loss_bits(loss, margin, y) for y in wanted)
        total += _of_sample(architecture, grids, reduction) + SpinCount(0, 0, 0, 0, of_loss)
    return total


@checked
def spins_needed(
    architecture: Architecture,
    inputs: ArrayLike,
    labels: ArrayLike | None = None,
    *,
    loss: Loss | None = None,
    reduction: Reduction = "rosenberg",
) -> int:
    """Return the total of `count_spins`."""
    return count_spins(architecture, inputs, labels, loss=loss, reduction=reduction).total


@checked
def dynamic_range(Q: ArrayLike | CsrArray | sp.sparray) -> float:
    """Return the largest over the smallest number of the Ising form of a QUBO; 1 if it has none.

    Fields and couplings together, zeros apart. A machine that has one scale for all needs at least
    1 + log2(range + 1) bits so that no number is lost. The Ising form counts: the diagonal of the
    QUBO is far larger than what is left of it in the fields.

    Parameters
    ----------
    Q : float array or scipy sparse array, shape (n, n)
    """
    model = IsingModel.from_qubo(Q)
    couplings = model.J.ravel() if isinstance(model.J, np.ndarray) else model.J.data
    numbers = np.abs(np.concatenate([couplings, model.h]))
    numbers = numbers[numbers > 1e-12 * numbers.max(initial=0.0)]
    return float(numbers.max() / numbers.min()) if numbers.size else 1.0


def _of_sample(architecture: Architecture, grids: list[Grid], reduction: Reduction) -> SpinCount:
    indicators = slack = products = factors = 0
    for index, layer in enumerate(architecture.layers):
        products += layer.weight_bits * factors
        if index < len(architecture.hidden):
            encoding = shortest_encoding(layer.activation, grids[index])
            indicators += layer.outputs * encoding.n_indicators
            slack += layer.outputs * encoding.slack_bits
            factors = len(Activation.of(encoding, range(encoding.n_bits), reduction).bits)
    return SpinCount(0, indicators, slack, products, 0)


def _loss_bits(loss: Loss, grid: Grid, label: int) -> int:
    if isinstance(loss, SquaredLoss):
        return 0
    spline = loss.spline(grid, label)
    return 0 if only_line(spline, grid) is not None else shortest_encoding(spline, grid).n_bits


def _couplings(assembly: Assembly) -> int:
    qcbo = assembly.qcbo
    pattern = abs(qcbo.equalities.A)
    coupled = (pattern.T @ pattern).toarray() != 0
    coupled |= qcbo.Q != 0
    first, second, product = qcbo.products.bits.T
    gated, gate, _ = qcbo.gates.bits.T
    for i, j in ((first, second), (first, product), (second, product), (gated, gate)):
        coupled[i, j] = coupled[j, i] = True
    return int(np.triu(coupled, 1).sum())
