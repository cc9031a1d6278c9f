"""A training on an open session: steps, checkpoints, and the outcome; the same for all methods."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Generic, Protocol, TypeVar

from cim_hal import DevicePool, Session  # noqa: TC001  `checked` reads annotations
from qnn_train.arguments import checked
from qnn_train.arrays import Array
from qnn_train.data import Selection
from qnn_train.errors import AssemblyError, CheckpointError
from qnn_train.model.trained import TrainedModel
from qnn_train.network import QuantizedNetwork
from qnn_train.training.checkpoint import Checkpoint, canonical, check_same
from qnn_train.training.image_problem import ProximalProblem
from qnn_train.training.qcbo import Preparation, prepare
from qnn_train.training.recipe import ProximalRecipe, Recipe
from qnn_train.training.report import History, Outcome, Row

__all__ = ["Problem", "Stepper", "TrainingRun", "problem_of", "run_recipe"]


StepT_co = TypeVar("StepT_co", covariant=True)


class Stepper(Protocol[StepT_co]):
    """A method that trains step by step.

    A step changes all of its state at once, at its end: an interruption finds it before the step
    or after it.
    """

    @property
    def calls(self) -> int:
        """Calls of the oracle up to the last step, those before a checkpoint too."""
        ...

    @property
    def progress(self) -> tuple[int, int]:
        """How much is done, and how much there is at most, in units of the method."""
        ...

    @property
    def is_over(self) -> bool:
        """Whether there is nothing left to do."""
        ...

    @property
    def rows(self) -> list[Row]:
        """The history so far."""
        ...

    @property
    def machine(self) -> dict[str, str | int]:
        """What of the machine the state depends on."""
        ...

    def step(self) -> StepT_co:
        """Make one step."""
        ...

    def status(self) -> str:
        """Return the state of the training in a few words, for a progress bar."""
        ...

    def arrays(self) -> dict[str, Array]:
        """Return all that the next step depends on, but for the rows of the history."""
        ...


class Problem(Protocol[StepT_co]):
    """A recipe carried out on data, up to the first call of a machine."""

    @property
    def recipe(self) -> Recipe | ProximalRecipe:
        """All that decides the training."""
        ...

    @property
    def subject(self) -> tuple[str, tuple[int, ...]]:
        """Dataset and classes; empty for a table."""
        ...

    def digest(self) -> str:
        """Return a fingerprint of the data."""
        ...

    def stepper(
        self, session: Session | DevicePool | None, resume: Checkpoint | None = None
    ) -> Stepper[StepT_co]:
        """Return the method at its beginning, or after the steps of a checkpoint.

        Raises
        ------
        AssemblyError, CapabilityError
            The problem does not fit the machine.
        CheckpointError
            The arrays are of another problem, or damaged.
        """
        ...


StepT = TypeVar("StepT")


@checked
class TrainingRun(Generic[StepT]):
    """A training in progress: iterate over its steps, then ask for the outcome.

    At any moment `checkpoint` holds all that the rest depends on.

    Parameters
    ----------
    problem : Preparation, ProximalProblem or another `Problem`
    session : cim_hal.Session, cim_hal.DevicePool or None
        None where the recipe names an oracle on the host.
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
        No such method, or a session where the oracle of the recipe is on the host.
    """

    def __init__(
        self,
        problem: Problem[StepT],
        session: Session | DevicePool | None = None,
        *,
        resume: Checkpoint | None = None,
    ) -> None:
        self._problem = problem
        self._session = session
        self._digest = problem.digest()
        if resume is not None:
            self._check_same_problem(resume)
        self._before = 0.0 if resume is None else resume.seconds
        self.stepper: Stepper[StepT] = problem.stepper(session, resume)
        if resume is not None:
            check_same(resume.machine, self.stepper.machine)
        self._started = time.perf_counter()

    def __iter__(self) -> Iterator[StepT]:
        while not self.stepper.is_over:
            yield self.stepper.step()

    def checkpoint(self) -> Checkpoint:
        """Return all that the rest depends on, as of the last step; a RuntimeError without one."""
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
            raise CheckpointError("the checkpoint is of other samples, or of another init")
        if getattr(then, "sweeps", 0) != getattr(now, "sweeps", 0) and (
            getattr(now, "first_weights", None) or getattr(now, "starts", 1) > 1
        ):
            raise CheckpointError("other sweeps would move the second stage, or the next start")


@checked
def run_recipe(
    preparation: Preparation,
    session: Session | DevicePool | None,
    *,
    iterations: int | None = None,
    n_runs: int | None = None,
    coupling_bits: int | None = None,
) -> Outcome:
    """Make all steps of a ``TrainingRun`` and return its outcome.

    Parameters
    ----------
    iterations, n_runs, coupling_bits
        Take the place of those of the recipe, where they are given.
    """
    changes = {"iterations": iterations, "n_runs": n_runs, "coupling_bits": coupling_bits}
    given: dict[str, Any] = {name: value for name, value in changes.items() if value is not None}
    run = TrainingRun(replace(preparation, recipe=replace(preparation.recipe, **given)), session)
    for _ in run:
        pass
    return run.outcome()


@checked
def problem_of(
    recipe: Recipe | ProximalRecipe,
    selection: Selection,
    *,
    init: TrainedModel | QuantizedNetwork | str | os.PathLike[str] | None = None,
) -> Preparation | ProximalProblem:
    """Carry out a recipe of any method on the images of some classes.

    See `prepare` and `ProximalProblem.of`, also for what they raise; only the latter has an `init`.
    """
    if isinstance(recipe, ProximalRecipe):
        return ProximalProblem.of(recipe, selection, init=init)
    if init is not None:
        raise AssemblyError("init starts a proximal descent", hint=f"not {recipe.method}")
    return prepare(recipe, selection)
