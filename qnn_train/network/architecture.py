"""The shape of a network: layers, the codes of their parameters, and the order of their bits."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from qnn_train.errors import AssemblyError
from qnn_train.network.codes import ParameterCode, bias_code

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Architecture", "Layer", "majority_network", "threshold_unit"]


@dataclass(frozen=True)
class Layer:
    """A dense layer z = W a + b.

    Parameters
    ----------
    inputs, outputs : int
        Sizes.
    weights, biases : ParameterCode
        How each weight and each bias is written in bits.
    """

    inputs: int
    outputs: int
    weights: ParameterCode
    biases: ParameterCode

    @property
    def weight_bits(self) -> int:
        """Bits of all weights."""
        return self.inputs * self.outputs * self.weights.bits

    @property
    def n_bits(self) -> int:
        """Bits of all weights and biases."""
        return self.weight_bits + self.outputs * self.biases.bits

    @property
    def n_parameters(self) -> int:
        """Number of weights and biases that have bits."""
        weights = self.inputs * self.outputs * (self.weights.bits > 0)
        return weights + self.outputs * (self.biases.bits > 0)


@dataclass(frozen=True)
class Architecture:
    """Sign layers, then a readout whose value is the margin.

    Parameters
    ----------
    hidden : tuple of Layer
        Each followed by the sign, with sign(0) = +1.
    readout : Layer or None
        A trained layer of one output; None is the majority vote, the sum of the last activations.

    Raises
    ------
    AssemblyError
        No layer, sizes that do not follow on each other, or a readout of several outputs.
    """

    hidden: tuple[Layer, ...]
    readout: Layer | None

    def __post_init__(self) -> None:
        layers = self.layers
        if not layers:
            raise AssemblyError("a network without a trained layer")
        for before, after in pairwise(layers):
            if before.outputs != after.inputs:
                raise AssemblyError(f"a layer of {before.outputs} outputs before {after.inputs}")
        if self.readout is not None and self.readout.outputs != 1:
            raise AssemblyError(f"a readout of {self.readout.outputs} outputs", hint="it has one")

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The trained layers, input first."""
        return self.hidden if self.readout is None else (*self.hidden, self.readout)

    @property
    def n_inputs(self) -> int:
        """Number of features."""
        return self.layers[0].inputs

    @property
    def n_bits(self) -> int:
        """Bits of all parameters."""
        return sum(layer.n_bits for layer in self.layers)

    @property
    def bits_per_parameter(self) -> float:
        """Mean over all weights and biases of the bits that encode them."""
        return self.n_bits / sum(layer.n_parameters for layer in self.layers)

    def __str__(self) -> str:
        sizes = [self.n_inputs, *(layer.outputs for layer in self.layers)]
        shape = "-".join(str(size) for size in sizes)
        return shape + "-majority" if self.readout is None else shape

    def split(self) -> Iterator[tuple[int, slice, slice]]:
        """Yield the index of each layer and where its weight and its bias bits lie."""
        start = 0
        for index, layer in enumerate(self.layers):
            middle, stop = start + layer.weight_bits, start + layer.n_bits
            yield index, slice(start, middle), slice(middle, stop)
            start = stop


def majority_network(
    inputs: int, hidden: int, *, weights: ParameterCode, bias_bits: int
) -> Architecture:
    """One trained hidden layer of sign neurons, whose majority is the output."""
    return Architecture((Layer(inputs, hidden, weights, bias_code(bias_bits)),), None)


def threshold_unit(inputs: int, *, weights: ParameterCode, bias_bits: int) -> Architecture:
    """No hidden layer: the sign of one trained weighted sum."""
    return Architecture((), Layer(inputs, 1, weights, bias_code(bias_bits)))
