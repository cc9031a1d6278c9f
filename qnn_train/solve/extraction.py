"""From samples to networks: only parameter bits count, all else is the exact forward pass.

Every sample the machine returns holds a full set of parameters. Whatever its other bits claim, the
network they make is well defined, so it is run on labelled images and the best one seen is kept.
Under a noisy oracle this is better than rounding the averaged W.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice

import numpy as np

from qnn_train.arguments import checked
from qnn_train.arrays import (
    Array,
    ArrayLike,
    BitArray,
    FloatArray,
    IntArray,
    NDArray,
    RealArray,
)
from qnn_train.errors import TrainingError
from qnn_train.network import Architecture, QuantizedNetwork
from qnn_train.network.network import margin_of, second_class, sign

__all__ = ["Candidate", "Extractor", "Scorer"]


@dataclass(frozen=True, eq=False)
class Candidate:
    """A network and how well it does on the images it was scored on.

    Attributes
    ----------
    network : QuantizedNetwork
    accuracy : float
        Share of images on the right side.
    losses : tuple of float
        What breaks ties, see `Scorer`.
    """

    network: QuantizedNetwork
    accuracy: float
    losses: tuple[float, ...]

    @property
    def rank(self) -> tuple[float, ...]:
        """Sorts the better candidate first: more accurate, or as accurate at lower losses."""
        return -self.accuracy, *self.losses


@checked
class Scorer:
    r"""Accuracy of many candidates, and losses between equally accurate ones.

    Ties decide the test accuracy where images are few. They are broken by the share of wrong
    votes among the last neurons; then by a squared loss of the analog margin u, the mean of the
    last pre-activations, on a free scale:
    :math:`\min_{\kappa \ge 0} \tfrac1n \sum_s (\kappa u_s - y_s)^2`.

    Of several outputs the largest is the answer, and each output has these losses against the
    rest; they are averaged.

    Parameters
    ----------
    inputs : integer array, shape (samples, n_inputs)
    labels : integer array, shape (samples,), or (samples, outputs) with one +1 in each row
        Values -1 and +1.

    Raises
    ------
    TrainingError
        Labels that are not as many as samples, or other ones.
    """

    def __init__(self, inputs: ArrayLike, labels: ArrayLike) -> None:
        signs = np.asarray(labels)
        if not len(signs) or len(signs) != len(np.asarray(inputs)) or (np.abs(signs) != 1).any():
            raise TrainingError("labels must be -1 or +1, one for each of one or more samples")
        if signs.ndim > 1 and signs.shape[1] > 1 and ((signs == 1).sum(axis=1) != 1).any():
            raise TrainingError("labels of several outputs must have one +1 in each row")
        # Binarized images repeat: score each pattern once.
        self._patterns, which = np.unique(np.asarray(inputs), axis=0, return_inverse=True)
        columns = signs[:, None] if signs.ndim == 1 else signs
        self._up = self._counted(which, columns == 1)
        self._down = self._counted(which, columns == -1)
        self._total = len(signs)

    @property
    def content(self) -> tuple[Array, ...]:
        """Different inputs, and how often each is up and down: all that a score depends on."""
        return self._patterns, self._up, self._down

    def score(self, candidates: QuantizedNetwork) -> tuple[Array, Array]:
        """Return accuracy (K,) and losses (K, 2) of K candidates, float64.

        Raises
        ------
        TrainingError
            Networks with another number of outputs than the labels.
        """
        architecture = candidates.architecture
        if len(self._up) != architecture.n_outputs:
            raise TrainingError(
                f"labels of {len(self._up)} outputs for networks of {architecture.n_outputs}"
            )
        sums = candidates.forward(self._patterns)[-1]
        margins = margin_of(architecture, sums)
        if architecture.n_outputs == 1:
            right = np.where(second_class(margins), self._up[0], self._down[0])
            votes = [sums]
        else:
            right = self._up[margins.argmax(axis=-1), np.arange(len(self._patterns))]
            votes = [sums[..., [output]] for output in range(architecture.n_outputs)]
        losses = np.mean([self._losses(of_one, k) for k, of_one in enumerate(votes)], axis=0)
        return right.sum(axis=-1) / self._total, losses

    def best(self, candidates: QuantizedNetwork) -> tuple[int, Candidate]:
        """Return the place of the best of K candidates, the first of equals, and the candidate."""
        accuracy, losses = self.score(candidates)
        at = int(np.lexsort((*losses.T[::-1], -accuracy))[0])
        return at, Candidate(candidates[at], float(accuracy[at]), tuple(losses[at].tolist()))

    def _counted(self, which: IntArray, chosen: NDArray[np.bool_]) -> FloatArray:
        """Return how often each pattern is chosen, (outputs, patterns)."""
        flat, size = which.ravel(), len(self._patterns)
        return np.array([np.bincount(flat, column, size) for column in chosen.T], float)

    def _losses(self, sums: RealArray, output: int) -> FloatArray:
        """Return wrong votes and analog loss (..., 2) of the neurons (...) of one output."""
        up, down = self._up[output], self._down[output]
        votes = sign(sums).mean(axis=-1, dtype=np.float64)
        wrong = 0.5 - 0.5 * (votes @ (up - down)) / self._total
        analog = sums.mean(axis=-1, dtype=np.float64)
        along, power = analog @ (up - down), analog**2 @ (up + down)
        explained = np.where(along > 0, along**2 / np.maximum(power, 1e-300), 0.0)
        return np.stack([wrong, 1.0 - explained / self._total], axis=-1)


@checked
class Extractor:
    """Keeps the best network among all samples seen.

    Parameters
    ----------
    architecture : Architecture
    scorer : Scorer
        Labelled images; never those of the test.
    seen, best : optional
        Networks (K, n_bits) that were seen before, and the best of them.
    """

    def __init__(
        self,
        architecture: Architecture,
        scorer: Scorer,
        *,
        seen: Iterable[BitArray] = (),
        best: Candidate | None = None,
    ) -> None:
        self._architecture = architecture
        self._scorer = scorer
        self._seen: dict[bytes, None] = {}  # in the order they were seen
        self._best = best
        self._see(seen)

    @property
    def n_candidates(self) -> int:
        """Number of different networks seen."""
        return len(self._seen)

    def add(self, bits: BitArray) -> Candidate:
        """Score the parameter bits of samples (samples, n_bits or more); return the best so far."""
        parameters = np.unique(bits[:, : self._architecture.n_bits], axis=0)
        new = [row for row in parameters if row.tobytes() not in self._seen]
        if new:
            self._see(new)
            networks = QuantizedNetwork.from_bits(self._architecture, np.array(new))
            _, candidate = self._scorer.best(networks)
            best = self._best or candidate
            self._best = candidate if candidate.rank < best.rank else best
        if self._best is None:
            raise TrainingError("the oracle returned no sample")
        return self._best

    def seen(self, count: int) -> BitArray:
        """Return the first different networks that were seen, int8, shape (count, n_bits)."""
        joined = b"".join(islice(self._seen, count))
        return np.frombuffer(joined, np.int8).reshape(count, self._architecture.n_bits)

    def _see(self, networks: Iterable[BitArray]) -> None:
        self._seen.update((row.tobytes(), None) for row in networks)
