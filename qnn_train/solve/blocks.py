"""Blocks: the parameters that are changed together, as large as a machine takes them.

A block is some neurons of a layer: all or some of what they read, and all that reads them. One of
the last layer, or of the layer that votes, is only what its neurons read.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cim_hal.text import counted
from qnn_train.arrays import FloatArray, IntArray
from qnn_train.errors import AssemblyError
from qnn_train.network import Architecture

__all__ = ["Block", "BlockBits", "Term", "block_bits", "partition"]


@dataclass(frozen=True)
class Block:
    """Neurons of one layer."""

    layer: int
    units: tuple[int, ...]
    # the inputs whose weights are free; None for all of them. Biases always are
    reads: tuple[int, ...] | None = None


@dataclass(frozen=True)
class Term:
    """Parameters of one sum z: the weights of some of its inputs, and perhaps its bias."""

    layer: int  # whose sum it is
    unit: int
    # the inputs whose weights belong to the block; None for all of them
    reads: tuple[int, ...] | None
    bias: bool  # whether the bias does


@dataclass(frozen=True, eq=False)
class BlockBits:
    """The bits of a block, in the order of its terms."""

    terms: tuple[Term, ...]
    lengths: tuple[int, ...]  # parameters of each term
    positions: IntArray  # shape (n,); where each bit is among all bits of the network
    owners: IntArray  # shape (n,); the parameter it belongs to, counted through all terms
    coefficients: FloatArray  # shape (n,); what it adds to that parameter


def partition(
    architecture: Architecture,
    max_bits: int,
    rng: np.random.Generator | None = None,
    *,
    reads: int | None = None,
) -> list[Block]:
    """Return blocks that hold every parameter, the last layer first.

    Neurons of a layer, neighbours or as `rng` mixes them, are put together as long as a block has
    no more than `max_bits` bits. How many blocks there are does not depend on `rng`.

    Parameters
    ----------
    reads : int, optional
        The most inputs of a neuron whose weights are free together; by default all, or as many
        as a block holds. With fewer, a block is smaller or has more neurons, and each group of
        neurons is in several blocks, of inputs that `rng` mixes for it.

    Raises
    ------
    AssemblyError
        A neuron does not fit with a single one of its inputs, or a code of weights is a codebook.
    """
    found = []
    for index in reversed(range(len(architecture.layers))):
        layer = architecture.layers[index]
        if layer.weights.one_hot or layer.biases.one_hot:
            raise AssemblyError("codebooks need equalities", hint="use another code")
        always = layer.biases.bits + _outgoing_bits(architecture, index)
        room = (max_bits - always) // layer.weights.bits
        if room < 1:
            raise AssemblyError(
                f"a neuron of layer {index} has "
                f"{counted(always + layer.weights.bits, 'bit')} with one of "
                f"its inputs, a block at most {max_bits}",
                hint="use larger blocks, or fewer neurons in the layer behind",
            )
        cuts = -(-layer.inputs // min(reads or layer.inputs, room))
        read = -(-layer.inputs // cuts)
        together = max_bits // (read * layer.weights.bits + always)
        count = -(-layer.outputs // together)
        for part in np.array_split(_mixed(layer.outputs, rng), count):
            units = tuple(sorted(part.tolist()))
            if cuts == 1:
                found.append(Block(index, units))
                continue
            cells = np.array_split(_mixed(layer.inputs, rng), cuts)
            found += [Block(index, units, tuple(sorted(cut.tolist()))) for cut in cells]
    return found


def _mixed(count: int, rng: np.random.Generator | None) -> IntArray:
    return np.arange(count) if rng is None else rng.permutation(count)


def block_bits(architecture: Architecture, block: Block) -> BlockBits:
    """Return the terms and bits of a block."""
    terms = [Term(block.layer, unit, block.reads, bias=True) for unit in block.units]
    if block.layer + 1 < len(architecture.layers):
        readers = range(architecture.layers[block.layer + 1].outputs)
        terms += [Term(block.layer + 1, unit, block.units, bias=False) for unit in readers]
    layouts = _layouts(architecture)
    positions, owners, coefficients, lengths, start = [], [], [], [], 0
    for term in terms:
        layer, (weights, biases) = architecture.layers[term.layer], layouts[term.layer]
        reads = slice(None) if term.reads is None else list(term.reads)
        words = weights[term.unit, reads]
        parts = [(words, layer.weights)]
        if term.bias and layer.biases.bits:
            parts.append((biases[[term.unit]], layer.biases))
        for places, code in parts:
            positions.append(places.ravel())
            owners.append(start + np.repeat(np.arange(len(places)), code.bits))
            coefficients.append(np.tile(np.array(code.coefficients, float), len(places)))
            start += len(places)
        lengths.append(sum(len(places) for places, _ in parts))
    return BlockBits(
        tuple(terms), tuple(lengths), *map(np.concatenate, (positions, owners, coefficients))
    )


def _outgoing_bits(architecture: Architecture, index: int) -> int:
    if index + 1 == len(architecture.layers):
        return 0
    reader = architecture.layers[index + 1]
    return reader.outputs * reader.weights.bits


def _layouts(architecture: Architecture) -> list[tuple[IntArray, IntArray]]:
    """Return where the bits of each layer are: (outputs, inputs, bits) and (outputs, bits)."""
    found = []
    for index, of_weights, of_biases in architecture.split():
        layer = architecture.layers[index]
        shape = (layer.outputs, layer.inputs, layer.weights.bits)
        weights = np.arange(of_weights.start, of_weights.stop).reshape(shape)
        biases = np.arange(of_biases.start, of_biases.stop).reshape(layer.outputs, -1)
        found.append((weights, biases))
    return found
