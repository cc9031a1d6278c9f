"""The state of a proximal descent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from qnn_train.network import QuantizedNetwork, rounded

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from qnn_train.network import Architecture, Layer

__all__ = ["ProximalState", "random_bits"]


@dataclass(frozen=True, eq=False)
class ProximalState:
    """All that a next step depends on.

    Attributes
    ----------
    step : int
        Steps made.
    bits : int8 array, shape (n_bits,)
        The network.
    scale : float
        What the loss keeps: logits per margin, see `CrossEntropy`; 0 before the first step.
    best : int8 array, shape (n_bits,)
        The network that is best on the images that judge, of those at the ends of sweeps.
    best_loss : float
        Its loss, or share of errors, on them; infinite before the first sweep is over.
    best_step : int
        The step after which it was found.
    """

    step: int
    bits: NDArray[np.int8]
    scale: float
    best: NDArray[np.int8]
    best_loss: float
    best_step: int = 0

    @classmethod
    def start(cls, architecture: Architecture, *, seed: int) -> ProximalState:
        """Random bits."""
        bits = random_bits(architecture, seed, 0)
        return cls(0, bits, 0.0, bits, np.inf)

    def recoded(self, old: Architecture, new: Architecture) -> ProximalState:
        """Return a start from the best network, in the codes of another architecture.

        Where the other code has not all of the values, they are `rounded`, and nothing is known of
        the network's loss.
        """
        network = QuantizedNetwork.from_bits(old, self.best)
        if all(map(_holds, new.layers, old.layers)):
            bits = QuantizedNetwork(new, network.weights, network.biases).to_bits()
            return ProximalState(0, bits, self.scale, bits, self.best_loss)
        bits = rounded(network, new).to_bits()
        return ProximalState(0, bits, 0.0, bits, np.inf)


def random_bits(architecture: Architecture, seed: int, sweep: int) -> NDArray[np.int8]:
    """Return the network that a sweep starts from, where it starts anew."""
    stream = [seed, 0] if sweep == 0 else [seed, 0, sweep]
    return np.random.default_rng(stream).integers(0, 2, architecture.n_bits).astype(np.int8)


def _holds(new: Layer, old: Layer) -> bool:
    """Tell whether codes have all values of others, and the activation is the same."""
    pairs = ((new.weights, old.weights), (new.biases, old.biases))
    held = all(set(before.values) <= set(after.values) for after, before in pairs)
    return held and new.activation == old.activation
