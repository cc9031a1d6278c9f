"""From samples to networks: only parameter bits count, all else is the exact forward pass.

Every sample the machine returns holds a full set of parameters. Whatever its other bits claim, the
network they make is well defined, so it is run on labelled images and the best one seen is kept.
Under a noisy oracle this is better than rounding the averaged W.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from qnn_train.errors import TrainingError
from qnn_train.network import QuantizedNetwork

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from qnn_train.network import Architecture

__all__ = ["Candidate", "Extractor", "Scorer"]


@dataclass(frozen=True, eq=False)
class Candidate:
    """A network and how well it does on the images it was scored on.

    Attributes
    ----------
    network : QuantizedNetwork
    accuracy : float
        Share of images on the right side.
    loss : float
        What breaks ties, see `Scorer`.
    """

    network: QuantizedNetwork
    accuracy: float
    loss: float

    @property
    def rank(self) -> tuple[float, float]:
        """Sorts the better candidate first: more accurate, or as accurate at a lower loss."""
        return -self.accuracy, self.loss


class Scorer:
    r"""Accuracy of many candidates, and a loss between equally accurate ones.

    Ties decide the test accuracy where images are few, so they are broken by a squared loss of
    the analog margin :math:`u_s`, the mean over the last neurons of their pre-activations:
    :math:`\min_\kappa \sum_s (\kappa u_s - y_s)^2 / \sum_s 1`.

    Parameters
    ----------
    inputs : integer array, shape (samples, n_inputs)
    labels : integer array, shape (samples,)
        Values -1 and +1.
    """

    def __init__(self, inputs: ArrayLike, labels: ArrayLike) -> None:
        signs = np.asarray(labels)
        # Binarized images repeat: score each pattern once.
        self._patterns, which = np.unique(np.asarray(inputs), axis=0, return_inverse=True)
        n_patterns = len(self._patterns)
        self._up = np.bincount(which.ravel(), signs == 1, n_patterns)
        self._down = np.bincount(which.ravel(), signs == -1, n_patterns)

    def score(self, candidates: QuantizedNetwork) -> tuple[NDArray, NDArray]:
        """Return accuracy and loss of K candidates, float64, shape (K,) each."""
        sums = candidates.forward(self._patterns)[-1]
        total = self._up.sum() + self._down.sum()
        says_up = candidates.margin(self._patterns) >= 0
        right = np.where(says_up, self._up, self._down).sum(axis=-1)
        analog = sums.mean(axis=-1, dtype=np.float64)
        along = analog @ (self._up - self._down)
        power = analog**2 @ (self._up + self._down)
        explained = np.where(along > 0, along**2 / np.maximum(power, 1e-300), 0.0)
        return right / total, 1.0 - explained / total


class Extractor:
    """Keeps the best network among all samples seen.

    Parameters
    ----------
    architecture : Architecture
    scorer : Scorer
        Labelled images; never those of the test.
    """

    def __init__(self, architecture: Architecture, scorer: Scorer) -> None:
        self._architecture = architecture
        self._scorer = scorer
        self._seen: set[bytes] = set()
        self._best: Candidate | None = None

    @property
    def n_candidates(self) -> int:
        """Number of different networks seen."""
        return len(self._seen)

    def add(self, bits: NDArray[np.int8]) -> Candidate:
        """Score the parameter bits of samples (samples, n_bits or more); return the best so far."""
        parameters = np.unique(bits[:, : self._architecture.n_bits], axis=0)
        new = [row for row in parameters if row.tobytes() not in self._seen]
        if new:
            self._seen.update(row.tobytes() for row in new)
            self._best = self._better(QuantizedNetwork.from_bits(self._architecture, np.array(new)))
        if self._best is None:
            raise TrainingError("the oracle returned no sample")
        return self._best

    def _better(self, networks: QuantizedNetwork) -> Candidate:
        accuracy, loss = self._scorer.score(networks)
        at = int(np.lexsort((loss, -accuracy))[0])
        candidate = Candidate(networks[at], float(accuracy[at]), float(loss[at]))
        return candidate if self._best is None else min(self._best, candidate, key=lambda c: c.rank)
