"""A given network as the start of a descent: kept exactly, never made worse, refused if other."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from trainings import SMALL, losses_of, trained

from qnn_train import TrainedModel
from qnn_train.errors import AssemblyError, CheckpointError, ModelFileError
from qnn_train.model.integer import IntegerClassifier
from qnn_train.network import QuantizedNetwork, rounded
from qnn_train.solve import CrossEntropy
from qnn_train.solve.straight_through import straight_through
from qnn_train.training import Checkpoint, ProximalProblem, Recipe, TrainingRun, problem_of
from qnn_train.training.descent import margins_of
from qnn_train.training.start import best_scale

RECIPE = replace(SMALL, readout="trained", activation="relu", output_bias_bits=2, oracle="descent")
STILL = (1e6,)  # proximal weights that let no bit change


@pytest.fixture(scope="module")
def start(pair):
    problem = ProximalProblem.of(RECIPE, pair)
    network, _ = straight_through(
        problem.architecture,
        problem.train.inputs,
        problem.train.labels,
        loss=CrossEntropy(),
        seed=1,
        steps=40,
    )
    return network


@pytest.fixture(scope="module")
def model(start, pair):
    features = ProximalProblem.of(RECIPE, pair).features
    return TrainedModel.of(pair, features, start, "machine")


def least_loss(problem, network):
    """Return the mean loss on the images trained on, at the scale that suits the network best."""
    loss, train = CrossEntropy(), problem.train
    margins = margins_of(network, train.inputs).astype(np.float32)
    targets = loss.targets_of(train.labels, problem.n_outputs)
    scale = best_scale(loss, margins, targets)
    at = scale * np.geomspace(0.98, 1.02, 41)
    least = min(loss.mean(margins, targets, float(each)) for each in at)
    assert loss.mean(margins, targets, scale) <= least * (1 + 1e-5)
    return least


@pytest.mark.parametrize("batch", [(20, 40), (1000, 1000)])
@pytest.mark.parametrize("seed", range(3))
def test_a_network_of_ste_is_never_made_worse(pair, start, seed, batch):
    problem = ProximalProblem.of(replace(RECIPE, seed=seed, batch=batch), pair, init=start)
    run = trained(problem, None)
    told = run.outcome().report.init
    losses = losses_of(run)
    assert len(losses) == RECIPE.sweeps + 1
    assert told["objective"] == losses[0]
    assert losses == sorted(losses, reverse=True)
    before = least_loss(problem, start)
    assert losses[0] == pytest.approx(before, rel=1e-5)
    assert least_loss(problem, run.stepper.best) <= before * (1 + 1e-5)


def test_what_nothing_changes_is_kept_bit_for_bit(pair, model, tmp_path):
    model.save(tmp_path / "model.npz")
    other = replace(RECIPE, ladder=STILL, starts=2, train_samples=60)
    problem = ProximalProblem.of(other, pair, init=tmp_path / "model.npz")
    outcome = trained(problem, None).outcome()
    kept = outcome.model
    assert np.array_equal(kept.network.to_bits(), model.network.to_bits())
    assert np.array_equal(kept.features.steps.means, model.features.steps.means)
    assert np.array_equal(kept.predict(pair.test.images), model.predict(pair.test.images))
    right = np.mean(model.network.predict(problem.train.inputs) == problem.train.labels)
    assert outcome.report.init["train_accuracy"] == outcome.report.train_accuracy == right


def test_every_start_begins_with_the_given_network(pair, start):
    problem = ProximalProblem.of(replace(RECIPE, ladder=STILL, starts=3), pair, init=start)
    states = [step.state.bits for step in TrainingRun(problem)]
    assert all(np.array_equal(bits, start.to_bits()) for bits in states)


def test_a_binary_network_begins_a_ternary_one(pair, start):
    ternary = replace(RECIPE, weights="ternary", ladder=STILL)
    best = trained(ProximalProblem.of(ternary, pair, init=start), None).stepper.best
    for mine, its in zip(best.weights, start.weights, strict=True):
        assert np.array_equal(mine, its)


def test_a_stopped_refinement_goes_on_bit_for_bit(pair, start, tmp_path):
    problem = ProximalProblem.of(replace(RECIPE, starts=2, block_spins=20), pair, init=start)
    whole, path = trained(problem, None), tmp_path / "there.npz"
    length = len(whole.stepper.sizes[0])
    for stop in (1, length, 3 * length + 1):
        run = TrainingRun(problem)
        next(step for step in run if run.stepper.progress[0] == stop)
        run.checkpoint().save(path)
        again = trained(problem, None, resume=Checkpoint.load(path))
        assert np.array_equal(again.stepper.best.to_bits(), whole.stepper.best.to_bits())
        assert losses_of(again) == losses_of(whole)
        assert again.outcome().report.init == whole.outcome().report.init
    bits = start.to_bits()
    bits[0] ^= 1
    for other in (None, QuantizedNetwork.from_bits(start.architecture, bits)):
        changed = ProximalProblem.of(problem.recipe, pair, init=other)
        with pytest.raises(CheckpointError, match="another init"):
            TrainingRun(changed, resume=Checkpoint.load(path))


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"hidden": 3}, "layers 16-2-1, not 16-3-1"),
        ({"grid": 2}, "grid 4, not 2"),
        ({"levels": 8}, "levels 16, not 8"),
        ({"cut": 3}, "cut 4, not 3"),
        ({"bias_bits": 3}, "biases of layer 1"),
        ({"output_bias_bits": 0}, "biases of layer 2 2bit"),
        ({"activation": "hard_tanh"}, "activation of layer 1 relu"),
        ({"first_weights": "3bit"}, "first_weights"),
    ],
)
def test_a_model_of_something_else_is_refused_and_told(pair, model, changes, sentence):
    with pytest.raises(AssemblyError, match=sentence):
        ProximalProblem.of(replace(RECIPE, **changes), pair, init=model)


def test_weights_that_the_code_has_not_are_refused(pair, start):
    fine = ProximalProblem.of(replace(RECIPE, weights="ternary"), pair).architecture
    with pytest.raises(AssemblyError, match="weights of layer 1 ternary, not binary"):
        ProximalProblem.of(RECIPE, pair, init=rounded(start, fine))


def test_other_classes_and_other_files_are_refused(pair, model, tmp_path):
    with pytest.raises(AssemblyError, match=r"classes \(1, 2\), not \(3, 6\)"):
        ProximalProblem.of(RECIPE, pair, init=replace(model, classes=(1, 2)))
    (tmp_path / "text.npz").write_text("hello")
    with pytest.raises(ModelFileError):
        ProximalProblem.of(RECIPE, pair, init=tmp_path / "text.npz")
    with pytest.raises(ModelFileError):
        ProximalProblem.of(RECIPE, pair, init=tmp_path / "nowhere.npz")
    steps = model.features.steps
    networks = QuantizedNetwork(
        model.network.architecture,
        tuple(each[None] for each in model.network.weights),
        tuple(each[None] for each in model.network.biases),
    )
    IntegerClassifier(steps, networks, np.array([3, 6]), 1.0).save(tmp_path / "table.npz")
    with pytest.raises(ModelFileError, match="no such model"):
        ProximalProblem.of(RECIPE, pair, init=tmp_path / "table.npz")
    with pytest.raises(AssemblyError, match="not qcgd"):
        problem_of(Recipe(), pair, init=model)
