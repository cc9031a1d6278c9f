"""How many networks are as good on the training samples, and how far they differ elsewhere."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qnn_train.estimator.descent import SweepResult
    from qnn_train.estimator.prediction_task import PredictionTask
    from qnn_train.training.proximal_problem import Examples

__all__ = ["TieReport"]


@dataclass(frozen=True)
class TieReport:
    """Networks within a tolerance of the least training loss, on samples they did not see.

    Attributes
    ----------
    n_networks : int
        With different integers, of those at the ends of sweeps.
    n_behaviours : int
        That answer differently somewhere on the samples given; others are equal but for the
        order or the sign of their neurons, or might as well be.
    best_loss, tolerance : float
        Mean training loss, and how much more still counts.
    scores : tuple of float
        Accuracy, or R², on the samples given, the best on training samples first.
    """

    n_networks: int
    n_behaviours: int
    best_loss: float
    tolerance: float
    scores: tuple[float, ...]

    @classmethod
    def of(
        cls,
        found: Sequence[SweepResult],
        examples: Examples,
        task: PredictionTask,
        *,
        tolerance: float,
    ) -> Self:
        """Compare."""
        best = min(each.train_loss for each in found)
        near = [each for each in found if each.train_loss <= best + tolerance]
        near = distinct(sorted(near, key=lambda each: each.train_loss))
        outputs = [each.outputs(examples.inputs) for each in near]
        scores = tuple(task.score(each, examples.labels) for each in outputs)
        behaviours = {task.predict(each).tobytes() for each in outputs}
        return cls(len(near), len(behaviours), best, tolerance, scores)

    @property
    def spread(self) -> float:
        """Largest less smallest score."""
        return max(self.scores) - min(self.scores)

    def __str__(self) -> str:
        return (
            f"{self.n_networks} networks ({self.n_behaviours} different in their answers) within "
            f"{self.tolerance:g} of the training loss {self.best_loss:.4g}; score "
            f"{min(self.scores):.4f} to {max(self.scores):.4f}"
        )


def distinct(found: Sequence[SweepResult]) -> list[SweepResult]:
    """Return the first of those with the same integers."""
    seen: dict[bytes, SweepResult] = {}
    for each in found:
        parts = (*each.network.weights, *each.network.biases)
        seen.setdefault(b"".join(part.tobytes() for part in parts), each)
    return list(seen.values())
