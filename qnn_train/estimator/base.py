"""What classifier and regressor share: parameters, fitting, costs, ties and files."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self, TypeVar, cast

import numpy as np
from sklearn.base import BaseEstimator, clone
from sklearn.model_selection import train_test_split
from sklearn.utils import check_consistent_length, check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from cim_hal import CimError, DevicePool, Session, open_device
from qnn_train.arrays import Array, ArrayLike, FloatArray
from qnn_train.checks import HIDDEN, check_all, real
from qnn_train.data.features import FeatureGrid
from qnn_train.errors import CheckpointError
from qnn_train.estimator.parameters import PARAMETERS, Device
from qnn_train.estimator.prediction_task import PredictionTask, TaskJudge, answers_of
from qnn_train.estimator.samples import Samples, checked_weights
from qnn_train.estimator.summary import NetworkSummary, Progress, TieReport, distinct, draw
from qnn_train.method_names import MACHINE
from qnn_train.model.integer import IntegerModel
from qnn_train.model.onnx import read_model, save_onnx
from qnn_train.network import Architecture
from qnn_train.training.checkpoint import Checkpoint
from qnn_train.training.descent import Cost, DescentProblem, Examples, SweepResult
from qnn_train.training.oracles import OracleRecord, capabilities_of
from qnn_train.training.proximal import ProximalStepper
from qnn_train.training.recipe import OracleName, ProximalRecipe
from qnn_train.training.run import TrainingRun
from qnn_train.training.start import check_agreement, loaded, only_network

T = TypeVar("T")

OUTPUT_BIAS_BITS = 5
ANNEALED = 12  # sweeps

__all__ = ["QuantizedNetworkEstimator"]


class QuantizedNetworkEstimator(BaseEstimator, ABC):
    """A network of few-bit integers, trained with an Ising machine, for any real features.

    Features are standardized and rounded to a grid of integers, which is kept with the model.
    Hidden layers, or none, then one or several outputs. Trained by proximal block descent, see
    `qnn_train.solve.proximal_descent`; the network at the end of each sweep is judged, and the
    best is kept.

    Parameters and attributes are listed at `QuantizedNetworkClassifier`.
    """

    def __init__(
        self,
        hidden: int | tuple[int, ...] = 8,
        *,
        activation: str = "hard_tanh",
        weights: str | tuple[str, ...] = "binary",
        clip: float | tuple[float, ...] = (4.0, 2.0, 1.0, 0.5),
        clip_gain: float = 0.2,
        bias_bits: int = 4,
        bias_reach: float = 1.5,
        output_bias_bits: int | None = None,
        output_bias_reach: float = 1.0,
        levels: int = 16,
        cut: int = 4,
        device: Device = "emulator-dsb",
        oracle: OracleName = "machine",
        polish: bool = True,
        n_runs: int = 16,
        round_trips: int | None = 100,
        settings: Sequence[tuple[str, float]] = (("field_weight", 1.0), ("coupling_gain", 4.0)),
        coupling_bits: int | None = None,
        sweeps: int = 40,
        starts: int = 4,
        pretraining: int = 2000,
        ladder: tuple[float, ...] = (0.02, 0.1, 0.5, 2.0),
        block_spins: int | None = None,
        block_reads: int | None = None,
        vote: int = 1,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        patience: int = 4,
        tolerance: float = 0.001,
        class_weight: Mapping[Any, float] | str | None = None,
        init: IntegerModel | str | os.PathLike[str] | None = None,
        callbacks: Sequence[Callable[[Progress], object]] | None = None,
        checkpoint: str | os.PathLike[str] | None = None,
        verbose: bool = False,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.hidden = hidden
        self.activation = activation
        self.weights = weights
        self.clip = clip
        self.clip_gain = clip_gain
        self.bias_bits = bias_bits
        self.bias_reach = bias_reach
        self.output_bias_bits = output_bias_bits
        self.output_bias_reach = output_bias_reach
        self.levels = levels
        self.cut = cut
        self.device = device
        self.oracle: OracleName = oracle
        self.polish = polish
        self.n_runs = n_runs
        self.round_trips = round_trips
        self.settings = settings
        self.coupling_bits = coupling_bits
        self.sweeps = sweeps
        self.starts = starts
        self.pretraining = pretraining
        self.ladder = ladder
        self.block_spins = block_spins
        self.block_reads = block_reads
        self.vote = vote
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.patience = patience
        self.tolerance = tolerance
        self.class_weight = class_weight
        self.init = init
        self.callbacks = callbacks
        self.checkpoint = checkpoint
        self.verbose = verbose
        self.random_state = random_state

    def __sklearn_clone__(self) -> Self:
        """Return an estimator with the same parameters, on the same session or pool if it is open.

        All other parameters are copied, as `sklearn.base.clone` does.
        """
        parameters = self.get_params(deep=False)
        shared = {"device"} if isinstance(self.device, Session | DevicePool) else set()
        copies: dict[str, Any] = {
            name: value if name in shared else clone(value, safe=False)
            for name, value in parameters.items()
        }
        return type(self)(**copies)

    def fit(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Self:
        """Train.

        The order of the samples does not matter, and a sample that counts twice is one that stands
        there twice: the networks are the same, bit for bit.

        Parameters
        ----------
        X : array, shape (n, n_features)
        y : array, shape (n,), or (n, outputs) for several real numbers
            Labels of any kind, or real numbers.
        sample_weight : array, shape (n,), optional
            What each sample counts in loss, scores and features' spread; 1 by default.

        Raises
        ------
        ValueError
            Samples that cannot be used, a single class, real numbers that are all the same, or a
            parameter outside its range.
        CheckpointError
            The checkpoint is of another training.
        CimError
            The machine cannot be reached, or fails.
        """
        samples = self._counted(X, y, sample_weight)
        self._task = task = self._task_of(samples)
        grid, problem = self._problem(task, samples)
        with self._opened() as session:
            spins = Cost.of(problem, capabilities_of(problem.recipe, session)).spins
            self.found_, self.history_, record = self._trained(problem, session)
        self.hardness_ = record.report()["hardness"]
        self.calls_ = self.history_[-1].calls
        gain = 0.0 if self.early_stopping else self.clip_gain
        chosen = _voters(self.found_, problem.stages[0].architectures, gain)[: self.vote]
        self.n_votes_ = len(chosen)
        self._taken = [each is chosen[0] for each in self.found_].index(True)
        self.model_ = replace(task.model(chosen, grid), oracle=self.oracle)
        self.summary_ = NetworkSummary.of(
            chosen[0].network.architecture,
            n_networks=self.n_votes_,
            n_reals=task.n_reals,
            spins=spins,
            calls=self.calls_,
            n_runs=self.n_runs,
        )
        return self

    def estimate_cost(self, X: ArrayLike, y: ArrayLike) -> Cost:
        """Return what `fit` will take at most: spins, couplings, calls, bits per parameter.

        The machine is asked what it can do and given nothing to do; the bits are those of one
        network, without `vote`.
        """
        samples = self._counted(X, y, None)
        _, problem = self._problem(self._task_of(samples), samples)
        with self._opened() as session:
            return Cost.of(problem, capabilities_of(problem.recipe, session))

    def tie_report(self, X: ArrayLike, y: ArrayLike, *, tolerance: float = 0.01) -> TieReport:
        """Say how far networks with nearly the least training loss differ on other samples.

        Parameters
        ----------
        X, y : array
            Samples that were not trained on, and the answers to them.
        tolerance : float
            Of the mean training loss.

        Raises
        ------
        ValueError
            Labels that `fit` did not see.
        """
        tolerance = real(0, 1e300)("tolerance", tolerance)
        samples, answers = self._samples(X), self._answers(y)
        check_consistent_length(samples, answers)
        examples = Examples(self.model_.grid.transform(samples), self._task.labels(answers))
        return TieReport.of(self.found_, examples, self._task, tolerance=tolerance)

    def save_picture(self, path: str | os.PathLike[str], *, title: str = "") -> None:
        """Draw objective and scores against calls, below a title; the suffix says the format."""
        check_is_fitted(self)
        score = "R²" if self.model_.KIND == "regressor" else "accuracy"
        draw(self.history_, self.summary_, Path(path), score=score, taken=self._taken, title=title)

    def save_integers(self, path: str | os.PathLike[str]) -> None:
        """Write ``.npz`` without pickle, which `load` of the model reads."""
        check_is_fitted(self)
        self.model_.save(Path(path))

    def save_onnx(self, path: str | os.PathLike[str]) -> None:
        """Write ONNX; needs the extra ``onnx``."""
        check_is_fitted(self)
        save_onnx(self.model_, Path(path))

    @abstractmethod
    def _checked(self, X: ArrayLike, y: ArrayLike) -> tuple[FloatArray, Array]:
        """Return samples and answers to train on, or refuse."""

    @abstractmethod
    def _task_of(self, samples: Samples) -> PredictionTask:
        """Return what is to be learned, or refuse."""

    @abstractmethod
    def _classes_weighted(self, samples: Samples) -> Samples:
        """Return the samples with the weights of their classes."""

    @abstractmethod
    def _answers(self, y: ArrayLike) -> Array:
        """Return answers to other samples, of the kind that was trained on, or refuse."""

    def _counted(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None) -> Samples:
        """Return the different samples and what each counts."""
        features, answers = _named("X or y", lambda: self._checked(X, y))
        weights = checked_weights(sample_weight, features)
        return self._classes_weighted(Samples.of(features, answers, weights))

    def _trained(
        self, problem: TableProblem, session: Session | DevicePool | None
    ) -> tuple[list[SweepResult], list[Progress], OracleRecord]:
        """Make all sweeps, from the checkpoint if there is one; return all that was found."""
        path = None if self.checkpoint is None else Path(self.checkpoint)
        resume = Checkpoint.load(path) if path is not None and path.exists() else None
        try:
            run = TrainingRun(problem, session, resume=resume)
        except CheckpointError as error:
            hint = "use another file; random_state must be an integer"
            raise CheckpointError(f"{path}: {error.message}", hint=hint) from None
        stepper = cast("ProximalStepper", run.stepper)
        history: list[Progress] = []
        self._tell(stepper, history)
        for _ in run:
            if stepper.n_sweeps == len(history):
                continue
            if path is not None:
                run.checkpoint().save(path)
            self._tell(stepper, history)
            if self.verbose:
                print(history[-1])  # noqa: T201  what verbose asks for
            stops = [callback(history[-1]) for callback in self.callbacks or ()]
            if any(stop is True for stop in stops):
                break
        return stepper.sweeps, history, stepper.oracle_record

    def _tell(self, stepper: ProximalStepper, history: list[Progress]) -> None:
        """Append what is told of the sweeps that are not in a history yet."""
        before = len(history)
        first = before + (self.init is None)  # what a given network is before has the number 0
        for sweep, (found, row) in enumerate(stepper.measured(before), first):
            best = min(found.objective, *(each.best_objective for each in history[-1:]), np.inf)
            history.append(
                Progress(
                    sweep=sweep,
                    sweeps=self.sweeps * self.starts,
                    calls=row.calls,
                    objective=found.objective,
                    best_objective=best,
                    train_score=found.train_score,
                    validation_score=found.validation_score,
                )
            )

    def _problem(self, task: PredictionTask, samples: Samples) -> tuple[FeatureGrid, TableProblem]:
        """Split the samples, put them on the grid, and say what is trained."""
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        kept, held = np.arange(len(samples.features)), np.arange(0)
        if self.early_stopping:
            kept, held = cast("Any", train_test_split)(
                kept,
                test_size=self.validation_fraction,
                stratify=task.strata(samples.answers),
                random_state=seed,
            )
        train, validation = samples.take(kept), samples.take(held)
        start = self._start(task, samples.features.shape[1])
        grid = FeatureGrid.fit(
            train.features, levels=self.levels, cut=self.cut, weights=train.weights
        )
        network = None
        if start is not None:
            grid, network = start.grid, only_network(start.networks)
        examples, apart = (
            Examples(grid.transform(part.features), task.labels(part.answers), part.weights)
            for part in (train, validation)
        )
        recipe = self._recipe(task, samples.features.shape[1], seed)
        judge = TaskJudge(task, examples, apart)
        parts = recipe, task.n_outputs, examples, apart, task.loss, judge
        return grid, TableProblem(*parts, init=network)

    def _start(self, task: PredictionTask, n_features: int) -> IntegerModel | None:
        """Return the model to start from; refuse one of another task or other features."""
        if self.init is None or isinstance(self.init, IntegerModel):
            model = self.init
        else:
            model = loaded(self.init, read_model)
        if model is not None:
            grid = model.grid
            sizes = {"features": len(grid.means), "levels": grid.levels, "cut": grid.cut}
            wanted = {"features": n_features, "levels": self.levels, "cut": self.cut}
            check_agreement(answers_of(model) | sizes, task.described | wanted)
        return model

    def _recipe(self, task: PredictionTask, n_features: int, seed: int) -> ProximalRecipe:
        """Return the recipe, its reaches in proportion to the spread of a sum of features."""
        spread = float(np.sqrt(n_features))
        hidden = HIDDEN("hidden", self.hidden)
        last_biases, biases = self.output_bias_bits, self.bias_bits
        if last_biases is None:
            last_biases = 0 if task.loss.free_offset else OUTPUT_BIAS_BITS
            biases = biases if hidden else last_biases
        return ProximalRecipe(
            hidden=hidden,
            readout="trained",
            activation=self.activation,
            clip=tuple(spread * clip for clip in np.atleast_1d(self.clip).tolist()),
            weights=self.weights,
            bias_bits=biases,
            bias_reach=self.bias_reach * spread,
            output_bias_bits=last_biases,
            output_bias_reach=self.output_bias_reach,
            sweeps=self.sweeps,
            annealed=ANNEALED,
            starts=self.starts,
            pretraining=self.pretraining,
            ladder=tuple(self.ladder),
            block_spins=self.block_spins,
            block_reads=self.block_reads,
            oracle=self.oracle,
            polish=self.polish,
            n_runs=self.n_runs,
            round_trips=self.round_trips,
            settings=tuple(self.settings),
            coupling_bits=self.coupling_bits,
            patience=self.patience,
            tolerance=self.tolerance,
            seed=seed,
        )

    def _opened(self) -> AbstractContextManager[Session | DevicePool | None]:
        """Open the machine and close it again; leave what is open as it is, or not needed."""
        device = self.device
        if self.oracle != MACHINE:
            return nullcontext()
        return (
            nullcontext(device) if isinstance(device, Session | DevicePool) else open_device(device)
        )

    def _validated(self, X: ArrayLike, y: ArrayLike, **options: bool) -> tuple[FloatArray, Array]:
        """Check the parameters, and what scikit-learn checks."""
        check_all(PARAMETERS, self.get_params(deep=False))
        return cast("Any", validate_data)(self, X, y, dtype="float64", **options)

    def _samples(self, X: ArrayLike) -> FloatArray:
        check_is_fitted(self)
        return _named(
            "X", lambda: cast("Any", validate_data)(self, X, dtype="float64", reset=False)
        )


def _voters(
    found: list[SweepResult], clips: Sequence[Architecture], gain: float
) -> list[SweepResult]:
    """Return the different networks of one clip, the best first.

    It is the first clip, but for one of those behind it whose best network gains a share on it.
    """
    ordered = sorted(found, key=lambda each: each.objective)
    chosen: list[SweepResult] = []
    for clip in dict.fromkeys(clips):
        mine = [each for each in ordered if each.network.architecture == clip]
        if mine and (not chosen or mine[0].objective < (1 - gain) * chosen[0].objective):
            chosen = mine
    return distinct(chosen)


def _named(what: str, check: Callable[[], T]) -> T:
    """Return what scikit-learn makes of samples; where it refuses them its error names them."""
    try:
        return check()
    except CimError:
        raise
    except OverflowError as error:
        raise ValueError(f"{what}: {error}") from None
    except (TypeError, ValueError) as error:
        raise type(error)(f"{what}: {error}") from None


@dataclass(frozen=True, eq=False)
class TableProblem(DescentProblem):
    """A descent on a table, whose networks are all kept."""

    KEEPS_SWEEPS = True

    @property
    def subject(self) -> tuple[str, tuple[int, ...]]:
        """Nothing: a table has no name."""
        return "", ()

    def stepper(
        self, session: Session | DevicePool | None, resume: Checkpoint | None = None
    ) -> ProximalStepper:
        """Return the descent, see `Problem.stepper`."""
        return ProximalStepper(self, session, resume)
