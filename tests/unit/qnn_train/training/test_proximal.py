"""Training on all images as a command: recipes, cost, checkpoints, and what is refused."""

from __future__ import annotations

import json
import zipfile
from dataclasses import replace

import numpy as np
import pytest
from trainings import SMALL, losses_of, trained

from cim_hal import DevicePool
from qnn_train.errors import CheckpointError
from qnn_train.solve import SessionOracle
from qnn_train.training import Checkpoint, Cost, ProximalProblem, TrainingRun


def best_of(run):
    return run.stepper.best.to_bits()


@pytest.mark.parametrize("deep", [{}, {"hidden": (2, 2), "weights": ("binary", "ternary")}])
def test_a_checkpoint_goes_on_bit_for_bit(pair, session, tmp_path, deep):
    problem = ProximalProblem.of(replace(SMALL, block_spins=30 if deep else 20, **deep), pair)
    whole = trained(problem, session)
    path = tmp_path / "there.npz"
    trained(problem, session, steps=3).checkpoint().save(path)
    again = trained(problem, session, resume=Checkpoint.load(path))
    one, other = whole.stepper, again.stepper
    assert one.state.step == other.state.step
    assert (one.state.scale, one._at.best.loss, one._at.best.step) == (
        other.state.scale,
        other._at.best.loss,
        other._at.best.step,
    )
    assert np.array_equal(one.state.bits, other.state.bits)
    assert np.array_equal(best_of(whole), best_of(again))
    assert one.calls == other.calls
    assert whole.checkpoint().history == again.checkpoint().history


def test_a_pool_of_machines_gives_what_one_of_them_gives(pair, session):
    problem = ProximalProblem.of(SMALL, pair)
    alone = trained(problem, session)
    with DevicePool(["emulator-dsb", "emulator-dsb"]) as pool:
        together = trained(problem, pool)
    assert np.array_equal(best_of(alone), best_of(together))
    assert alone.stepper._at.best.loss == together.stepper._at.best.loss
    assert alone.stepper.calls == together.stepper.calls


def test_a_recipe_changes_the_settings_that_the_machine_has(session):
    turned = replace(SMALL, settings=(("coupling_gain", 4.0), ("no_such_setting", 1.0)))
    assert turned.settings_on(session.capabilities) == {"coupling_gain": 4.0}
    short = session.capabilities.default_schedule.stretched(20)
    gradient = np.random.default_rng(2).normal(size=(81, 81))
    own, weak = (
        SessionOracle(session, n_runs=4, seed=1, schedule=short, settings=settings).minimize(
            gradient + gradient.T
        )
        for settings in (None, {"coupling_gain": 0.05})
    )
    assert own.values.mean() < weak.values.mean()


def test_what_is_stopped_in_its_last_step_needs_no_other(pair, session):
    problem = ProximalProblem.of(SMALL, pair)
    done = trained(problem, session)
    again = TrainingRun(problem, session, resume=done.checkpoint())
    assert list(again) == []
    assert again.outcome().report.test_accuracy == done.outcome().report.test_accuracy


def test_a_fine_code_goes_on_from_a_coarse_one(pair, session, tmp_path):
    recipe = replace(SMALL, sweeps=4, weights="ternary", first_weights="binary", block_spins=36)
    problem = ProximalProblem.of(recipe, pair)
    whole = trained(problem, session)
    first, second = (len(sizes) for sizes in problem.block_sizes(36))
    done, steps = whole.stepper.progress
    assert done == steps == 2 * first + 2 * second
    cost = Cost.of(problem, session.capabilities)
    assert cost.calls == whole.stepper.calls == 2 * steps
    losses = losses_of(whole)
    # the second starts where the first was best
    assert list(losses) == sorted(losses, reverse=True)
    path = tmp_path / "there.npz"
    for stop in (1, 2 * first, 2 * first + 1):
        run = TrainingRun(problem, session)
        next(step for step in run if run.stepper.progress[0] == stop)
        run.checkpoint().save(path)
        again = trained(problem, session, resume=Checkpoint.load(path))
        assert np.array_equal(best_of(again), best_of(whole))
        assert losses_of(again) == losses


@pytest.mark.parametrize("activation", ["relu", "hard_tanh", "sign"])
def test_a_coarse_code_goes_on_from_a_fine_one(activation, pair, session):
    recipe = replace(
        SMALL,
        readout="trained",
        activation=activation,
        first_weights="3bit",
        sweeps=4,
        block_reads=6,
        block_spins=40,
    )
    problem = ProximalProblem.of(recipe, pair)
    fine, coarse = (stage.architecture for stage in problem.stages)
    assert (fine.n_bits, coarse.n_bits) == (2 * (3 * 16 + 2) + 3 * 2, 2 * (16 + 2) + 2)
    whole = trained(problem, session)
    # the last layer; one neuron with 6, 5, 5 inputs of 3 bits, then both of 1 bit
    assert problem.block_sizes(40) == [[6, 23, 20, 20, 23, 20, 20], [2, 18, 16, 16]]
    assert whole.stepper.progress == (2 * 7 + 2 * 4, 2 * 7 + 2 * 4)
    losses = losses_of(whole)
    first, second = losses[:2], losses[2:]
    assert list(first) == sorted(first, reverse=True)
    assert list(second) == sorted(second, reverse=True)
    assert whole.outcome().report.test_accuracy > 0.85


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"digest": "other"}, "samples"),
        ({"machine": {"device": "bench", "settings": "", "block_spins": 128}}, "device"),
        ({"machine": {"device": "emulator-dsb", "settings": "", "block_spins": 7}}, "block_spins"),
        ({"machine": {"device": "emulator-dsb", "settings": "x=1.0", "block_spins": 128}}, "x=1"),
        ({"recipe": replace(SMALL, coupling_bits=4)}, "coupling_bits"),
    ],
)
def test_a_checkpoint_of_something_else_is_refused(pair, session, change, sentence):
    problem = ProximalProblem.of(SMALL, pair)
    made = trained(problem, session, steps=1).checkpoint()
    with pytest.raises(CheckpointError, match=sentence):
        TrainingRun(problem, session, resume=replace(made, **change))


@pytest.mark.parametrize("damage", ["cut", "text", "about", "bits", "missing"])
def test_a_damaged_checkpoint_is_refused(pair, session, tmp_path, damage):
    path = tmp_path / "there.npz"
    problem = ProximalProblem.of(SMALL, pair)
    trained(problem, session, steps=1).checkpoint().save(path)
    with np.load(path) as archive:
        arrays = dict(archive)
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:-40])
    elif damage == "text":
        path.write_text("hello")
    elif damage == "about":
        about = json.loads(str(arrays["header"])) | {"recipe": {"grid": "wide"}}
        np.savez(path, **arrays | {"header": np.array(json.dumps(about))})
    elif damage == "bits":
        np.savez(path, **arrays | {"bits": arrays["bits"].astype(np.int8)})
    else:
        np.savez(path, bits=arrays["bits"])
    with pytest.raises(CheckpointError):
        TrainingRun(problem, session, resume=Checkpoint.load(path))


def test_a_checkpoint_is_whole_at_every_moment(pair, session, tmp_path):
    path = tmp_path / "there.npz"
    for steps in (1, 2):
        trained(ProximalProblem.of(SMALL, pair), session, steps=steps).checkpoint().save(path)
        assert zipfile.is_zipfile(path)
    assert Checkpoint.load(path).arrays["counts"][1] == 2
    assert list(tmp_path.iterdir()) == [path]


def test_more_sweeps_may_be_made_than_were_planned(pair, session):
    done = trained(ProximalProblem.of(replace(SMALL, sweeps=1), pair), session)
    longer = ProximalProblem.of(replace(SMALL, sweeps=np.int64(2)), pair)
    assert len(list(TrainingRun(longer, session, resume=done.checkpoint()))) == 1
    restarted = replace(SMALL, sweeps=1, starts=2)
    done = trained(ProximalProblem.of(restarted, pair), session)
    other = ProximalProblem.of(replace(restarted, sweeps=2), pair)
    with pytest.raises(CheckpointError, match="other sweeps"):
        TrainingRun(other, session, resume=done.checkpoint())
