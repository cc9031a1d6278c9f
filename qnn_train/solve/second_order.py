r"""The loss around a network to second order in the bits of a block.

A sum :math:`z_r = \theta_r \cdot a_r` moves the logits by :math:`S_r = \partial o/\partial z_r`.
With e, d and u as in `Expansion` (p - t, p and p for classes), summed over samples,

.. math:: g_r = \sum e^T S_r\; a_r, \qquad
          H_{rq} = \sum S_r^T(\operatorname{diag} d - u u^T)\,S_q\;\; a_r a_q^T + B_{rq} .

B is what a weight and the weight behind it do together,
:math:`\sum e^T S_m\, f'(z_k)\, a_k` for the weight of neuron k in sum m; it makes H
indefinite, which is no matter to an Ising machine. The rest is Gauss and Newton's. Where the loss
fits an offset to each network, the means of the moves :math:`S_r a_r` over the samples are taken
off them in H.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from qnn_train.arrays import BitArray, Float32Array, FloatArray
from qnn_train.solve.blocks import Block, BlockBits
from qnn_train.solve.forward import ForwardPass, NetworkParameters, sensitivities, slope_of
from qnn_train.solve.losses import BatchLoss, Expansion

__all__ = ["BlockModel", "model_of"]

CHUNK = 4096


@dataclass(frozen=True, eq=False)
class BlockModel:
    """Gradient and curvature of the mean loss in the bits of a block."""

    gradient: FloatArray  # shape (n,)
    curvature: FloatArray  # shape (n, n)

    def lifted(self, bits: BitArray, proximity: float) -> FloatArray:
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
    parameters: NetworkParameters,
    block: Block,
    bits: BlockBits,
    loss: BatchLoss,
    *,
    width: float,
) -> BlockModel:
    """Expand the loss on a batch, in chunks: memory for moves does not grow with the samples.

    Slopes are smeared over `width`, in units of the rms of the sums.
    """
    samples, outputs = loss.targets.shape
    total, every = _Sums(bits, outputs), loss.expand(run.margins)
    for start in range(0, samples, CHUNK):
        part, around = run.rows(start, start + CHUNK), every.rows(start, start + CHUNK)
        moves = sensitivities(part, parameters, block, around.scale, width)
        groups = _groups(bits, part, moves)
        total.add(groups, around)
        if len(groups) == 2:
            slopes = slope_of(part, block.layer, width, list(block.units))
            total.add_products(groups, around.gradient, slopes)
        if loss.loss.free_offset:
            total.add_means(groups, around.shares)
    return total.in_bits(samples)


@dataclass(frozen=True, eq=False)
class _Group:
    """Terms that read the same inputs, and what they read in a batch."""

    # shape (samples or 1, terms, outputs); by how much the logits move with their sums
    moves: Float32Array
    reads: Float32Array  # shape (samples, parameters of a term)
    places: list[slice]  # where the parameters of each term are


def _groups(bits: BlockBits, run: ForwardPass, moves: list[Float32Array]) -> list[_Group]:
    """Return the terms of a block by layer, since those of a layer read the same inputs."""
    ends = np.cumsum(bits.lengths).tolist()
    places = [slice(end - n, end) for n, end in zip(bits.lengths, ends, strict=True)]
    found, first = [], bits.terms[0].layer
    for layer in sorted({term.layer for term in bits.terms}):
        mine = [i for i, term in enumerate(bits.terms) if term.layer == layer]
        inputs, term = run.inputs[layer], bits.terms[mine[0]]
        if term.reads is not None:
            inputs = inputs[:, term.reads]
        if bits.lengths[mine[0]] > inputs.shape[1]:
            ones = np.ones((len(inputs), 1), np.float32)
            inputs = np.concatenate([inputs, ones], axis=1)
        found.append(_Group(moves[layer - first], inputs, [places[i] for i in mine]))
    return found


class _Sums:
    """Gradient and curvature in the parameters of a block, summed over samples."""

    def __init__(self, bits: BlockBits, outputs: int) -> None:
        self._bits = bits
        size = sum(bits.lengths)
        self._gradient = np.zeros(size)
        self._curvature = np.zeros((size, size))
        self._means = np.zeros((size, outputs))

    def add(self, groups: list[_Group], around: Expansion) -> None:
        """Add the gradient, and the curvature of Gauss and Newton."""
        u = around.rank_one
        along = [None if u is None else _along(u, group.moves) for group in groups]
        for index, group in enumerate(groups):
            pull = _along(around.gradient, group.moves)
            for i, place in enumerate(group.places):
                self._gradient[place] += pull[:, i] @ group.reads
                weighted = around.diagonal * group.moves[:, i]
                mine = along[index]
                for behind, of_behind in zip(groups[index:], along[index:], strict=True):
                    weights = _along(weighted, behind.moves)
                    if mine is not None and of_behind is not None:
                        weights -= mine[:, [i]] * of_behind
                    self._add_rows(place, group.reads, behind, weights)

    def add_products(self, groups: list[_Group], error: Float32Array, slopes: Float32Array) -> None:
        """Add B, of neurons with these slopes and of the sums behind them."""
        neurons, behind = groups
        pull = _along(error, behind.moves)
        for k, place in enumerate(neurons.places):
            columns = [of_reader.start + k for of_reader in behind.places]
            self._curvature[place, columns] += neurons.reads.T @ (pull * slopes[:, [k]])

    def add_means(self, groups: list[_Group], shares: Float32Array | None) -> None:
        """Add by how much the outputs move with each parameter."""
        for group in groups:
            for i, place in enumerate(group.places):
                moves = np.broadcast_to(group.moves[:, i], (len(group.reads), self._means.shape[1]))
                moves = moves if shares is None else moves * shares[:, None]
                self._means[place] += group.reads.T @ moves

    def in_bits(self, samples: int) -> BlockModel:
        """Return the means over samples, in bits."""
        owners, coefficients = self._bits.owners, self._bits.coefficients
        upper = np.triu(self._curvature)
        curvature = upper + np.triu(upper, 1).T - self._means @ self._means.T / samples
        scaled = coefficients[:, None] * coefficients / samples
        return BlockModel(
            self._gradient[owners] * coefficients / samples,
            curvature[np.ix_(owners, owners)] * scaled,
        )

    def _add_rows(
        self, rows: slice, reads: Float32Array, behind: _Group, weights: Float32Array
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


def _along(of_outputs: Float32Array, moves: Float32Array) -> Float32Array:
    """Return the sums over outputs of (n, c) times (n or 1, j, c); (n, j)."""
    if len(moves) == 1:
        return of_outputs @ moves[0].T
    return np.einsum("nc,njc->nj", of_outputs, moves)
