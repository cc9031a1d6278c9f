"""What classifier and regressor share: parameters, fitting, costs, ties and files."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, cast

from sklearn.base import BaseEstimator, clone
from sklearn.utils import check_consistent_length
from sklearn.utils.validation import check_is_fitted, validate_data

from cim_hal import DevicePool, Session
from qnn_train.errors import AssemblyError
from qnn_train.estimator.picture import draw
from qnn_train.estimator.plan import opened, plan
from qnn_train.estimator.summary import NetworkSummary
from qnn_train.estimator.ties import TieReport, distinct
from qnn_train.model.onnx import save_onnx
from qnn_train.training.proximal_problem import Examples

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Sequence

    import numpy as np
    from numpy.typing import ArrayLike, NDArray

    from cim_hal import Driver
    from qnn_train.estimator.descent import Progress
    from qnn_train.estimator.prediction_task import PredictionTask
    from qnn_train.training.cost import Cost

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
        bias_bits: int = 2,
        output_bias_bits: int | None = None,
        levels: int = 16,
        cut: int = 4,
        device: str | Driver | Session | DevicePool = "emulator-dsb",
        n_runs: int = 16,
        round_trips: int | None = 100,
        sweeps: int = 12,
        ladder: tuple[float, ...] = (0.02, 0.1, 0.5, 2.0),
        block_spins: int | None = None,
        vote: int = 1,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        patience: int = 4,
        callbacks: Sequence[Callable[[Progress], object]] | None = None,
        checkpoint: str | os.PathLike[str] | None = None,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.hidden = hidden
        self.activation = activation
        self.weights = weights
        self.bias_bits = bias_bits
        self.output_bias_bits = output_bias_bits
        self.levels = levels
        self.cut = cut
        self.device = device
        self.n_runs = n_runs
        self.round_trips = round_trips
        self.sweeps = sweeps
        self.ladder = ladder
        self.block_spins = block_spins
        self.vote = vote
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.patience = patience
        self.callbacks = callbacks
        self.checkpoint = checkpoint
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

    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:
        """Train.

        Parameters
        ----------
        X : array, shape (n, n_features)
        y : array, shape (n,), or (n, outputs) for several real numbers
            Labels of any kind, or real numbers.

        Raises
        ------
        ValueError
            Samples that cannot be used, a single class, or a parameter outside its range.
        CheckpointError
            The checkpoint is of another training.
        CimError
            The machine cannot be reached, or fails.
        """
        samples, answers = self._checked(X, y)
        self._task = self._task_of(answers)
        grid, descent = plan(self, samples, answers, self._task)
        path = None if self.checkpoint is None else Path(self.checkpoint)
        with opened(self.device) as session:
            spins = descent.cost(session.capabilities).spins
            self.found_ = descent.run(session, path)
        self.history_ = descent.history
        self.calls_ = self.history_[-1].calls
        chosen = distinct(sorted(self.found_, key=lambda each: each.objective))[: self.vote]
        self.n_votes_ = len(chosen)
        self.model_ = self._task.model(chosen, grid)
        self.summary_ = NetworkSummary.of(
            descent.architecture,
            n_networks=self.n_votes_,
            n_reals=self._task.n_reals,
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
        samples, answers = self._checked(X, y)
        _, descent = plan(self, samples, answers, self._task_of(answers))
        with opened(self.device) as session:
            return descent.cost(session.capabilities)

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
        samples, answers = self._samples(X), self._answers(y)
        check_consistent_length(samples, answers)
        examples = Examples(self.model_.grid.transform(samples), self._task.labels(answers))
        return TieReport.of(self.found_, examples, self._task, tolerance=tolerance)

    def save_picture(self, path: str | os.PathLike[str]) -> None:
        """Draw objective and scores against calls; the suffix says the format, such as .png."""
        check_is_fitted(self)
        draw(self.history_, self.summary_, Path(path))

    def save_integers(self, path: str | os.PathLike[str]) -> None:
        """Write ``.npz`` without pickle, which `load` of the model reads."""
        check_is_fitted(self)
        self.model_.save(Path(path))

    def save_onnx(self, path: str | os.PathLike[str]) -> None:
        """Write ONNX; needs the extra ``onnx``."""
        check_is_fitted(self)
        save_onnx(self.model_, Path(path))

    @abstractmethod
    def _checked(self, X: ArrayLike, y: ArrayLike) -> tuple[NDArray[np.float64], NDArray[Any]]:
        """Return samples and answers to train on, or refuse."""

    @abstractmethod
    def _task_of(self, answers: NDArray[Any]) -> PredictionTask:
        """Return what is to be learned."""

    @abstractmethod
    def _answers(self, y: ArrayLike) -> NDArray[Any]:
        """Return answers to other samples, of the kind that was trained on, or refuse."""

    def _validated(
        self, X: ArrayLike, y: ArrayLike, **options: bool
    ) -> tuple[NDArray[np.float64], NDArray[Any]]:
        """Check the parameters, and what scikit-learn checks."""
        if self.vote < 1:
            raise AssemblyError(f"vote = {self.vote}", hint="1 or more")
        return cast("Any", validate_data)(self, X, y, dtype="float64", **options)

    def _samples(self, X: ArrayLike) -> NDArray[np.float64]:
        check_is_fitted(self)
        return cast("Any", validate_data)(self, X, dtype="float64", reset=False)
