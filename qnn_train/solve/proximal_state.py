"""The state of a proximal descent, and what changes from sweep to sweep."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from qnn_train.network import QuantizedNetwork, rounded

if TYPE_CHECKING:
    from qnn_train.arrays import BitArray
    from qnn_train.network import Architecture, Layer

__all__ = ["Annealing", "ProximalState", "random_bits", "recoded"]


@dataclass(frozen=True, kw_only=True)
class Annealing:
    """What changes from sweep to sweep, from a first to a last value in equal ratios.

    Parameters
    ----------
    sweeps : int
        Visits of every block; from the last of them on, the last values are kept.
    batch : tuple of int
        Images in a step, all of them where there are no more. Few images are what temperature is
        elsewhere: the best samples for them are not the best for all.
    width : tuple of float
        Of the smeared slopes, in units of the spread of a layer's sums.
    restarts : bool
        Whether after `sweeps` all begins again, from another random network.
    """

    sweeps: int = 24
    batch: tuple[int, int] = (1000, 20_000)
    width: tuple[float, float] = (1.0, 0.25)
    restarts: bool = False

    def at(self, sweep: int) -> tuple[int, float]:
        """Return batch and width of a sweep, the first of which is 0."""
        sweep = sweep % self.sweeps if self.restarts else sweep
        done = min(1.0, sweep / max(1, self.sweeps - 1))
        batch, width = (a ** (1 - done) * b**done for a, b in (self.batch, self.width))
        return round(batch), width

    def halves(self) -> tuple[Annealing, Annealing]:
        """Return two that follow on each other and together are this one."""
        middle, width = self.at(self.sweeps // 2)
        first = replace(
            self,
            sweeps=self.sweeps // 2,
            batch=(self.batch[0], middle),
            width=(self.width[0], width),
        )
        second = replace(
            self,
            sweeps=self.sweeps - first.sweeps,
            batch=(middle, self.batch[1]),
            width=(width, self.width[1]),
        )
        return first, second

    def begins(self, sweep: int) -> bool:
        """Tell whether a sweep starts from a new random network."""
        return sweep == 0 or (self.restarts and sweep % self.sweeps == 0)


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
    """

    step: int
    bits: BitArray
    scale: float

    @classmethod
    def start(cls, architecture: Architecture, *, seed: int) -> ProximalState:
        """Random bits."""
        bits = random_bits(architecture, seed, 0)
        return cls(0, bits, 0.0)


def random_bits(architecture: Architecture, seed: int, sweep: int) -> BitArray:
    """Return the network that a sweep starts from, where it starts anew."""
    stream = [seed, 0] if sweep == 0 else [seed, 0, sweep]
    return np.random.default_rng(stream).integers(0, 2, architecture.n_bits).astype(np.int8)


def recoded(
    bits: BitArray, scale: float, old: Architecture, new: Architecture
) -> tuple[ProximalState, bool]:
    """Return a start from a network in the codes of another architecture, and whether it is exact.

    Where the other code has not all of the values, they are `rounded`: the network has another
    loss then, and the scale is found anew.
    """
    network = QuantizedNetwork.from_bits(old, bits)
    if all(map(_holds, new.layers, old.layers)):
        same = QuantizedNetwork(new, network.weights, network.biases).to_bits()
        return ProximalState(0, same, scale), True
    return ProximalState(0, rounded(network, new).to_bits(), 0.0), False


def _holds(new: Layer, old: Layer) -> bool:
    """Tell whether codes have all values of others, and the activation is the same."""
    pairs = ((new.weights, old.weights), (new.biases, old.biases))
    held = all(set(before.values) <= set(after.values) for after, before in pairs)
    return held and new.activation == old.activation
