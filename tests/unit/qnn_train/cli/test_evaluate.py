"""``qnn-train evaluate``: the numbers, as text, JSON and a picture."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np

from cim_hal.console import run
from qnn_train.cli.app import program
from qnn_train.model.integer import load_integers


def test_a_process_tells_accuracy_confusion_calibration_and_gap(fitted, flowers, tmp_path):
    command = [sys.executable, "-m", "qnn_train", "evaluate", fitted, flowers]
    more = ["--json", "numbers.json", "--picture", "picture.png"]
    said = subprocess.run([*command, *more], capture_output=True, text=True, check=True).stdout
    found = json.loads((tmp_path / "numbers.json").read_text())
    assert np.sum(found["confusion"]) == found["n"] == 60
    right = np.trace(found["confusion"]) / 60
    assert found["accuracy"]["value"] == right
    assert f"{100 * right:.2f} %" in said
    assert "right \\ predicted" in said
    assert "trained on rows of a file of this name" in said
    training = load_integers(fitted).table.training
    assert found["gap"]["value"] == training.train_score - right
    assert (tmp_path / "picture.png").stat().st_size > 0


def test_a_class_that_the_model_does_not_know_is_named(fitted, tmp_path, capsys):
    (tmp_path / "new.csv").write_text("length,width,colour,kind\n1,2,red,tulip\n1,2,red,rose\n")
    assert run(program, ["evaluate", fitted, "new.csv"]) == 2
    assert "'tulip' in row 1 is no class of the model" in capsys.readouterr().err
    (tmp_path / "new.csv").write_text("length,width,colour\n1,2,red\n")
    assert run(program, ["evaluate", fitted, "new.csv"]) == 2
    assert "no column 'kind'" in capsys.readouterr().err


def test_numbers_have_r2_and_errors(guessing, tmp_path, capsys):
    x = np.random.default_rng(1).normal(size=40)
    np.savez(tmp_path / "line.npz", X=x[:, None], y=2 * x + 1)
    few = ["--hidden", "0", "--sweeps", "1", "--runs", "2", "--quiet", "--device", guessing]
    assert run(program, ["fit", "line.npz", "--out", "line", *few]) == 0
    assert run(program, ["evaluate", "line/model.npz", "line.npz", "--picture", "a.svg"]) == 0
    said = capsys.readouterr().out
    assert "RMSE" in said
    assert "R²" in said
