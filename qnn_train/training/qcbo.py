"""The training loop: an endless generator, like the optimizer inside it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from qnn_train.solve import Candidate, Extractor, Iterate, to_arrays
from qnn_train.training.methods import METHODS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import numpy as np
    from numpy.typing import NDArray

    from qnn_train.program import Assembly, Task
    from qnn_train.solve import Oracle, Scorer
    from qnn_train.training.methods import Method

__all__ = ["SolverState", "TrainingStep", "train"]


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
    _extractor: Extractor = field(repr=False)

    def saved(self) -> SolverState:
        """Return all that the next step depends on."""
        networks = self._extractor.seen(self.candidates)
        return SolverState(to_arrays(self.iterate.state), networks, self.best)


@dataclass(frozen=True, eq=False)
class SolverState:
    """Where a training was after a step.

    Attributes
    ----------
    solver : mapping of str to array
        State of the method, see `to_arrays`.
    networks : int8 array, shape (candidates, n_bits)
        The different networks seen.
    best : Candidate
        The best of them.
    """

    solver: Mapping[str, NDArray[Any]]
    networks: NDArray[np.int8]
    best: Candidate


def train(
    task: Task | Assembly,
    oracle: Oracle,
    scorer: Scorer,
    *,
    method: Method = METHODS["qcgd"],
    saved: SolverState | None = None,
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
    saved : SolverState, optional
        Where to go on; the oracle must do so too, see `SessionOracle`.

    Raises
    ------
    CheckpointError
        What was saved is of another task or method.

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
    if saved is None:
        extractor, solver = Extractor(task.architecture, scorer), None
    else:
        extractor = Extractor.restored(task.architecture, scorer, saved.networks, saved.best)
        solver = saved.solver
    for iterate in method.start(task, oracle, solver):
        best = extractor.add(iterate.bits)
        yield TrainingStep(iterate, best, extractor.n_candidates, extractor)
