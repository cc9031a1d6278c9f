r"""The network itself: integer parameters and the exact forward pass.

.. math:: z^l = W^l a^{l-1} + b^l, \qquad a^l = f^l(z^l)

with :math:`f^l` a spline of integers, by default the sign with :math:`\operatorname{sign}(0) = +1`.

Many candidates are one network whose arrays have a leading axis: everything broadcasts.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Self

import numpy as np

from qnn_train.arguments import check_whole, checked
from qnn_train.arrays import (
    ArrayLike,
    BitArray,
    Float32Array,
    FloatArray,
    IntArray,
    NDArray,
    RealArray,
)
from qnn_train.errors import AssemblyError
from qnn_train.network.architecture import Architecture
from qnn_train.network.codes import ParameterCode
from qnn_train.network.spline import Spline

__all__ = ["QuantizedNetwork", "margin_of", "nearest", "rounded", "second_class", "sign"]


@checked
@dataclass(frozen=True, eq=False)
class QuantizedNetwork:
    """Integer weights and biases of an architecture, for one candidate or for many.

    Parameters
    ----------
    architecture : Architecture
    weights : tuple of int64 array, each of shape (..., outputs, inputs)
    biases : tuple of int64 array, each of shape (..., outputs)
    """

    architecture: Architecture
    weights: tuple[IntArray, ...]
    biases: tuple[IntArray, ...]

    @classmethod
    def from_bits(cls, architecture: Architecture, bits: ArrayLike) -> Self:
        """Decode parameter bits of shape (..., n_bits), all layers in order, weights first.

        Raises
        ------
        AssemblyError
            The last axis is not ``architecture.n_bits``, or numbers other than 0 and 1.
        """
        words = np.asarray(bits)
        if words.ndim == 0 or words.shape[-1] != architecture.n_bits:
            raise AssemblyError(f"bits have shape {words.shape}, not (..., {architecture.n_bits})")
        lead, weights, biases = words.shape[:-1], [], []
        for index, of_weights, of_biases in architecture.split():
            layer = architecture.layers[index]
            shape = (*lead, layer.outputs, layer.inputs, layer.weights.bits)
            weights.append(layer.weights.decode(words[..., of_weights].reshape(shape)))
            shape = (*lead, layer.outputs, layer.biases.bits)
            biases.append(layer.biases.decode(words[..., of_biases].reshape(shape)))
        return cls(architecture, tuple(weights), tuple(biases))

    def to_bits(self) -> BitArray:
        """Encode the parameters; int8, shape (..., n_bits), the inverse of `from_bits`."""
        lead = self.biases[0].shape[:-1]
        parts = []
        for layer, weights, biases in zip(
            self.architecture.layers, self.weights, self.biases, strict=True
        ):
            parts.append(layer.weights.encode(weights).reshape(*lead, layer.weight_bits))
            parts.append(layer.biases.encode(biases).reshape(*lead, -1))
        return np.concatenate(parts, axis=-1)

    def __getitem__(self, candidate: int) -> Self:
        weights = tuple(array[candidate] for array in self.weights)
        biases = tuple(array[candidate] for array in self.biases)
        return type(self)(self.architecture, weights, biases)

    def forward(self, inputs: ArrayLike) -> list[Float32Array]:
        """Return the pre-activations z of every trained layer.

        Parameters
        ----------
        inputs : integer array, shape (samples, n_inputs)

        Returns
        -------
        list of float array, each of shape (..., samples, outputs)
            Integers, exact: float32 where none exceeds 2^24, else float64, and BLAS multiplies
            them.

        Raises
        ------
        AssemblyError
            Inputs that are no integers, or integers that could exceed 2^53.
        """
        features = np.asarray(inputs)
        check_whole("inputs", features)
        dtype = _exact_dtype(self.architecture, float(np.abs(features).max(initial=0)))
        activation = features.astype(dtype)
        sums = []
        for index, layer in enumerate(self.architecture.layers):
            transposed = np.swapaxes(self.weights[index], -1, -2).astype(dtype)
            sums.append(activation @ transposed + self.biases[index][..., None, :].astype(dtype))
            if index < len(self.architecture.hidden):
                activation = layer.activation(sums[-1])
        return sums

    def margin(self, inputs: ArrayLike) -> RealArray:
        """Return the output before any sign.

        Returns
        -------
        float array, shape (..., samples), or (..., samples, outputs) for several outputs
        """
        return margin_of(self.architecture, self.forward(inputs)[-1])

    def predict(self, inputs: ArrayLike) -> NDArray[np.integer]:
        """Return the predicted labels, shape (..., samples).

        Returns
        -------
        int8 array of -1 and +1 for one output, int64 array of the largest output for several
        """
        margin = self.margin(inputs)
        if self.architecture.n_outputs == 1:
            return np.where(second_class(margin), 1, -1).astype(np.int8)
        return margin.argmax(axis=-1)


def margin_of(architecture: Architecture, sums: RealArray) -> RealArray:
    """Return the margins from the last pre-activations (..., outputs), without axis if one."""
    if architecture.readout is None:
        return architecture.hidden[-1].activation(sums).sum(axis=-1)
    return sums[..., 0] if architecture.n_outputs == 1 else sums


def second_class(margins: RealArray) -> NDArray[np.bool_]:
    """Tell which margins of a single output mean the second of two classes, +1: those above zero.

    Every predictor of two classes decides by this function; zero is the first class, as with
    scikit-learn. Neurons have their own convention, see `sign`.
    """
    return margins > 0


def sign(values: RealArray) -> RealArray:
    """Return -1 or +1, and +1 for zero."""
    return np.where(values >= 0, values.dtype.type(1), values.dtype.type(-1))


def _exact_dtype(architecture: Architecture, largest: float) -> type[np.floating]:
    """Return the type that holds all that `architecture` makes of inputs up to `largest`."""
    reach = exact = largest
    for layer in architecture.layers:
        weight, bias = (max(map(abs, code.values)) for code in (layer.weights, layer.biases))
        exact = max(exact, layer.inputs * reach * weight + bias)
        lines = zip(layer.activation.intercepts, layer.activation.slopes, strict=True)
        reach = max(abs(a) + abs(s) * (layer.inputs * reach * weight + bias) for a, s in lines)
        exact = max(exact, reach)
    if exact > 2**53:
        raise AssemblyError(f"the network makes integers up to {exact:.2g}, beyond 2^53")
    return np.float32 if exact <= 2**24 else np.float64


# Of the α that makes the largest weight the largest value.
FACTORS = np.geomspace(0.2, 2.0, 49)


@checked
def rounded(network: QuantizedNetwork, architecture: Architecture) -> QuantizedNetwork:
    r"""Return a network in the codes of `architecture` that does about the same.

    The weights of a neuron, taken times a :math:`1/\alpha` of its own, are rounded to the nearest
    values; that :math:`\alpha` is taken whose rounding is closest in least squares,

    .. math:: \min_\alpha \lVert w - \alpha\,q(w / \alpha)\rVert^2 .

    Behind a ReLU or another activation with :math:`f(\alpha z) = \alpha f(z)` the factor goes over
    to the weights that read the neuron; a sign forgets it. Where the activation saturates, and in
    the last layer, whose outputs are compared, there is one :math:`\alpha` for the layer.

    Parameters
    ----------
    network : QuantizedNetwork
        One, not many.
    architecture : Architecture
        Of the same layers; activations as in the network, but for the sums where they saturate.
    """
    weights, biases = [], []
    behind = np.ones(architecture.n_inputs)
    for index, layer in enumerate(architecture.layers):
        old = network.architecture.layers[index]
        real = network.weights[index] * behind
        each = index + 1 < len(architecture.layers) and _is_free(layer.activation)
        fixed = _ratio(old.activation, layer.activation)
        alpha = _scales(real, layer.weights, each=each, fixed=fixed)
        weights.append(nearest(layer.weights, real / alpha[:, None]))
        biases.append(nearest(layer.biases, network.biases[index] / alpha))
        behind = alpha if any(layer.activation.slopes) else np.ones_like(alpha)
    return QuantizedNetwork(architecture, tuple(weights), tuple(biases))


def _is_free(activation: Spline) -> bool:
    """Tell whether f(αz) is αf(z), or f(z), for all positive α."""
    linear = not any(activation.intercepts)
    constant = not any(activation.slopes)
    return (linear or constant) and all(knot == 0 for knot in activation.knots)


def _ratio(old: Spline, new: Spline) -> float | None:
    """Return how much further an activation reaches than another; None where it does not end."""
    if _is_free(new) or not new.knots or not new.knots[-1]:
        return None
    return old.knots[-1] / new.knots[-1]


def _scales(
    real: FloatArray, code: ParameterCode, *, each: bool, fixed: float | None
) -> FloatArray:
    """Return α of each neuron."""
    if fixed is not None:
        return np.full(len(real), fixed)
    if not each:
        return np.full(len(real), _best_scale(real.ravel(), code))
    return np.array([_best_scale(row, code) for row in real])


def _best_scale(real: FloatArray, code: ParameterCode) -> float:
    largest = float(np.abs(real).max()) or 1.0
    tried = largest / max(map(abs, code.values)) * FACTORS
    errors = [np.square(real - a * nearest(code, real / a)).sum() for a in tried]
    return float(tried[int(np.argmin(errors))])


def nearest(code: ParameterCode, real: FloatArray) -> IntArray:
    """Return the value of a code that is nearest to each number."""
    values, middles = _values_of(code)
    return values[middles.searchsorted(real)]


@lru_cache(64)
def _values_of(code: ParameterCode) -> tuple[IntArray, FloatArray]:
    """Return the values of a code, and the middles between them."""
    values = np.array(code.values, dtype=np.int64)
    return values, (values[1:] + values[:-1]) / 2
