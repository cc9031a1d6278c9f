"""A whole run on an open session: train, stop after a number of calls, measure, report."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from qnn_train.methods import method_named
from qnn_train.model_file import TrainedModel
from qnn_train.program import ProgramSize
from qnn_train.report import History, RunReport, finite
from qnn_train.solve import PackedOracle, SessionOracle
from qnn_train.train import train

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cim_hal import DevicePool, Session
    from qnn_train.data import ImageSet
    from qnn_train.recipe import Preparation
    from qnn_train.solve import Oracle
    from qnn_train.train import TrainingStep

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

    Parameters
    ----------
    preparation : Preparation
    session : cim_hal.Session
    iterations : int
        Oracle calls. A step of a method on parts takes several, and is made whole.
    n_runs : int
        Runs of the machine a call.
    coupling_bits : int, optional
        Those of the machine by default.
    method : str
        A key of `qnn_train.methods.METHODS`.
    batch : int
        Images of a part, for methods on parts.
    pack : bool
        Whether parts share tasks of the machine, see `PackedOracle`.

    Raises
    ------
    CapabilityError
        The program, or its largest part, does not fit the machine.
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
    ) -> None:
        seed = preparation.recipe.seed
        self._name = method
        self._method = method_named(method, batch=batch, n_samples=n_runs, seed=seed)
        preparation.check_fits(session.capabilities, batch=self._method.batch)
        session.capabilities.check_runs(n_runs)
        self._preparation = preparation
        self._capabilities = session.capabilities
        self._coupling_bits = coupling_bits or session.capabilities.coupling_bits
        self._iterations = iterations
        self._n_runs = n_runs
        self._started = time.perf_counter()
        self._oracle: Oracle = SessionOracle(
            session, n_runs=n_runs, seed=seed, coupling_bits=coupling_bits
        )
        if pack:
            room = session.capabilities.max_spins - (not session.capabilities.has_field)
            self._oracle = PackedOracle(self._oracle, room)
        self._history = History()
        self._last: TrainingStep | None = None

    def __iter__(self) -> Iterator[TrainingStep]:
        preparation = self._preparation
        for step in train(preparation.task, self._oracle, preparation.scorer, method=self._method):
            self._history.write(step)
            self._last = step
            yield step
            if step.iterate.calls >= self._iterations:
                break

    def outcome(self) -> Outcome:
        """Measure the best network on the test images; once, after the last step."""
        if self._last is None:
            raise RuntimeError("no step was made")
        seconds = time.perf_counter() - self._started
        pair = self._preparation.pair
        model = TrainedModel(
            pair.dataset,
            pair.classes,
            pair.class_names,
            self._preparation.features,
            self._last.best.network,
        )
        return Outcome(model, self._report(model, self._last, seconds))

    def _report(self, model: TrainedModel, last: TrainingStep, seconds: float) -> RunReport:
        recipe, pair = self._preparation.recipe, self._preparation.pair
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
            method=self._name,
            batch=self._method.batch,
            oracle_calls=last.iterate.calls,
            runs_per_call=self._n_runs,
            candidates=last.candidates,
            seconds=seconds,
            infeasibility=finite(last.iterate.infeasibility),
            objective=finite(last.iterate.objective),
            gap=finite(last.iterate.gap),
            seed=recipe.seed,
            device=self._capabilities.name,
            coupling_bits=self._coupling_bits,
            score=recipe.score,
            history=self._history,
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
