r"""A network in codes of fewer values that does about the same.

The weights of a neuron, taken times a :math:`1/\alpha` of its own, are rounded to the nearest
values; that :math:`\alpha` is taken whose rounding is closest in least squares,

.. math:: \min_\alpha \lVert w - \alpha\,q(w / \alpha)\rVert^2 .

Behind a ReLU or another activation with :math:`f(\alpha z) = \alpha f(z)` the factor goes over to
the weights that read the neuron; a sign forgets it. Where the activation saturates, and in the last
layer, whose outputs are compared, there is one :math:`\alpha` for the layer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from qnn_train.network.network import QuantizedNetwork

if TYPE_CHECKING:
    from qnn_train.arrays import FloatArray, IntArray
    from qnn_train.network.architecture import Architecture
    from qnn_train.network.codes import ParameterCode
    from qnn_train.network.spline import Spline

__all__ = ["rounded"]

# Of the α that makes the largest weight the largest value.
FACTORS = np.geomspace(0.2, 2.0, 49)


def rounded(network: QuantizedNetwork, architecture: Architecture) -> QuantizedNetwork:
    """Return a network in the codes of `architecture`, which has the same layers.

    Parameters
    ----------
    network : QuantizedNetwork
        One, not many.
    architecture : Architecture
        Activations as in the network, but for the sums where they saturate.
    """
    weights, biases = [], []
    behind = np.ones(architecture.n_inputs)
    for index, layer in enumerate(architecture.layers):
        old = network.architecture.layers[index]
        real = network.weights[index] * behind
        each = index + 1 < len(architecture.layers) and _is_free(layer.activation)
        fixed = _ratio(old.activation, layer.activation)
        alpha = _scales(real, layer.weights, each=each, fixed=fixed)
        weights.append(_nearest(layer.weights, real / alpha[:, None]))
        biases.append(_nearest(layer.biases, network.biases[index] / alpha))
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
    errors = [np.square(real - a * _nearest(code, real / a)).sum() for a in tried]
    return float(tried[int(np.argmin(errors))])


def _nearest(code: ParameterCode, real: FloatArray) -> IntArray:
    values = np.array(code.values, dtype=np.int64)
    middles = (values[1:] + values[:-1]) / 2
    return values[np.searchsorted(middles, real)]
