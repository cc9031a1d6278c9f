r"""The loss around a network to second order in the bits of a block.

A sum :math:`z_r = \theta_r \cdot a_r` moves the logits by :math:`S_r = \partial o/\partial z_r`.
With p and t as in `cross_entropy`, summed over samples,

.. math:: g_r = \sum (p - t)^T S_r\; a_r, \qquad
          H_{rq} = \sum S_r^T(\operatorname{diag} p - p p^T)\,S_q\;\; a_r a_q^T + B_{rq} .

B is what a weight and the weight behind it do together,
:math:`\sum (p - t)^T S_m\, f'(z_k)\, a_k` for the weight of neuron k in sum m; it makes H
indefinite, which is no matter to an Ising machine. The rest is Gauss and Newton's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from qnn_train.solve.cross_entropy import probabilities
from qnn_train.solve.forward import sensitivities, slope_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from qnn_train.solve.blocks import Block, BlockBits
    from qnn_train.solve.forward import ForwardPass, Parameters

__all__ = ["BlockModel", "model_of"]

CHUNK = 4096


@dataclass(frozen=True, eq=False)
class BlockModel:
    """Gradient and curvature of the mean loss in the bits of a block.

    Attributes
    ----------
    gradient : float64 array, shape (n,)
    curvature : float64 array, shape (n, n)
    """

    gradient: NDArray[np.float64]
    curvature: NDArray[np.float64]

    def lifted(self, bits: NDArray[np.int8], proximity: float) -> NDArray[np.float64]:
        r"""Return G with (1;x)ᵀ G (1;x) = model(x) + proximity · distance(x), up to a constant.

        The distance :math:`\tfrac12\sum_b H_{bb}(x_b - b_b)^2` is linear in bits.
        """
        around = bits.astype(np.float64)
        pull = 0.5 * proximity * np.abs(self.curvature.diagonal()) * (1 - 2 * around)
        linear = self.gradient - self.curvature @ around + pull
        G = np.zeros((len(bits) + 1, len(bits) + 1))
        G[1:, 1:] = 0.5 * self.curvature
        G[0, 1:] = G[1:, 0] = 0.5 * linear
        return G


def model_of(
    run: ForwardPass,
    parameters: Parameters,
    block: Block,
    bits: BlockBits,
    targets: NDArray[np.float32],
    *,
    scale: float,
    width: float,
) -> BlockModel:
    """Expand the loss on a batch, in chunks: memory does not grow with the samples.

    Parameters
    ----------
    targets : float32 array, shape (samples, outputs)
    scale : float
        Logits per margin.
    width : float
        Of the smeared slopes, in units of the rms of the sums.
    """
    total = _Sums(bits)
    for start in range(0, len(targets), CHUNK):
        part = run.rows(start, start + CHUNK)
        moves = sensitivities(part, parameters, block.layer, scale, width)
        total.add(part, moves, targets[start : start + CHUNK], scale)
        if block.layer + 1 < len(part.sums):
            slopes = slope_of(part, block.layer, width)[:, block.units]
            total.add_products(part, moves[1], targets[start : start + CHUNK], scale, slopes)
    return total.in_bits(len(targets))


class _Sums:
    """Gradient and curvature in the parameters of a block, summed over samples."""

    def __init__(self, bits: BlockBits) -> None:
        self._bits = bits
        ends = np.cumsum(bits.lengths)
        self._places = [slice(end - n, end) for n, end in zip(bits.lengths, ends, strict=True)]
        self._gradient = np.zeros(ends[-1])
        self._curvature = np.zeros((ends[-1], ends[-1]))

    def add(
        self,
        run: ForwardPass,
        moves: list[NDArray[np.float32]],
        targets: NDArray[np.float32],
        scale: float,
    ) -> None:
        """Add the gradient, and the curvature of Gauss and Newton."""
        p = probabilities(np.float32(scale) * run.margins)
        terms = self._bits.terms
        S = [moves[term.layer - terms[0].layer][:, term.unit] for term in terms]
        weighted = [p * of_term for of_term in S]
        mean = [of_term.sum(axis=1) for of_term in weighted]
        reads = [self._reads(run, index) for index in range(len(terms))]
        for i, row in enumerate(self._places):
            self._gradient[row] += ((p - targets) * S[i]).sum(axis=1) @ reads[i]
            for j in range(i, len(terms)):
                weight = (weighted[i] * S[j]).sum(axis=1) - mean[i] * mean[j]
                block = reads[i].T @ (reads[j] * weight[:, None])
                self._curvature[row, self._places[j]] += block

    def add_products(
        self,
        run: ForwardPass,
        behind: NDArray[np.float32],
        targets: NDArray[np.float32],
        scale: float,
        slopes: NDArray[np.float32],
    ) -> None:
        """Add B, of neurons with these slopes and of the sums behind them."""
        error = probabilities(np.float32(scale) * run.margins) - targets
        pull = np.einsum(
            "nc,nmc->nm", error, np.broadcast_to(behind, (len(error), *behind.shape[1:]))
        )
        n_units = slopes.shape[1]
        for k in range(n_units):
            columns = [place.start + k for place in self._places[n_units:]]
            products = self._reads(run, k).T @ (pull * slopes[:, [k]])
            self._curvature[self._places[k], columns] += products

    def in_bits(self, samples: int) -> BlockModel:
        """Return the means over samples, in bits."""
        owners, coefficients = self._bits.owners, self._bits.coefficients
        upper = np.triu(self._curvature)
        curvature = upper + np.triu(upper, 1).T
        scaled = coefficients[:, None] * coefficients / samples
        return BlockModel(
            self._gradient[owners] * coefficients / samples,
            curvature[np.ix_(owners, owners)] * scaled,
        )

    def _reads(self, run: ForwardPass, index: int) -> NDArray[np.float32]:
        """Return what multiplies the parameters of a term, (samples, parameters)."""
        term = self._bits.terms[index]
        inputs = run.inputs[term.layer]
        if term.reads is not None:
            return inputs[:, term.reads]
        if self._bits.lengths[index] == inputs.shape[1]:
            return inputs
        return np.concatenate([inputs, np.ones((len(inputs), 1), np.float32)], axis=1)
