"""Trainings whose oracle is on the host, and the polish of a machine's samples."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from quick_estimators import classifier
from trainings import RECIPE, SMALL, stopped_after

from cim_hal.console import run
from qnn_train import TrainedModel, TrainingError
from qnn_train.cli.app import program
from qnn_train.errors import AssemblyError
from qnn_train.training import TrainingRun, problem_of

TINY = replace(SMALL, block_spins=18, grid=2)  # blocks that can be tried out


def trained(problem, session=None, resume=None):
    run = TrainingRun(problem, session, resume=resume)
    for _ in run:
        pass
    return run


def content(run):
    kept = run.checkpoint().arrays
    return {name: array for name, array in kept.items() if name not in {"polish", "hardness"}}


@pytest.mark.parametrize("oracle", ["descent", "annealing", "exact"])
@pytest.mark.parametrize("recipe", [RECIPE, TINY], ids=["qcgd", "proximal"])
def test_a_training_without_a_machine_goes_on_bit_for_bit(pair, tmp_path, oracle, recipe):
    if recipe is RECIPE and oracle == "exact":
        recipe = replace(recipe, train_samples=2, hidden=1, iterations=3)
    problem = problem_of(replace(recipe, oracle=oracle), pair)
    whole = trained(problem)
    saved = stopped_after(TrainingRun(problem), 2, tmp_path / "there.npz")
    again = trained(problem, resume=saved)
    for name, array in content(whole).items():
        assert np.array_equal(array, content(again)[name], equal_nan=True)
    outcome = again.outcome()
    assert (outcome.report.oracle, outcome.report.device) == (oracle, None)
    assert outcome.report.polish is None
    outcome.model.save(tmp_path / "model.npz")
    assert TrainedModel.load(tmp_path / "model.npz").oracle == oracle


def test_oracles_search_differently(pair):
    runs = [trained(problem_of(replace(TINY, oracle=o), pair)) for o in ("descent", "exact")]
    assert not np.array_equal(*(run.stepper.state.bits for run in runs))


def test_a_session_that_is_not_needed_or_missing_is_refused(pair, session):
    for oracle, given in (("machine", None), ("descent", session)):
        with pytest.raises(TrainingError, match="session"):
            TrainingRun(problem_of(replace(SMALL, oracle=oracle), pair), given)
    with pytest.raises(AssemblyError, match="pack"):
        replace(RECIPE, oracle="descent", pack=True)


@pytest.mark.parametrize("recipe", [RECIPE, SMALL], ids=["qcgd", "proximal"])
def test_a_polish_is_told_and_goes_on(pair, session, tmp_path, recipe):
    problem = problem_of(replace(recipe, polish=True), pair)
    whole = trained(problem, session)
    saved = stopped_after(TrainingRun(problem, session), 2, tmp_path / "there.npz")
    again = trained(problem, session, resume=saved)
    hardness, same = (each.outcome().report.hardness for each in (whole, again))
    assert {**hardness, "seconds": 0} == {**same, "seconds": 0}
    assert hardness["problems"] == whole.stepper.calls
    told, repeated = (each.outcome().report.polish for each in (whole, again))
    assert told["samples"] == whole.stepper.calls * recipe.n_runs
    assert 0 < told["changed_share"] <= 1
    assert told["mean_gain"] > 0
    for name in told.keys() - {"seconds"}:
        assert told[name] == repeated[name]


@pytest.mark.parametrize("command", ["qcbo", "proximal"])
def test_a_command_opens_no_machine_that_it_does_not_need(command, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("qnn_train.cli.train.spawn_server", None)
    small = {"qcbo": ["--iterations", "2"], "proximal": ["--sweeps", "1"]}[command]
    given = [command, "--oracle", "descent", "--runs", "4", "--train-samples", "8", *small]
    assert run(program, [*given, "--dry-run"]) == 0
    assert run(program, [*given, "--out", "there"]) == 0
    assert "one-flip descents on the host, no machine" in capsys.readouterr().out
    report = json.loads((tmp_path / "there/report.json").read_text())
    assert (report["oracle"], report["device"]) == ("descent", None)
    assert run(program, [*given, "--device", "emulator"]) == 2
    assert "--oracle descent needs no machine" in capsys.readouterr().err
    assert run(program, [*given, "--polish"]) == 2
    assert "--polish is for samples of a machine" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["proximal", "fit"])
def test_before_the_first_step_it_says_what_is_waited_for(command, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("cim_hal.console.BETWEEN_LINES_S", 0.001)
    X = np.random.default_rng(0).normal(size=(60, 3))
    np.savez("table.npz", X=X, y=X[:, 0] > 0)
    images = ["proximal", "--grid", "2", "--train-samples", "16"]
    given = images if command == "proximal" else ["fit", "table.npz", "--pretraining", "20"]
    small = ["--sweeps", "1", "--block-spins", "10", "--hidden", "2", "--out", "there"]
    assert run(program, [*given, *small, "--oracle", "exact"]) == 0
    said = capsys.readouterr().err
    assert ", proving minima, at most 60 s for each\n" in said
    assert "compiled" not in said


@pytest.mark.parametrize("option", [["--oracle", "exact"], ["--polish"]])
def test_random_weights_ask_no_oracle(option, capsys):
    assert run(program, ["qcbo", "--method", "random", *option]) == 2
    assert "random asks no oracle" in capsys.readouterr().err


def test_an_estimator_opens_no_machine_that_it_does_not_need(tmp_path):
    X = np.random.default_rng(0).normal(size=(60, 3))
    model = classifier(oracle="descent", device="no_such_module:make").fit(X, X[:, 0] > 0)
    assert model.score(X, X[:, 0] > 0) > 0.8
    assert model.estimate_cost(X, X[:, 0] > 0).machine_s is None
    model.save_integers(tmp_path / "model.npz")
    assert type(model.model_).load(tmp_path / "model.npz").oracle == "descent"
