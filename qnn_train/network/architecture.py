"""The shape of a network: layers, the codes of their parameters, and the order of their bits."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeVar, cast

from cim_hal.text import counted
from qnn_train.arguments import checked
from qnn_train.errors import AssemblyError
from qnn_train.network.codes import ParameterCode, bias_code, parameter_code, weight_code
from qnn_train.network.spline import Spline

__all__ = [
    "Architecture",
    "Layer",
    "hidden_sizes",
    "layered_network",
    "majority_network",
    "threshold_unit",
]

SIGN = Spline.sign()
T = TypeVar("T")


@checked
@dataclass(frozen=True)
class Layer:
    """A dense layer z = W a + b and what follows it.

    Parameters
    ----------
    inputs, outputs : int
        Sizes.
    weights, biases : ParameterCode
        How each weight and each bias is written in bits.
    activation : Spline
        Applied to z where the layer is hidden; of integers to integers. The sign by default.

    Raises
    ------
    AssemblyError
        Sizes below 1, an activation with real numbers, or a code that is not what its name says.
    """

    inputs: int
    outputs: int
    weights: ParameterCode
    biases: ParameterCode
    activation: Spline = SIGN

    def __post_init__(self) -> None:
        if min(self.inputs, self.outputs) < 1:
            raise AssemblyError(f"a layer of {self.inputs} inputs and {self.outputs} outputs")
        for code in (self.weights, self.biases):  # model files keep names
            if parameter_code(code.name) != code:
                raise AssemblyError(f"a code named {code.name!r}, which is another one")
        if not self.activation.is_integral:
            raise AssemblyError(
                f"the activation {self.activation.name} has real numbers", hint="give it levels"
            )

    @property
    def weight_bits(self) -> int:
        """Bits of all weights."""
        return self.inputs * self.outputs * self.weights.bits

    @property
    def n_bits(self) -> int:
        """Bits of all weights and biases."""
        return self.weight_bits + self.outputs * self.biases.bits

    @property
    def storage_bits(self) -> int:
        """Bits that store all weights and biases; fewer than `n_bits` for a codebook."""
        weights = self.inputs * self.outputs * self.weights.storage_bits
        return weights + self.outputs * self.biases.storage_bits

    @property
    def n_parameters(self) -> int:
        """Number of weights and biases that have bits."""
        weights = self.inputs * self.outputs * (self.weights.bits > 0)
        return weights + self.outputs * (self.biases.bits > 0)


@checked
@dataclass(frozen=True)
class Architecture:
    """Hidden layers, then a readout whose values are the margins.

    Parameters
    ----------
    hidden : tuple of Layer
        Each followed by its activation.
    readout : Layer or None
        A trained layer without activation, one output for two classes or one for each of several;
        None is the majority vote, the sum of the last activations.

    Raises
    ------
    AssemblyError
        No layer, sizes that do not follow on each other, or a readout with an activation.
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
        if self.readout is not None and self.readout.activation != SIGN:
            raise AssemblyError("a readout with an activation", hint="its values are the margins")

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The trained layers, input first."""
        return self.hidden if self.readout is None else (*self.hidden, self.readout)

    @property
    def n_inputs(self) -> int:
        """Number of features."""
        return self.layers[0].inputs

    @property
    def n_outputs(self) -> int:
        """Number of margins."""
        return 1 if self.readout is None else self.readout.outputs

    @property
    def n_bits(self) -> int:
        """Bits of all parameters."""
        return sum(layer.n_bits for layer in self.layers)

    @property
    def n_parameters(self) -> int:
        """Number of weights and biases that have bits."""
        return sum(layer.n_parameters for layer in self.layers)

    @property
    def bits_per_parameter(self) -> float:
        """Mean over all weights and biases of the bits that encode them."""
        return self.n_bits / self.n_parameters

    @property
    def storage_bits(self) -> int:
        """Bits that store all parameters."""
        return sum(layer.storage_bits for layer in self.layers)

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


@checked
def majority_network(
    inputs: int, hidden: int, *, weights: ParameterCode, bias_bits: int
) -> Architecture:
    """One trained hidden layer of sign neurons, whose majority is the output."""
    return Architecture((Layer(inputs, hidden, weights, bias_code(bias_bits)),), None)


@checked
def threshold_unit(inputs: int, *, weights: ParameterCode, bias_bits: int) -> Architecture:
    """No hidden layer: the sign of one trained weighted sum."""
    return Architecture((), Layer(inputs, 1, weights, bias_code(bias_bits)))


@checked
def layered_network(
    sizes: Sequence[int],
    *,
    weights: str | Sequence[str] = "binary",
    biases: str | Sequence[str] = "none",
    activation: Spline | Sequence[Spline] = SIGN,
) -> Architecture:
    """Return dense layers of any depth with a trained readout.

    Parameters
    ----------
    sizes : sequence of int
        Inputs, each hidden layer, outputs.
    weights, biases : str or sequence of str
        Names of codes, see `parameter_code`: one for all layers, or one for each.
    activation : Spline or sequence of Spline
        One for all hidden layers, or one for each.

    Raises
    ------
    AssemblyError
        Fewer than two sizes, a number of codes that is not that of the layers, or no such code.

    Examples
    --------
    >>> network = layered_network((16, 8, 3), weights=("binary", "ternary"), biases="2bit")
    >>> str(network), network.n_bits
    ('16-8-3', 198)
    """
    if len(sizes) < 2:
        raise AssemblyError(
            f"a network of sizes {tuple(sizes)}", hint="inputs and outputs at least"
        )
    n_layers = len(sizes) - 1
    kinds = [weight_code(name) for name in _each(weights, str, n_layers, "weights")]
    offsets = [parameter_code(name) for name in _each(biases, str, n_layers, "biases")]
    after = [*_each(activation, Spline, n_layers - 1, "activations"), SIGN]
    parts = zip(sizes[:-1], sizes[1:], kinds, offsets, after, strict=True)
    layers = [Layer(*part) for part in parts]
    return Architecture(tuple(layers[:-1]), layers[-1])


def hidden_sizes(hidden: int | tuple[int, ...]) -> tuple[int, ...]:
    """Return the neurons of each hidden layer, of which a recipe names one, several or 0."""
    if isinstance(hidden, tuple):
        return hidden
    return (hidden,) if hidden else ()


def _each(given: T | Sequence[T], kind: type[T], count: int, what: str) -> list[T]:
    """Return `count` of what was given once or for each layer."""
    several = [given] * count if isinstance(given, kind) else list(cast("Sequence[T]", given))
    if len(several) != count:
        raise AssemblyError(f"{len(several)} {what} for {counted(count, 'layer')}")
    return several
