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

    from qnn_train.solve.blocks import Block, BlockBits, Group
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
        moves = sensitivities(part, parameters, block, scale, width)
        probable = probabilities(np.float32(scale) * part.margins)
        error = probable - targets[start : start + CHUNK]
        groups = bits.groups(part, moves)
        total.add(groups, probable, error)
        if len(groups) == 2:
            slopes = slope_of(part, block.layer, width, list(block.units))
            total.add_products(groups, error, slopes)
    return total.in_bits(len(targets))


class _Sums:
    """Gradient and curvature in the parameters of a block, summed over samples."""

    def __init__(self, bits: BlockBits) -> None:
        self._bits = bits
        size = sum(bits.lengths)
        self._gradient = np.zeros(size)
        self._curvature = np.zeros((size, size))

    def add(
        self, groups: list[Group], probable: NDArray[np.float32], error: NDArray[np.float32]
    ) -> None:
        """Add the gradient, and the curvature of Gauss and Newton."""
        means = [_along(probable, group.moves) for group in groups]
        for index, group in enumerate(groups):
            pull = _along(error, group.moves)
            for i, place in enumerate(group.places):
                self._gradient[place] += pull[:, i] @ group.reads
                weighted = probable * group.moves[:, i]
                for behind, mean in zip(groups[index:], means[index:], strict=True):
                    weights = _along(weighted, behind.moves)
                    weights -= means[index][:, [i]] * mean
                    self._add_rows(place, group.reads, behind, weights)

    def add_products(
        self, groups: list[Group], error: NDArray[np.float32], slopes: NDArray[np.float32]
    ) -> None:
        """Add B, of neurons with these slopes and of the sums behind them."""
        neurons, behind = groups
        pull = _along(error, behind.moves)
        for k, place in enumerate(neurons.places):
            columns = [of_reader.start + k for of_reader in behind.places]
            self._curvature[place, columns] += neurons.reads.T @ (pull * slopes[:, [k]])

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

    def _add_rows(
        self, rows: slice, reads: NDArray[np.float32], behind: Group, weights: NDArray[np.float32]
    ) -> None:
        """Add readsᵀ W reads of one term against a group, by as few products as will do."""
        n_reads = behind.reads.shape[1]
        if len(behind.places) <= n_reads:
            for j, columns in enumerate(behind.places):
                self._curvature[rows, columns] += reads.T @ (behind.reads * weights[:, [j]])
            return
        first, last = behind.places[0].start, behind.places[-1].stop
        for b in range(n_reads):
            columns = slice(first + b, last, n_reads)
            self._curvature[rows, columns] += reads.T @ (behind.reads[:, [b]] * weights)


def _along(of_outputs: NDArray[np.float32], moves: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the sums over outputs of (n, c) times (n or 1, j, c); (n, j)."""
    if len(moves) == 1:
        return of_outputs @ moves[0].T
    return np.einsum("nc,njc->nj", of_outputs, moves)
