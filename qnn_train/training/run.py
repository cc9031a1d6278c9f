"""A whole run on an open session: train, stop after a number of calls, measure, report."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np

from qnn_train.model.file import TrainedModel
from qnn_train.program import ProgramSize
from qnn_train.solve import PackedOracle, SessionOracle, check_same
from qnn_train.training.checkpoint import ProgramCheckpoint, Solving
from qnn_train.training.methods import method_named
from qnn_train.training.qcbo import SolverState, TrainingStep, train
from qnn_train.training.report import History, RunReport

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cim_hal import DevicePool, Session
    from qnn_train.data import ImageSet
    from qnn_train.solve import Oracle
    from qnn_train.training.recipe import Preparation

__all__ = ["Outcome", "TrainingRun", "run_recipe"]


@dataclass(frozen=True, eq=False)
class Outcome:
    """A trained model and how it came to be.

    Attributes
    ----------
    model : TrainedModel
    report : RunReport
    """

    model: TrainedModel
    report: RunReport


class TrainingRun:
    """A run in progress: iterate over its steps, then ask for the outcome.

    At any moment `checkpoint` holds all that the rest depends on.

    Parameters
    ----------
    preparation : Preparation
    session : cim_hal.Session or cim_hal.DevicePool
    iterations : int
        Oracle calls. A step of a method on parts takes several, and is made whole.
    n_runs : int
        Runs of the machine a call.
    coupling_bits : int, optional
        Those of the machine by default.
    method : str
        A key of `qnn_train.training.methods.METHODS`.
    batch : int
        Images of a part, for methods on parts.
    pack : bool
        Whether parts share tasks of the machine, see `PackedOracle`.
    resume : ProgramCheckpoint, optional
        Go on from there; the same steps follow as if there had been no stop, on a machine that
        gives the same samples for the same seed.

    Raises
    ------
    CapabilityError
        The program, or its largest part, does not fit the machine.
    CheckpointError
        The checkpoint is of other images, another recipe, method or machine.
    TrainingError
        No such method.
    """

    def __init__(
        self,
        preparation: Preparation,
        session: Session | DevicePool,
        *,
        iterations: int,
        n_runs: int,
        coupling_bits: int | None = None,
        method: str = "qcgd",
        batch: int = 5,
        pack: bool = False,
        resume: ProgramCheckpoint | None = None,
    ) -> None:
        seed, capabilities = preparation.recipe.seed, session.capabilities
        self._solving = Solving(
            method=method,
            n_runs=n_runs,
            coupling_bits=coupling_bits,
            batch=batch,
            pack=pack,
            device=capabilities.name,
        )
        self._method = method_named(method, batch=batch, n_samples=n_runs, seed=seed)
        preparation.check_fits(capabilities, batch=self._method.batch)
        capabilities.check_runs(n_runs)
        self._preparation = preparation
        self._digest = preparation.digest()
        if resume is not None:
            self._check(resume)
        self._made: tuple[History, TrainingStep | SolverState | None] = (
            (History(), None) if resume is None else (resume.history, resume.saved)
        )
        self._before = 0.0 if resume is None else resume.seconds
        self._coupling_bits = coupling_bits or capabilities.coupling_bits
        self.iterations = iterations
        self._started = time.perf_counter()
        self._oracle: Oracle = SessionOracle(
            session, n_runs=n_runs, seed=seed, coupling_bits=coupling_bits, calls=self.calls
        )
        if pack:
            room = capabilities.max_spins - capabilities.field_spins
            self._oracle = PackedOracle(self._oracle, room)

    @property
    def calls(self) -> int:
        """Calls of the machine up to the last step, those before a checkpoint too."""
        history, _ = self._made
        return history.calls[-1] if history.calls else 0

    def __iter__(self) -> Iterator[TrainingStep]:
        preparation = self._preparation
        steps = train(
            preparation.task,
            self._oracle,
            preparation.scorer,
            method=self._method,
            saved=self._saved if self.calls else None,
        )
        while self.calls < self.iterations:
            step = next(steps)
            # all at once: an interruption finds the run before the step, or after it
            self._made = self._made[0].then(step), step
            yield step

    def checkpoint(self) -> ProgramCheckpoint:
        """Return all that the rest depends on, as of the last step."""
        return ProgramCheckpoint(
            dataset=self._preparation.pair.dataset,
            classes=self._preparation.pair.classes,
            recipe=self._preparation.recipe,
            digest=self._digest,
            solving=self._solving,
            iterations=self.iterations,
            seconds=self._seconds(),
            history=self._made[0],
            saved=self._saved,
        )

    def outcome(self) -> Outcome:
        """Measure the best network on the test images; once, after the last step."""
        saved, seconds = self._saved, self._seconds()
        pair = self._preparation.pair
        model = TrainedModel(
            pair.dataset,
            pair.classes,
            pair.class_names,
            self._preparation.features,
            saved.best.network,
        )
        return Outcome(model, self._report(model, len(saved.networks), seconds))

    @property
    def _saved(self) -> SolverState:
        _, last = self._made
        if last is None:
            raise RuntimeError("no step was made")
        return last.saved() if isinstance(last, TrainingStep) else last

    def _seconds(self) -> float:
        return self._before + time.perf_counter() - self._started

    def _check(self, resume: ProgramCheckpoint) -> None:
        """Refuse a checkpoint of something else."""
        check_same(
            {"images or recipe": resume.digest, **asdict(resume.solving)},
            {"images or recipe": self._digest, **asdict(self._solving)},
        )

    def _report(self, model: TrainedModel, candidates: int, seconds: float) -> RunReport:
        recipe, pair = self._preparation.recipe, self._preparation.pair
        history, _ = self._made
        assembly = self._preparation.task.largest_part(self._method.batch)
        size = ProgramSize.of(assembly)
        return RunReport(
            dataset=pair.dataset,
            classes=pair.classes,
            class_names=pair.class_names,
            network=str(assembly.architecture),
            weights=recipe.weights,
            bias_bits=recipe.bias_bits,
            grid=recipe.grid,
            test_accuracy=_accuracy(model, pair.test),
            train_accuracy=_accuracy(model, pair.train),
            subset_accuracy=_accuracy(model, self._preparation.chosen),
            n_test=len(pair.test),
            n_train=len(pair.train),
            train_samples=len(self._preparation.chosen),
            bits_per_parameter=size.bits_per_parameter,
            spins=size.spins,
            couplings=size.couplings,
            equalities=size.equalities,
            products=size.products,
            method=self._solving.method,
            batch=self._method.batch,
            oracle_calls=self.calls,
            runs_per_call=self._solving.n_runs,
            candidates=candidates,
            seconds=seconds,
            infeasibility=history.infeasibility[-1],
            objective=history.objective[-1],
            gap=history.gap[-1],
            seed=recipe.seed,
            device=self._solving.device,
            coupling_bits=self._coupling_bits,
            score=recipe.score,
            history=history,
        )


def run_recipe(
    preparation: Preparation,
    session: Session | DevicePool,
    *,
    iterations: int,
    n_runs: int,
    coupling_bits: int | None = None,
) -> Outcome:
    """Make all steps of a `TrainingRun` and return its outcome."""
    run = TrainingRun(
        preparation, session, iterations=iterations, n_runs=n_runs, coupling_bits=coupling_bits
    )
    for _ in run:
        pass
    return run.outcome()


def _accuracy(model: TrainedModel, images: ImageSet) -> float:
    says_second = model.network.predict(model.features.transform(images.images))
    return float(np.mean(says_second == images.labels))
