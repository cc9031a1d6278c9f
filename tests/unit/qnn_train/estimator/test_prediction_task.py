"""What answers are to a descent, and what margins are to people, in closed form."""

from __future__ import annotations

import numpy as np
import pytest

from qnn_train import Architecture, Layer, QuantizedNetwork, weight_code
from qnn_train.estimator.prediction_task import ClassificationTask, RegressionTask, TaskJudge
from qnn_train.network import bias_code
from qnn_train.training.descent import Examples

RNG = np.random.default_rng(2)
WORDS = np.array(["coat", "hat", "shoe"])
PAIR = ClassificationTask(WORDS[:2])
THREE = ClassificationTask(WORDS)
LINE = RegressionTask(means=np.array([3.0, -1.0]), deviations=np.array([2.0, 0.5]))


def of(labels, weights=None):
    return Examples(np.zeros((len(labels), 1), int), np.asarray(labels), weights)


def test_two_classes_are_signs_of_one_margin_and_more_are_numbers():
    answers = np.array(["hat", "coat", "hat"])
    assert (PAIR.n_outputs, THREE.n_outputs) == (1, 3)
    np.testing.assert_array_equal(PAIR.labels(answers), [1, -1, 1])
    np.testing.assert_array_equal(THREE.labels(answers), [1, 0, 1])


def test_a_margin_of_zero_is_the_first_class_and_of_equal_outputs_the_first_one():
    np.testing.assert_array_equal(PAIR.predict(np.array([[-1.0], [0.0], [1.0]])), [0, 0, 1])
    np.testing.assert_array_equal(THREE.predict(np.array([[1.0, 1.0, 0.0], [0, 0, 2]])), [0, 2])


def test_losses_are_those_of_their_formulas():
    outputs, signs = RNG.normal(size=(50, 1)), RNG.choice([-1, 1], 50)
    logistic = np.log1p(np.exp(-signs * outputs[:, 0])).mean()
    assert PAIR.objective(outputs, of(signs)) == pytest.approx(logistic, rel=1e-6)
    outputs, numbers = RNG.normal(size=(50, 3)), RNG.integers(0, 3, 50)
    shares = np.exp(outputs) / np.exp(outputs).sum(axis=1, keepdims=True)
    softmax = -np.log(shares[np.arange(50), numbers]).mean()
    assert THREE.objective(outputs, of(numbers)) == pytest.approx(softmax, rel=1e-6)
    outputs, labels = RNG.normal(size=(2, 50, 2))
    halves = 0.5 * ((outputs - labels) ** 2).sum() / 50
    assert LINE.objective(outputs, of(labels)) == pytest.approx(halves, rel=1e-12)


def test_scores_are_the_accuracy_and_the_share_of_the_variance():
    assert PAIR.score(np.array([[2.0], [-1.0], [0.0], [3.0]]), of([1, 1, -1, -1])) == 0.5
    labels = RNG.normal(size=(40, 2))
    assert LINE.score(labels, of(labels)) == 1.0
    assert LINE.score(np.tile(labels.mean(axis=0), (40, 1)), of(labels)) == pytest.approx(0.0)


def test_real_answers_are_deviations_and_their_line_is_that_of_least_squares():
    answers = RNG.normal(size=(30, 2)) * LINE.deviations + LINE.means
    labels = LINE.labels(answers)
    np.testing.assert_allclose(labels * LINE.deviations + LINE.means, answers)
    margins = RNG.integers(-9, 10, (30, 2)).astype(float)
    head = LINE.head(margins, of(labels), 1.0)
    for output in range(2):
        slope, offset = np.polyfit(margins[:, output], labels[:, output], 1)
        assert head.scale[output] == pytest.approx(slope)
        assert head.offset[output] == pytest.approx(offset)


@pytest.mark.parametrize("task", [PAIR, LINE])
def test_a_sample_that_counts_twice_is_one_that_stands_there_twice(task):
    outputs = RNG.normal(size=(20, task.n_outputs))
    labels = RNG.choice([-1, 1], 20) if task is PAIR else RNG.normal(size=(20, 2))
    times = RNG.integers(1, 4, 20)
    weighted, rows = of(labels, times.astype(float)), np.repeat(np.arange(20), times)
    repeated = of(labels[rows])
    for measure in (task.objective, task.score):
        assert measure(outputs, weighted) == pytest.approx(measure(outputs[rows], repeated))
    one, other = task.head(outputs, weighted, 1.0), task.head(outputs[rows], repeated, 1.0)
    np.testing.assert_allclose([one.scale, one.offset], [other.scale, other.offset])


def _examples(network: QuantizedNetwork, n: int, *, n_wrong: int) -> Examples:
    inputs = RNG.integers(-1, 2, (n, 5))
    labels = np.where(network.predict(inputs) > 0, 1, -1)
    labels[:n_wrong] *= -1
    return Examples(inputs, labels)


def test_a_judge_compares_by_samples_kept_apart_if_there_are_any():
    architecture = Architecture((), Layer(5, 1, weight_code("ternary"), bias_code(2)))
    bits = RNG.integers(0, 2, architecture.n_bits)
    network = QuantizedNetwork.from_bits(architecture, bits)
    train = _examples(network, 40, n_wrong=10)
    kept, none = _examples(network, 20, n_wrong=2), _examples(network, 0, n_wrong=0)
    judged = TaskJudge(PAIR, train, kept)(network, 0.5)
    assert (judged.train_score, judged.validation_score) == (0.75, 0.9)
    margins = network.margin(kept.inputs).astype(float).reshape(-1, 1)
    assert judged.objective == PAIR.objective(0.5 * margins, kept)
    alone = TaskJudge(PAIR, train, none)(network, 0.5)
    assert alone.objective == alone.train_loss == judged.train_loss
    assert alone.validation_score is None
