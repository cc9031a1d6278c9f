"""Many networks that differ from one in a single block, on one batch."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from qnn_train.network import QuantizedNetwork
from qnn_train.solve.forward import NetworkParameters, margins

if TYPE_CHECKING:
    from qnn_train.arrays import BitArray, Float32Array, FloatArray
    from qnn_train.solve.blocks import Block
    from qnn_train.solve.forward import ForwardPass
    from qnn_train.solve.losses import DescentLoss

__all__ = ["candidate_losses", "race"]

HEAT = 8
SCREENED = 1000


def race(
    run: ForwardPass,
    network: BitArray,
    block: Block,
    candidates: BitArray,
    targets: Float32Array,
    *,
    loss: DescentLoss,
    scale: float,
) -> tuple[BitArray, FloatArray]:
    """Return the best candidates and their losses on the batch, after a heat on a part of it.

    The first eighth of the batch, and at least 1,000 images, choose an eighth of the candidates.
    Parameters as of `candidate_losses`; the samples of the batch are in random order.
    """
    part = max(SCREENED, len(targets) // HEAT)
    keep = max(HEAT, len(candidates) // HEAT)
    if 2 * part <= len(targets) and keep < len(candidates):
        heat = candidate_losses(
            run.rows(0, part), network, block, candidates, targets[:part], loss=loss, scale=scale
        )
        candidates = candidates[np.argsort(heat, kind="stable")[:keep]]
    losses = candidate_losses(run, network, block, candidates, targets, loss=loss, scale=scale)
    return candidates, losses


def candidate_losses(
    run: ForwardPass,
    network: BitArray,
    block: Block,
    candidates: BitArray,
    targets: Float32Array,
    *,
    loss: DescentLoss,
    scale: float,
) -> FloatArray:
    """Return the mean loss of each candidate; the exact forward pass from the block on.

    Parameters
    ----------
    run : ForwardPass
        Of the network all candidates are like, on the batch.
    network : int8 array, shape (n_bits,)
        Its bits.
    candidates : int8 array, shape (candidates, n_bits)
    targets : float32 array, shape (samples, outputs)
    loss : DescentLoss
    scale : float
        What the descent carries for it.
    """
    before = NetworkParameters.of(QuantizedNetwork.from_bits(run.architecture, network))
    after = NetworkParameters.of(QuantizedNetwork.from_bits(run.architecture, candidates))
    rest = _without(run, before, block)
    return np.array(
        [
            loss.mean(_margins(run, after, block, rest, index), targets, scale)
            for index in range(len(candidates))
        ]
    )


def _without(run: ForwardPass, before: NetworkParameters, block: Block) -> Float32Array:
    """Return what stays of the sums the block's neurons add to."""
    units = list(block.units)
    if block.layer + 1 < len(run.sums):
        adding = run.inputs[block.layer + 1][:, units]
        added = adding @ before.weights[block.layer + 1][:, units].T
        return np.subtract(run.sums[block.layer + 1], added, dtype=np.float32)
    if run.architecture.readout is None:
        activation = run.architecture.layers[block.layer].activation
        votes = activation(run.sums[block.layer][:, units]).sum(axis=1)[:, None]
        return run.margins - votes.astype(np.float32)
    return run.sums[block.layer]


def _margins(
    run: ForwardPass, after: NetworkParameters, block: Block, rest: Float32Array, index: int
) -> Float32Array:
    units, layers = list(block.units), run.architecture.layers
    weights = after.weights[block.layer][index, units]
    sums = run.inputs[block.layer] @ weights.T + after.biases[block.layer][index, units]
    if block.layer + 1 == len(layers) and run.architecture.readout is not None:
        if len(units) == rest.shape[1]:
            return sums
        changed = rest.copy()
        changed[:, units] = sums
        return changed
    activations = layers[block.layer].activation(sums)
    if block.layer + 1 == len(layers):
        return rest + activations.sum(axis=1)[:, None]
    sums = rest + activations @ after.weights[block.layer + 1][index][:, units].T
    for layer in range(block.layer + 2, len(layers)):
        activations = layers[layer - 1].activation(sums)
        sums = activations @ after.weights[layer][index].T + after.biases[layer][index]
    return margins(run.architecture, sums)
