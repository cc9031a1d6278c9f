"""The training loop: an endless generator, like the optimizer inside it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from qnn_train.solve import Candidate, Extractor, Iterate, LiftedProblem, conditional_gradient

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qnn_train.program import Assembly
    from qnn_train.solve import Oracle, Scorer

__all__ = ["TrainingStep", "train"]


@dataclass(frozen=True, eq=False)
class TrainingStep:
    """One call of the oracle and the best network so far.

    Attributes
    ----------
    iterate : Iterate
    best : Candidate
    candidates : int
        Number of different networks seen.
    """

    iterate: Iterate
    best: Candidate
    candidates: int


def train(assembly: Assembly, oracle: Oracle, scorer: Scorer) -> Iterator[TrainingStep]:
    """Train; the caller decides when to stop.

    Parameters
    ----------
    assembly : Assembly
        The program.
    oracle : Oracle
        Called once a step.
    scorer : Scorer
        Labelled images on which all samples are compared; never those of the test.

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
    extractor = Extractor(assembly.architecture, scorer)
    for iterate in conditional_gradient(LiftedProblem.lift(assembly.qcbo), oracle):
        best = extractor.add(iterate.answer.bits)
        yield TrainingStep(iterate, best, extractor.n_candidates)
