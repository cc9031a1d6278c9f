"""The training loop: an endless generator, like the optimizer inside it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from qnn_train.methods import METHODS
from qnn_train.solve import Candidate, Extractor, Iterate

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qnn_train.methods import Method
    from qnn_train.program import Assembly, Task
    from qnn_train.solve import Oracle, Scorer

__all__ = ["TrainingStep", "train"]


@dataclass(frozen=True, eq=False)
class TrainingStep:
    """One step of a solver and the best network so far.

    Attributes
    ----------
    iterate : Iterate
    best : Candidate
    candidates : int
        Number of different networks seen.
    """

    iterate: Iterate[Any]
    best: Candidate
    candidates: int


def train(
    task: Task | Assembly, oracle: Oracle, scorer: Scorer, *, method: Method = METHODS["qcgd"]
) -> Iterator[TrainingStep]:
    """Train; the caller decides when to stop.

    Parameters
    ----------
    task : Task or Assembly
        What to learn. Methods that work on parts need the task, since a program has none.
    oracle : Oracle
        Called once a step, or for each part.
    scorer : Scorer
        Labelled images on which all samples are compared; never those of the test.
    method : Method
        The same samples are scored in the same way whatever the method.

    Examples
    --------
    >>> from qnn_train import ExhaustiveOracle, Scorer, SquaredLoss, assemble
    >>> from qnn_train import threshold_unit, weight_code
    >>> unit = threshold_unit(2, weights=weight_code("binary"), bias_bits=1)
    >>> inputs, labels = [[-1, -1], [-1, 1], [1, -1], [1, 1]], [-1, -1, -1, 1]  # logical and
    >>> assembly = assemble(unit, inputs, labels, loss=SquaredLoss(1))
    >>> next(train(assembly, ExhaustiveOracle(), Scorer(inputs, labels))).best.accuracy
    1.0
    """
    extractor = Extractor(task.architecture, scorer)
    for iterate in method.start(task, oracle):
        yield TrainingStep(iterate, extractor.add(iterate.bits), extractor.n_candidates)
