r"""A network with shared weights, and its loss to second order in all of its bits at once.

K kernels of 3x3 weights and a bias move over the image; a rectifier, means over cells of 4x4
pixels, and a layer of one output follow:

.. math:: m = \sum_{k,c} v_{kc} \langle f(w_k \cdot x_p + b_k) \rangle_{p \in c} .

A bit of a kernel acts on every pixel, so that all pairs of bits are coupled, and kernels with all
that reads them. All weights are ternary; slopes are smeared as those of `qnn_train` are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from qnn_train import bias_code, weight_code
from qnn_train.solve.losses import BatchLoss, CrossEntropy
from qnn_train.solve.second_order import BlockModel

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from qnn_train.solve.oracle import Oracle

__all__ = ["Convolution", "descent"]

SIDE, CELL, CELLS = 3, 4, 6  # 28 pixels leave 26 places for a kernel, of which 24 make six cells
USED = CELL * CELLS
BIAS_STEP = 0.25  # in units of a pixel's spread
WIDTH = 0.5
LADDER = (0.1, 0.5, 2.0)
TRIED = 4

WEIGHT, BIAS = weight_code("ternary"), bias_code(3)


@dataclass(frozen=True, eq=False)
class Convolution:
    """The network's images and the bits of its parameters.

    Parameters
    ----------
    images : float32 array, shape (samples, 28, 28)
        Centred and divided by their spread.
    kernels : int
        K.
    """

    images: NDArray[np.float32]
    kernels: int

    @property
    def kernel_bits(self) -> int:
        """Bits of the kernels and their biases; those of the last layer follow."""
        return self.kernels * (SIDE**2 * WEIGHT.bits + BIAS.bits)

    @property
    def n_bits(self) -> int:
        """Bits of all parameters."""
        return self.kernel_bits + self.kernels * CELLS**2 * WEIGHT.bits

    def margins(self, bits: NDArray[np.int8]) -> NDArray[np.float32]:
        """Return the margins of the network, (samples, 1)."""
        kernels, biases, last = self._parameters(bits)
        pooled = _pooled(np.maximum(self._sums(kernels, biases), 0))
        return np.einsum("nkc,kc->n", pooled, last)[:, None]

    def model(self, bits: NDArray[np.int8], loss: BatchLoss) -> BlockModel:
        """Return the loss around a network in all of its bits."""
        kernels, biases, last = self._parameters(bits)
        sums = self._sums(kernels, biases)
        around = loss.expand(self.margins(bits))
        pooled, slopes = _pooled(np.maximum(sums, 0)), _smeared(sums)
        moves = np.stack([_pooled(slopes * of[:, None]) for of in self._reads()], axis=-1)
        of_kernels = np.einsum("nkcj,kc->nkj", moves, last).reshape(len(sums), -1)
        jacobian = np.concatenate([of_kernels, pooled.reshape(len(sums), -1)], axis=1)
        jacobian *= around.scale[0]
        error = around.gradient[:, 0]
        curved = around.diagonal[:, 0] - (around.rank_one[:, 0] ** 2)
        curvature = jacobian.T @ (curved[:, None] * jacobian)
        _add_products(curvature, np.einsum("n,nkcj->kjc", around.scale[0] * error, moves))
        return self._in_bits(jacobian.T @ error, curvature)

    def rows(self, chosen: NDArray[np.int64]) -> Convolution:
        """Return the network on some of the images."""
        return Convolution(self.images[chosen], self.kernels)

    def _parameters(self, bits: NDArray[np.int8]) -> tuple[Any, Any, Any]:
        """Return kernels (K, 9), biases (K,) and the last layer (K, cells)."""
        own, last = np.split(bits, [self.kernel_bits])
        words = own.reshape(self.kernels, -1)
        kernels = WEIGHT.decode(words[:, : -BIAS.bits].reshape(self.kernels, SIDE**2, -1))
        biases = BIAS_STEP * BIAS.decode(words[:, -BIAS.bits :])
        readout = WEIGHT.decode(last.reshape(self.kernels, CELLS**2, -1))
        return tuple(part.astype(np.float32) for part in (kernels, biases, readout))

    def _in_bits(self, gradient: Any, curvature: Any) -> BlockModel:
        """Return the mean over samples, in bits."""
        word = [*WEIGHT.coefficients] * SIDE**2 + [BIAS_STEP * c for c in BIAS.coefficients]
        owner = np.append(np.repeat(np.arange(SIDE**2), WEIGHT.bits), [SIDE**2] * BIAS.bits)
        each, readout = SIDE**2 + 1, self.kernels * CELLS**2
        of_last = self.kernels * each + np.repeat(np.arange(readout), WEIGHT.bits)
        owners = np.concatenate([*(each * k + owner for k in range(self.kernels)), of_last])
        factors = np.concatenate([np.tile(word, self.kernels), [*WEIGHT.coefficients] * readout])
        scaled = factors[:, None] * factors / len(self.images)
        whole = curvature[np.ix_(owners, owners)].astype(np.float64) * scaled
        return BlockModel(gradient[owners] * factors / len(self.images), whole)

    def _reads(self) -> Iterator[NDArray[np.float32]]:
        """Yield what each weight of a kernel reads, (samples, 24, 24), then what its bias does."""
        for row in range(SIDE):
            for column in range(SIDE):
                yield self.images[:, 1 + row : 1 + row + USED, 1 + column : 1 + column + USED]
        yield np.ones((len(self.images), USED, USED), np.float32)

    def _sums(self, kernels: Any, biases: Any) -> NDArray[np.float32]:
        """Return the pre-activations, (samples, K, 24, 24)."""
        factors = np.concatenate([kernels, biases[:, None]], axis=1).T
        total = np.zeros((len(self.images), self.kernels, USED, USED), np.float32)
        for factor, of in zip(factors, self._reads(), strict=True):
            total += factor[:, None, None] * of[:, None]
        return total


def _pooled(planes: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return means over cells, (samples, K, cells), of (samples, K, 24, 24)."""
    shape = (*planes.shape[:2], CELLS, CELL, CELLS, CELL)
    means = planes.reshape(shape).mean(axis=(3, 5))
    return np.ascontiguousarray(means.reshape(*planes.shape[:2], -1))


def _smeared(sums: NDArray[np.float32]) -> NDArray[np.float32]:
    width = np.float32(WIDTH * max(1e-6, float(np.sqrt(np.mean(np.square(sums))))))
    return 0.5 + 0.5 * np.tanh(sums * np.float32(0.5) / width)


def _add_products(curvature: NDArray[np.float32], products: NDArray[np.float32]) -> None:
    """Add what a weight of a kernel (K, 10) and one that reads it (K, cells) do together."""
    count, each, cells = products.shape
    for k in range(count):
        rows = slice(k * each, (k + 1) * each)
        columns = slice(count * each + k * cells, count * each + (k + 1) * cells)
        curvature[rows, columns] += products[k]
        curvature[columns, rows] += products[k].T


def descent(
    network: Convolution,
    labels: NDArray[np.int64],
    oracle: Oracle,
    *,
    seed: int,
    batch: int,
    kernels_only: bool = False,
) -> Iterator[tuple[NDArray[np.int8], float]]:
    """Yield the network and its loss on the batch after each step, without an end.

    A step asks the oracle for a minimum of the model at each of three proximal weights, and moves
    to the best of the samples by the exact forward pass on the batch, if one is better.
    With `kernels_only` only bits of the kernels are free.
    """
    rng, loss, scale = np.random.default_rng([seed, 0]), CrossEntropy(), 0.0
    targets = loss.targets_of(labels, 1)
    bits = rng.integers(0, 2, network.n_bits, np.int8)
    while True:
        chosen = rng.choice(len(targets), min(batch, len(targets)), replace=False)
        part = network.rows(chosen)
        before = part.margins(bits)
        scale = loss.rescaled(before, targets[chosen], scale)
        on_batch = BatchLoss(loss, targets[chosen], scale)
        tried = [bits, *_candidates(part, bits, on_batch, oracle, kernels_only=kernels_only)]
        losses = [on_batch.mean(part.margins(each)) for each in tried]
        bits = tried[int(np.argmin(losses))]
        yield bits, float(min(losses))


def _candidates(
    part: Convolution,
    bits: NDArray[np.int8],
    loss: BatchLoss,
    oracle: Oracle,
    *,
    kernels_only: bool,
) -> Iterator[NDArray[np.int8]]:
    model = part.model(bits, loss)
    free = part.kernel_bits if kernels_only else part.n_bits
    block = BlockModel(model.gradient[:free], model.curvature[:free, :free])
    for rho in LADDER:
        answer = oracle.minimize(block.lifted(bits[:free], rho))
        for row in answer.bits[:TRIED]:
            yield np.concatenate([row, bits[free:]])
