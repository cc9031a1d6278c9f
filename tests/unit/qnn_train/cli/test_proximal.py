"""The command that trains ten classes by proximal descent."""

from __future__ import annotations

import json

import numpy as np
import pytest

from cim_hal import spawn_server
from cim_hal.console import run
from qnn_train import TrainedModel, load_digits
from qnn_train.cli.app import program

QUICK = ["--runs", "4", "--round-trips", "100", "--quiet"]


@pytest.fixture(scope="module")
def endpoint():
    with spawn_server("emulator-dsb") as server:
        yield server.endpoint


def test_the_command_trains_ten_classes_and_leaves_a_model(endpoint, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    small = [
        "proximal",
        "--classes",
        "all",
        "--hidden",
        "4",
        "--grid",
        "4",
        "--sweeps",
        "2",
        "--out",
        "there",
    ]
    assert run(program, [*small, *QUICK, "--device", endpoint]) == 0
    report = json.loads((tmp_path / "there/report.json").read_text())
    assert report["method"] == "proximal"
    assert report["n_train"] == len(load_digits().train)
    assert report["test_accuracy"] > 0.3  # ten classes: a guess has 0.1 ± 0.01
    model = TrainedModel.load(tmp_path / "there/model.npz")
    test = load_digits().test
    assert np.mean(model.predict(test.images) == test.labels) == report["test_accuracy"]
    assert sorted(p.name for p in (tmp_path / "there").iterdir()) == [
        "model.npz",
        "report.json",
        "training.png",
    ]


def test_a_finished_checkpoint_can_be_asked_again(endpoint, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    some = [
        "proximal",
        "--recipe",
        "pairs-4x4",
        "--sweeps",
        "2",
        "--checkpoint",
        "kept.npz",
        *QUICK,
    ]
    assert run(program, [*some, "--device", endpoint, "--json", "one.json"]) == 0
    assert run(program, ["--resume", "kept.npz", "--quiet", "--json", "two.json"]) == 0
    one, two = (json.loads((tmp_path / f"{name}.json").read_text()) for name in ("one", "two"))
    del one["seconds"], two["seconds"]
    assert one == two


def test_a_dry_run_says_the_cost_and_leaves_nothing(endpoint, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    pairs = ["proximal", "--recipe", "pairs-4x4", "--dry-run", "--device", "emulator-550"]
    assert run(program, pairs) == 0
    said = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert (said["spins"], said["couplings"]) == ("73", "2628")
    assert float(said["machine_s"]) > 0
    deep = ["--dry-run", "--train-samples", "4", "--hidden", "4,3", "--device", endpoint]
    assert run(program, deep) == 0
    said = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert (said["network"], said["spins"]) == ("16-4-3-majority", "254")
    assert float(said["dynamic_range"]) > 1
    assert 0 < float(said["success_needed"].split()[0]) < 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--sweeps", "3"], "No such option"),
        (["proximal", "--iterations", "3"], "No such option"),
        (["--classes", "all"], "two classes apart; say qnn-train proximal"),
        (
            ["--train-samples", "all"],
            "number of images; say --method qcgd-all or qnn-train proximal",
        ),
        (["proximal", "--classes", "1,2,3", "--readout", "majority"], "majority vote"),
        (["proximal", "--grid", "3"], "does not divide"),
        (["proximal", "--recipe", "pears"], "pairs-4x4"),
        (["--classes", "1,x"], "not class numbers"),
        (["--hidden", "4,0"], "not in the range"),
        (["--machines", "2", "--device", "emulator-550"], "copies of one driver"),
    ],
)
def test_what_does_not_fit_together_is_refused_in_one_line(arguments, sentence, endpoint, capsys):
    assert run(program, [*arguments, "--device", endpoint, "--dry-run"]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert sentence in said.err
    assert said.err.count("\n") == 1


def test_a_model_file_is_refined_and_its_loss_told(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    small = ["proximal", "--recipe", "pairs-4x4", "--oracle", "descent", "--runs", "2"]
    assert run(program, [*small, "--sweeps", "1", "--out", "first", "--quiet"]) == 0
    refined = [*small, "--sweeps", "2", "--seed", "1", "--init", "first/model.npz"]
    assert run(program, [*refined, "--out", "second", "--checkpoint", "kept.npz"]) == 0
    assert "start" in capsys.readouterr().out
    first, second = (
        json.loads((tmp_path / name / "report.json").read_text()) for name in ("first", "second")
    )
    assert second["init"]["train_accuracy"] == first["train_accuracy"]
    assert second["history"]["calls"][0] == 0
    assert second["history"]["objective"][-1] <= second["init"]["objective"]
    again = ["--resume", "kept.npz", "--quiet", "--json", "third.json"]
    assert run(program, again) == 2
    assert "another init" in capsys.readouterr().err
    assert run(program, [*again, "--init", "first/model.npz"]) == 0
    third = json.loads((tmp_path / "third.json").read_text())
    assert third["history"] == second["history"]


def test_a_model_file_of_something_else_is_refused(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    small = ["proximal", "--recipe", "pairs-4x4", "--oracle", "descent", "--runs", "2", "--quiet"]
    assert run(program, [*small, "--sweeps", "1", "--out", "first"]) == 0
    for more, sentence in (
        (["--hidden", "3"], "layers 16-4-majority, not 16-3-majority"),
        (["--classes", "1,2"], "classes (3, 6), not (1, 2)"),
        (["--grid", "2"], "grid 4, not 2"),
    ):
        assert run(program, [*small, "--init", "first/model.npz", *more]) == 2
        assert sentence in capsys.readouterr().err.replace("\n", " ")
    assert run(program, ["--init", "first/model.npz", "--quiet"]) == 2
    assert "not qcgd" in capsys.readouterr().err
