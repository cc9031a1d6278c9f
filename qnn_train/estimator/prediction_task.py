"""What is learned: what answers are to a descent, and what margins are to people."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, TypeAlias

import numpy as np
from sklearn.metrics import r2_score

from qnn_train.arrays import Array, FloatArray, IntArray
from qnn_train.data.features import FeatureGrid
from qnn_train.model.integer import IntegerClassifier, IntegerModel, IntegerRegressor
from qnn_train.network import QuantizedNetwork
from qnn_train.network.network import second_class
from qnn_train.solve.losses import CrossEntropy, SquaredError, fitted_line, weighted_mean
from qnn_train.training.descent import Examples, OutputScale, SweepResult, margins_of

__all__ = ["ClassificationTask", "PredictionTask", "RegressionTask", "TaskJudge", "answers_of"]


@dataclass(frozen=True, eq=False)
class ClassificationTask:
    """One of several classes. Labels are the answers as a descent takes them."""

    classes: Array  # all answers there are, sorted

    loss: ClassVar[CrossEntropy] = CrossEntropy()
    n_reals: ClassVar[int] = 0  # real numbers that labels depend on: they need no scale

    @property
    def described(self) -> dict[str, object]:
        """What a model to start from must be; see `answers_of`."""
        return {"kind": IntegerClassifier.KIND, "labels": self.classes.tolist()}

    @property
    def n_outputs(self) -> int:
        """One for two classes, else one for each."""
        return 1 if len(self.classes) == 2 else len(self.classes)

    def labels(self, answers: Array) -> IntArray:
        """Return -1 and +1 for two classes, numbers for several."""
        indices = np.searchsorted(self.classes, answers)
        return 2 * indices - 1 if self.n_outputs == 1 else indices

    def strata(self, answers: Array) -> Array:
        """Return what samples kept apart are drawn evenly from: each class keeps its share."""
        return answers

    def head(self, _margins: FloatArray, _examples: Examples, scale: float) -> OutputScale:
        """Return what suits margins (n, outputs): the scale that the descent has found."""
        return OutputScale(np.full(self.n_outputs, scale), np.zeros(self.n_outputs))

    def objective(self, outputs: FloatArray, examples: Examples) -> float:
        """Return the logistic or the softmax loss."""
        targets = self.loss.targets_of(examples.labels, self.n_outputs)
        return self.loss.mean(outputs, targets, 1.0, examples.weights)

    def score(self, outputs: FloatArray, examples: Examples) -> float:
        """Return the accuracy."""
        right = examples.labels > 0 if self.n_outputs == 1 else examples.labels
        return float(weighted_mean(self.predict(outputs) == right, examples.weights))

    def predict(self, outputs: FloatArray) -> Array:
        """Return the place of each answer among the classes."""
        return second_class(outputs[:, 0]) if self.n_outputs == 1 else outputs.argmax(axis=1)

    def model(self, chosen: Sequence[SweepResult], grid: FeatureGrid) -> IntegerClassifier:
        """Return the model that adds margins."""
        scale = float(np.mean([each.head.scale[0] for each in chosen])) / len(chosen)
        return IntegerClassifier(grid, _together(chosen), self.classes, scale)


@dataclass(frozen=True, eq=False)
class RegressionTask:
    """Real numbers, one or several for a sample."""

    # shape (outputs,); of the answers that are trained on
    means: FloatArray
    deviations: FloatArray
    is_column: bool = False  # whether answers with one output have an axis of outputs

    loss: ClassVar[SquaredError] = SquaredError()

    @property
    def described(self) -> dict[str, object]:
        """What a model to start from must be; see `answers_of`."""
        return {"kind": IntegerRegressor.KIND, "outputs": self.n_outputs}

    @property
    def n_outputs(self) -> int:
        """Numbers of a sample."""
        return len(self.means)

    @property
    def n_reals(self) -> int:
        """A scale and an offset of each output."""
        return 2 * self.n_outputs

    def labels(self, answers: Array) -> FloatArray:
        """Return the answers in deviations from their mean, (n, outputs)."""
        return (answers.reshape(len(answers), self.n_outputs) - self.means) / self.deviations

    def strata(self, _answers: Array) -> None:
        """Return None: samples that are kept apart are drawn from all alike."""

    def head(self, margins: FloatArray, examples: Examples, _scale: float) -> OutputScale:
        """Return scale and offset by least squares; that of the descent is not used."""
        return OutputScale(
            *fitted_line(margins, examples.labels.astype(np.float64), examples.weights)
        )

    def objective(self, outputs: FloatArray, examples: Examples) -> float:
        """Return half of the mean squared error, summed over outputs, in variances of answers."""
        squares = np.square(outputs - examples.labels).sum(axis=1)
        return 0.5 * float(weighted_mean(squares, examples.weights))

    def score(self, outputs: FloatArray, examples: Examples) -> float:
        """Return R², the mean over outputs."""
        return float(r2_score(examples.labels, outputs, sample_weight=examples.weights))

    def predict(self, outputs: FloatArray) -> FloatArray:
        """Return the outputs."""
        return outputs

    def model(self, chosen: Sequence[SweepResult], grid: FeatureGrid) -> IntegerRegressor:
        """Return the model that takes the mean of what each network says."""
        scales = np.array([each.head.scale for each in chosen]) * self.deviations / len(chosen)
        offset = np.mean([each.head.offset for each in chosen], axis=0)
        offsets = offset * self.deviations + self.means
        return IntegerRegressor(grid, _together(chosen), scales, offsets)


PredictionTask: TypeAlias = ClassificationTask | RegressionTask


def answers_of(model: IntegerModel) -> dict[str, object]:
    """Return what a trained model answers with, as tasks describe it."""
    labels = {"labels": model.classes.tolist()} if isinstance(model, IntegerClassifier) else {}
    return {"kind": model.KIND, "outputs": model.n_outputs, **labels}


def _together(chosen: Sequence[SweepResult]) -> QuantizedNetwork:
    """Return the networks as one, with a leading axis."""
    networks = [each.network for each in chosen]
    weights = tuple(np.stack(layer) for layer in zip(*(n.weights for n in networks), strict=True))
    biases = tuple(np.stack(layer) for layer in zip(*(n.biases for n in networks), strict=True))
    return QuantizedNetwork(networks[0].architecture, weights, biases)


@dataclass(frozen=True, eq=False)
class TaskJudge:
    """Measures networks by loss and score of a task, on `validation` or, if empty, on `train`."""

    task: PredictionTask
    train: Examples
    validation: Examples

    def __call__(self, network: QuantizedNetwork, scale: float) -> SweepResult:
        """Measure a network, `scale` being that of the descent."""
        task = self.task
        margins = margins_of(network, self.train.inputs)
        head = task.head(margins, self.train, scale)
        outputs = head.outputs(margins)
        of_train = judged = task.objective(outputs, self.train)
        score, held = task.score(outputs, self.train), None
        if len(self.validation):
            outputs = head.outputs(margins_of(network, self.validation.inputs))
            judged = task.objective(outputs, self.validation)
            held = task.score(outputs, self.validation)
        return SweepResult(network, head, judged, of_train, score, held)
