"""A training on an open session: steps, checkpoints, and the outcome; the same for all methods."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from qnn_train.errors import CheckpointError
from qnn_train.training.checkpoint import Checkpoint, canonical, check_same
from qnn_train.training.report import History

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cim_hal import DevicePool, Session
    from qnn_train.training.problem import Preparation
    from qnn_train.training.report import Outcome
    from qnn_train.training.stepper import Problem, Stepper

__all__ = ["TrainingRun", "run_recipe"]

StepT = TypeVar("StepT")


class TrainingRun(Generic[StepT]):
    """A training in progress: iterate over its steps, then ask for the outcome.

    At any moment `checkpoint` holds all that the rest depends on.

    Parameters
    ----------
    problem : Preparation, ProximalProblem or another `Problem`
    session : cim_hal.Session or cim_hal.DevicePool
    resume : Checkpoint, optional
        Go on from there; the same steps follow as if there had been no stop, on a machine that
        gives the same samples for the same seed.

    Attributes
    ----------
    stepper : Stepper
        The method; it knows calls, progress and history.

    Raises
    ------
    AssemblyError, CapabilityError
        The problem does not fit the machine.
    CheckpointError
        The checkpoint is of other data, another recipe, method or machine, but for what may
        change, see `MAY_CHANGE`.
    TrainingError
        No such method.
    """

    def __init__(
        self,
        problem: Problem[StepT],
        session: Session | DevicePool,
        *,
        resume: Checkpoint | None = None,
    ) -> None:
        self._problem = problem
        self._session = session
        self._digest = problem.digest()
        self._before = 0.0
        if resume is None:
            self.stepper: Stepper[StepT] = problem.stepper(session)
        else:
            self._check_same_problem(resume)
            self._before = resume.seconds
            self.stepper = problem.stepper(session, resume.arrays, resume.history.rows())
            check_same(resume.machine, self.stepper.machine)
        self._started = time.perf_counter()

    def __iter__(self) -> Iterator[StepT]:
        while not self.stepper.is_over:
            yield self.stepper.step()

    def checkpoint(self) -> Checkpoint:
        """Return all that the rest depends on, as of the last step.

        Raises
        ------
        RuntimeError
            No step was made.
        """
        dataset, classes = self._problem.subject
        if not self.stepper.calls:
            raise RuntimeError("no step was made")
        return Checkpoint(
            dataset=dataset,
            classes=classes,
            recipe=self._problem.recipe,
            digest=self._digest,
            machine=self.stepper.machine,
            seconds=self._seconds(),
            history=History.of(self.stepper.rows),
            arrays=self.stepper.arrays(),
        )

    def outcome(self) -> Outcome:
        """Measure the best network on the test images; once, after the last step.

        Raises
        ------
        RuntimeError
            No step was made.
        """
        if not self.stepper.calls:
            raise RuntimeError("no step was made")
        problem: Any = self._problem  # of images: a table has no test split
        return problem.outcome(self.stepper, self._session, self._seconds())

    def _seconds(self) -> float:
        return self._before + time.perf_counter() - self._started

    def _check_same_problem(self, resume: Checkpoint) -> None:
        then, now = resume.recipe, self._problem.recipe
        check_same({"method": then.method}, {"method": now.method})
        check_same(canonical(then), canonical(now))
        if resume.digest != self._digest:
            raise CheckpointError("the checkpoint is of other samples")
        if getattr(then, "sweeps", 0) != getattr(now, "sweeps", 0) and (
            getattr(now, "first_weights", None) or getattr(now, "starts", 1) > 1
        ):
            raise CheckpointError("other sweeps would move the second stage, or the next start")


def run_recipe(
    preparation: Preparation,
    session: Session | DevicePool,
    *,
    iterations: int,
    n_runs: int,
    coupling_bits: int | None = None,
) -> Outcome:
    """Make all steps of a `TrainingRun` and return its outcome.

    Parameters
    ----------
    iterations, n_runs, coupling_bits
        Take the place of those of the recipe.
    """
    changes = {"iterations": iterations, "n_runs": n_runs, "coupling_bits": coupling_bits}
    run = TrainingRun(replace(preparation, recipe=replace(preparation.recipe, **changes)), session)
    for _ in run:
        pass
    return run.outcome()
