r"""The network itself: integer parameters and the exact forward pass.

.. math:: z^l = W^l a^{l-1} + b^l, \qquad a^l = \operatorname{sign}(z^l),
          \qquad \operatorname{sign}(0) = +1

Many candidates are one network whose arrays have a leading axis: everything broadcasts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np

from qnn_train.errors import AssemblyError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from qnn_train.network.architecture import Architecture

__all__ = ["QuantizedNetwork", "margin_of", "sign"]


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
    weights: tuple[NDArray[np.int64], ...]
    biases: tuple[NDArray[np.int64], ...]

    @classmethod
    def from_bits(cls, architecture: Architecture, bits: ArrayLike) -> Self:
        """Decode parameter bits of shape (..., n_bits), all layers in order, weights first.

        Raises
        ------
        AssemblyError
            The last axis is not `architecture.n_bits`.
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

    def to_bits(self) -> NDArray[np.int8]:
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

    def forward(self, inputs: ArrayLike) -> list[NDArray[np.float32]]:
        """Return the pre-activations z of every trained layer.

        Parameters
        ----------
        inputs : integer array, shape (samples, n_inputs)

        Returns
        -------
        list of float32 array, each of shape (..., samples, outputs)
            Integers, exact: float32 holds them up to 2^24, and BLAS multiplies them.
        """
        activation = np.asarray(inputs, dtype=np.float32)
        sums = []
        for weights, biases in zip(self.weights, self.biases, strict=True):
            transposed = np.swapaxes(weights, -1, -2).astype(np.float32)
            sums.append(activation @ transposed + biases[..., None, :].astype(np.float32))
            activation = sign(sums[-1])
        return sums

    def margin(self, inputs: ArrayLike) -> NDArray[np.float32]:
        """Return the output before its sign, shape (..., samples)."""
        return margin_of(self.architecture, self.forward(inputs)[-1])

    def predict(self, inputs: ArrayLike) -> NDArray[np.int8]:
        """Return the predicted labels -1 and +1, int8, shape (..., samples)."""
        return sign(self.margin(inputs)).astype(np.int8)


def margin_of(architecture: Architecture, sums: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the margin, shape (...), from the last pre-activations, shape (..., outputs)."""
    return sign(sums).sum(axis=-1) if architecture.readout is None else sums[..., 0]


def sign(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return -1 or +1, and +1 for zero."""
    return np.where(values >= 0, np.float32(1), np.float32(-1))
