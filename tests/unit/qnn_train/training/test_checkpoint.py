"""Trainings on a program go on after any step as if there had been no stop, whatever the method."""

from __future__ import annotations

import json
from dataclasses import asdict, replace

import numpy as np
import pytest
from trainings import CALLS, RECIPE, stopped_after, training

from cim_hal import open_device
from cim_hal.console import run as run_command
from qnn_train import Recipe, prepare
from qnn_train.cli.app import program
from qnn_train.errors import CheckpointError
from qnn_train.solve import Annealing, HedgingState, restored, to_arrays
from qnn_train.training import METHODS, Checkpoint, ProximalRecipe
from qnn_train.training.checkpoint import canonical, check_same, fingerprint
from tests.support.descending import Descending

CHANGING = {
    *("oracle_calls", "candidates", "history", "infeasibility", "objective", "seconds", "steps"),
    *("test_accuracy", "train_accuracy", "subset_accuracy", "hardness"),
}


@pytest.fixture(scope="module")
def session():
    with open_device(Descending(max_spins=80)) as session:
        yield session


def report_of(run):
    """What it reports, but for times."""
    report = asdict(replace(run.outcome().report, seconds=0.0))
    for part in ("hardness", "polish"):
        report[part] = {k: v for k, v in (report[part] or {}).items() if k != "seconds"}
    return report


def test_a_recipe_of_several_hidden_layers_is_kept(pair, tmp_path):
    deep = replace(RECIPE, hidden=(2, 2), readout="trained")
    preparation = prepare(deep, pair)
    assert preparation.spins == len(preparation.task.qcbo.c)
    assert preparation.spins_of(2) == len(preparation.task.largest_part(2).qcbo.c)
    with open_device(Descending(max_spins=preparation.spins + 1)) as session:
        again = stopped_after(training(pair, session, deep), 1, tmp_path / "there.npz")
    assert again.recipe == deep
    assert str(again.recipe.architecture) == "4-2-2-1"


@pytest.mark.parametrize(
    ("method", "pack"),
    [
        *((method, False) for method in METHODS),
        *(
            pytest.param(method, True, marks=() if method == "qcgd" else pytest.mark.slow)
            for method in METHODS
        ),
    ],
)
def test_it_goes_on_bit_for_bit_after_every_step(method, pack, pair, session, tmp_path):
    options = {"method": method, "pack": pack}
    whole, there = training(pair, session, **options), None
    for _ in whole:  # stopped as often as it has steps
        again = training(pair, session, resume=there, **options)
        there = stopped_after(again, 1, tmp_path / "there.npz")
    again = training(pair, session, resume=there, **options)
    assert list(again) == []
    assert report_of(again) == report_of(whole)
    best, same = (run.outcome().model.network.to_bits() for run in (again, whole))
    np.testing.assert_array_equal(best, same)


def test_more_calls_may_be_made_than_were_planned(pair, session, tmp_path):
    there = stopped_after(training(pair, session), CALLS, tmp_path / "there.npz")
    longer, whole = (
        training(pair, session, iterations=2 * CALLS, resume=resume) for resume in (there, None)
    )
    assert len(list(longer)) == CALLS
    assert len(list(whole)) == 2 * CALLS
    assert report_of(longer) == report_of(whole)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"method": "q-fw"}, "method: qcgd, not q-fw"),
        ({"n_runs": 5}, "n_runs: 4, not 5"),
        ({"coupling_bits": 6}, "coupling_bits: None, not 6"),
        ({"seed": 1}, "seed: 0, not 1"),
        ({"score": "subset"}, "score: train, not subset"),
    ],
)
def test_a_checkpoint_of_something_else_is_refused(change, sentence, pair, session, tmp_path):
    there = stopped_after(training(pair, session), 1, tmp_path / "there.npz")
    with pytest.raises(CheckpointError, match=sentence):
        training(pair, session, resume=there, **change)


@pytest.mark.parametrize(
    "damage", ["cut", "about", "networks", "best", "history", "missing", "step", "format"]
)
def test_a_damaged_file_is_refused(damage, pair, session, tmp_path):
    path = tmp_path / "there.npz"
    stopped_after(training(pair, session), 3, path)
    with np.load(path) as archive:
        arrays = dict(archive)
    about = json.loads(str(arrays["header"]))
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:-40])
    elif damage == "about":
        about["recipe"]["grid"] = "wide"
    elif damage == "networks":
        arrays["networks"] = arrays["networks"][:, :-1]
    elif damage == "best":
        arrays["best"] = arrays["best"].astype(np.int8)
    elif damage == "history":
        about["history"]["gap"].pop()
    elif damage == "missing":
        del arrays["best"]
    elif damage == "step":
        arrays["solver.step"] = np.array([3, 3])
    else:
        about["format"] = "cim-hal/qnn-checkpoint/0"
    if damage != "cut":
        np.savez(path, **arrays | {"header": np.array(json.dumps(about))})
    with pytest.raises(CheckpointError):
        training(pair, session, resume=Checkpoint.load(path))


def test_rows_of_bytes_survive_and_are_checked():
    start = HedgingState(0, 0, np.zeros((2, 3), np.int8), np.zeros(3), np.zeros((2, 3)), 0.0, 0, ())
    made = replace(start, history=(b"ab", b"cd"), step=2, rho=0.5)
    again = restored(start, to_arrays(made))
    assert (again.history, again.step, again.rho) == ((b"ab", b"cd"), 2, 0.5)
    assert restored(start, to_arrays(start)).history == ()
    with pytest.raises(CheckpointError, match="rows of bytes"):
        restored(start, to_arrays(made) | {"history": np.ones(3)})
    with pytest.raises(CheckpointError, match="not of"):
        restored(start, {name: np.array(0) for name in asdict(Annealing())})


@pytest.mark.slow
def test_the_command_goes_on_with_what_the_checkpoint_says(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    some = ["--train-samples", "4", "--grid", "2", "--runs", "8", "--quiet", "--json", "one.json"]
    some += ["--method", "qph", "--batch", "2", "--device", "emulator-550", "--iterations", "4"]
    assert run_command(program, [*some, "--checkpoint", "kept.npz"]) == 0
    assert not list(tmp_path.glob("runs/*/checkpoint.npz"))  # one was asked for elsewhere
    for change in (["--method", "qph"], ["--runs", "9"], ["--pack"], ["--seed", "1"]):
        capsys.readouterr()
        assert run_command(program, ["--resume", "kept.npz", *change]) == 2
        assert f"{change[0]} cannot change what is resumed" in capsys.readouterr().err
    more = ["--resume", "kept.npz", "--iterations", "6", "--quiet", "--json", "two.json"]
    assert run_command(program, more) == 0
    one, two = (json.loads((tmp_path / f"{name}.json").read_text()) for name in ("one", "two"))
    assert two["oracle_calls"] == 6
    assert two["history"]["accuracy"][:2] == one["history"]["accuracy"]
    assert one.pop("recipe") | {"iterations": 6} == two.pop("recipe")
    assert {name for name in one if one[name] != two[name]} <= CHANGING


@pytest.mark.parametrize("kind", [Recipe(), ProximalRecipe()])
def test_equal_values_have_one_canonical_form(kind):
    with_numpy = replace(kind, n_runs=np.int64(kind.n_runs), seed=np.int32(kind.seed))
    assert fingerprint(with_numpy) == fingerprint(kind)
    assert canonical({"b": (np.float64(0.5),), "a": 1}) == canonical({"a": np.int8(1), "b": [0.5]})
    assert list(canonical({"b": 1, "a": 2})) == ["a", "b"]
    assert fingerprint(np.arange(3, dtype=np.int8)) != fingerprint(np.arange(3, dtype=np.int16))
    with pytest.raises(TypeError):
        canonical(object())


def test_only_what_decides_where_a_training_stops_may_change():
    check_same({"sweeps": 2, "iterations": 3, "patience": 0}, {"sweeps": 5, "iterations": 9})
    check_same({"n_runs": 4}, {"n_runs": np.int64(4)})
    with pytest.raises(CheckpointError, match="n_runs: 4, not 5"):
        check_same({"n_runs": 4}, {"n_runs": np.int64(5)})


def test_numbers_of_numpy_resume_a_training_of_pythons(pair, session, tmp_path):
    there = stopped_after(training(pair, session), 2, tmp_path / "there.npz")
    same = {"n_runs": np.int64(4), "seed": np.int16(0), "iterations": np.int64(3)}
    assert len(list(training(pair, session, resume=there, **same))) == 1


def test_a_checkpoint_that_cannot_be_written_leaves_the_old_one(
    pair, session, tmp_path, monkeypatch
):
    path = tmp_path / "there.npz"
    first = stopped_after(training(pair, session), 1, path)
    whole = path.read_bytes()
    monkeypatch.setattr("qnn_train.training.checkpoint.MAX_BYTES", 1000)
    with pytest.raises(CheckpointError, match="more than 1000"):
        first.save(path)
    assert path.read_bytes() == whole
    assert list(tmp_path.iterdir()) == [path]
