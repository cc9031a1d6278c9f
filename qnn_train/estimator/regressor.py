"""A quantized network that answers with real numbers, with the conventions of scikit-learn."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
from sklearn.base import RegressorMixin
from sklearn.utils import check_array

from qnn_train.arrays import Array, ArrayLike, FloatArray
from qnn_train.data.features import moments
from qnn_train.errors import AssemblyError
from qnn_train.estimator.base import QuantizedNetworkEstimator
from qnn_train.estimator.prediction_task import RegressionTask
from qnn_train.estimator.samples import Samples

__all__ = ["QuantizedNetworkRegressor"]

ROUNDING = 8 * np.finfo(np.float64).eps  # deviations up to this share of the values are nothing


class QuantizedNetworkRegressor(RegressorMixin, QuantizedNetworkEstimator):
    """A network of few-bit integers, trained with an Ising machine, for real answers.

    Each output is an integer times a scale plus an offset: two real numbers, fitted by least
    squares to every network, that count in ``NetworkSummary.n_reals`` and not as bits. Trained by
    proximal block descent on the squared loss, answers being standardized inside. Networks that
    vote answer with their mean.

    Parameters
    ----------
    hidden, activation, weights, clip, clip_gain, bias_bits, bias_reach, output_bias_bits, \
    output_bias_reach, levels, cut, device, oracle, polish, n_runs, round_trips, settings, \
    coupling_bits, sweeps, starts, ladder, block_spins, block_reads, vote, early_stopping, \
    validation_fraction, patience, tolerance, callbacks, checkpoint, verbose, random_state
        As of `QuantizedNetworkClassifier`; samples kept apart are drawn from all alike, and the
        last layer has no bias unless asked.
    init : IntegerRegressor, path or None
        As of `QuantizedNetworkClassifier`.
    class_weight : None
        Real answers have no classes.

    Attributes
    ----------
    model_ : IntegerRegressor
    found_, history_, calls_, summary_, n_votes_, n_features_in_, feature_names_in_
        As of `QuantizedNetworkClassifier`.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> X, y = load_diabetes(return_X_y=True)
    >>> network = QuantizedNetworkRegressor(hidden=4, starts=1, n_runs=8, random_state=1)
    >>> network.fit(X, y).score(X, y) > 0.4
    True
    """

    def predict(self, X: ArrayLike) -> FloatArray:
        """Return the answer to each sample (n, n_features), in the shape of a row of y."""
        samples = self._samples(X)  # refuses before fit
        found = self.model_.predict(samples)
        return found.reshape(-1, 1) if cast("RegressionTask", self._task).is_column else found

    def __sklearn_tags__(self) -> Any:
        """Tell that several outputs will do."""
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    def _checked(self, X: ArrayLike, y: ArrayLike) -> tuple[FloatArray, Array]:
        samples, answers = self._validated(X, y, multi_output=True, y_numeric=True)
        return samples, np.asarray(answers, np.float64)

    def _task_of(self, samples: Samples) -> RegressionTask:
        answers = samples.answers
        columns = answers.reshape(len(answers), -1)
        with np.errstate(over="ignore", invalid="ignore"):
            means, deviations = moments(columns, samples.weights)
        if not np.isfinite([means, deviations]).all():
            raise ValueError("y is too large for the mean and the deviation of float64")
        if (deviations <= ROUNDING * np.abs(columns).max(axis=0)).any():
            raise ValueError("y has one sample, or values that are all the same in float64")
        return RegressionTask(means, deviations, is_column=answers.shape[1:] == (1,))

    def _classes_weighted(self, samples: Samples) -> Samples:
        if self.class_weight is not None:
            raise AssemblyError("class_weight of real answers", hint="use sample_weight in fit")
        return samples

    def _answers(self, y: ArrayLike) -> FloatArray:
        answers = check_array(y, ensure_2d=False, dtype="float64")
        if answers.size != len(answers) * self._task.n_outputs:
            raise ValueError(f"y has the shape {answers.shape}, not {self._task.n_outputs} outputs")
        return answers
