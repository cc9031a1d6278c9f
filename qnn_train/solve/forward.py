r"""A forward pass kept with all its sums, how outputs move with them, and losses of candidates.

The derivative of an activation is taken of the spline smeared with a logistic bell of a certain
width, so that a neuron beyond a knot, or one with a sign, still feels where to go:

.. math:: \bar f'(z) = s_0 + \sum_i (s_{i+1} - s_i)\,F\!\Big(\frac{z - t_i}{w}\Big)
          + \sum_i \frac{f(t_i^+) - f(t_i^-)}{w}\,F'\!\Big(\frac{z - t_i}{w}\Big),
          \qquad F(u) = \frac{1}{1 + e^{-u}} .

The forward pass itself is never smeared.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np

from qnn_train.arrays import BitArray, Float32Array, FloatArray
from qnn_train.network import Architecture, QuantizedNetwork, Spline
from qnn_train.network.network import margin_of
from qnn_train.solve.blocks import Block
from qnn_train.solve.losses import BatchLoss

__all__ = [
    "ForwardPass",
    "NetworkParameters",
    "candidate_losses",
    "race",
    "sensitivities",
    "slope_of",
    "smeared_slope",
]


@dataclass(frozen=True, eq=False)
class NetworkParameters:
    """Weights (outputs, inputs) and biases (outputs,) of every layer, as float32 for BLAS."""

    weights: tuple[Float32Array, ...]
    biases: tuple[Float32Array, ...]

    @classmethod
    def of(cls, network: QuantizedNetwork) -> Self:
        """Take those of one network, or of many."""
        weights = tuple(array.astype(np.float32) for array in network.weights)
        return cls(weights, tuple(array.astype(np.float32) for array in network.biases))


@dataclass(frozen=True, eq=False)
class ForwardPass:
    """What a network makes of a batch."""

    architecture: Architecture
    inputs: tuple[Float32Array, ...]  # each (samples, inputs); what each layer reads
    sums: tuple[Float32Array, ...]  # each (samples, outputs); pre-activations
    margins: Float32Array  # shape (samples, outputs)
    spreads: tuple[float, ...]  # root mean square of the sums of each layer, at least 1

    @classmethod
    def of(
        cls, architecture: Architecture, parameters: NetworkParameters, features: Float32Array
    ) -> Self:
        """Run `features` (samples, n_inputs) through all layers."""
        inputs, sums = [features], []
        for index, layer in enumerate(architecture.layers):
            weights, biases = parameters.weights[index], parameters.biases[index]
            sums.append(inputs[-1] @ weights.T + biases)
            if index + 1 < len(architecture.layers):
                inputs.append(layer.activation(sums[-1]))
        spreads = tuple(max(1.0, float(np.sqrt(np.mean(np.square(z))))) for z in sums)
        last = margins(architecture, sums[-1])
        return cls(architecture, tuple(inputs), tuple(sums), last, spreads)

    def rows(self, start: int, stop: int) -> Self:
        """Return the pass of some of the samples."""
        inputs = tuple(array[start:stop] for array in self.inputs)
        sums = tuple(array[start:stop] for array in self.sums)
        return type(self)(self.architecture, inputs, sums, self.margins[start:stop], self.spreads)


def margins(architecture: Architecture, last: Float32Array) -> Float32Array:
    """Return the margins (samples, outputs) of the last sums, with an axis even for one output."""
    return margin_of(architecture, last).reshape(len(last), architecture.n_outputs)


def sensitivities(
    run: ForwardPass, parameters: NetworkParameters, block: Block, scale: Float32Array, width: float
) -> list[Float32Array]:
    """Return by how much the outputs move with the sums of a block's units and of those behind it.

    Parameters
    ----------
    scale : float32 array, shape (outputs,)
        By how much they move with the margins.

    Returns
    -------
    list of float32 array, each of shape (samples or 1, units, outputs)
        For the units of the block, and for all units of each layer behind it, to the last.
    """
    architecture, layer = run.architecture, block.layer
    last = len(architecture.layers) - 1
    units = _columns(block.units if layer == last else None)
    if architecture.readout is None:
        slope = scale * slope_of(run, last, width, units)
        found = [slope[:, :, None]]
    else:
        every = scale * np.eye(architecture.n_outputs, dtype=np.float32)
        found = [every[None, units]]
    for index in range(last - 1, layer - 1, -1):
        units = _columns(block.units if index == layer else None)
        weights = parameters.weights[index + 1][:, units]
        behind = np.einsum("nmc,mk->nkc", found[0], weights)
        found.insert(0, behind * slope_of(run, index, width, units)[:, :, None])
    return found


def slope_of(run: ForwardPass, layer: int, width: float, units: slice | list[int]) -> Float32Array:
    """Return the smeared slope at the sums of units, `width` in units of the layer's spread."""
    activation = run.architecture.layers[layer].activation
    return smeared_slope(activation, run.sums[layer][:, units], width * run.spreads[layer])


def _columns(units: tuple[int, ...] | None) -> slice | list[int]:
    return slice(None) if units is None else list(units)


def smeared_slope(spline: Spline, z: Float32Array, width: float) -> Float32Array:
    """Return the derivative of `spline` smeared over `width`, at z (...)."""
    slope = np.full(z.shape, spline.slopes[0], dtype=np.float32)
    for i, knot in enumerate(spline.knots):
        cumulative = 0.5 + 0.5 * np.tanh((z - np.float32(knot)) * np.float32(0.5 / width))
        bend = spline.slopes[i + 1] - spline.slopes[i]
        jump = spline.intercepts[i + 1] - spline.intercepts[i] + bend * knot
        if bend:
            slope += np.float32(bend) * cumulative
        if jump:
            slope += np.float32(jump / width) * cumulative * (1 - cumulative)
    return slope


HEAT = 8
SCREENED = 1000


def race(
    run: ForwardPass, network: BitArray, block: Block, candidates: BitArray, loss: BatchLoss
) -> tuple[BitArray, FloatArray]:
    """Return the best candidates and their losses on the batch, after a heat on a part of it.

    The first eighth of the batch, and at least 1,000 images, choose an eighth of the candidates.
    Parameters as of `candidate_losses`; the samples of the batch are in random order.
    """
    samples = len(loss.targets)
    part = max(SCREENED, samples // HEAT)
    keep = max(HEAT, len(candidates) // HEAT)
    if 2 * part <= samples and keep < len(candidates):
        heat = candidate_losses(run.rows(0, part), network, block, candidates, loss.rows(0, part))
        candidates = candidates[np.argsort(heat, kind="stable")[:keep]]
    return candidates, candidate_losses(run, network, block, candidates, loss)


def candidate_losses(
    run: ForwardPass, network: BitArray, block: Block, candidates: BitArray, loss: BatchLoss
) -> FloatArray:
    """Return the mean loss of each candidate; the exact forward pass from the block on.

    Parameters
    ----------
    run : ForwardPass
        Of the network that all candidates are like, on the batch.
    network : int8 array, shape (n_bits,)
        Its bits.
    candidates : int8 array, shape (candidates, n_bits)
    loss : BatchLoss
    """
    before = NetworkParameters.of(QuantizedNetwork.from_bits(run.architecture, network))
    after = NetworkParameters.of(QuantizedNetwork.from_bits(run.architecture, candidates))
    rest = _without(run, before, block)
    every = range(len(candidates))
    return np.array([loss.mean(_margins(run, after, block, rest, index)) for index in every])


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
