"""What a training command leaves: a model, a report, a picture, or a checkpoint."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time

import numpy as np
import processes

from cim_hal.console import run
from qnn_train import TrainedModel, load_digits
from qnn_train.cli.app import program
from qnn_train.training import Checkpoint


def _without_signs_of_life(said: str) -> list[str]:
    """The lines of stderr but those that a slow machine prints every ten seconds."""
    return [line for line in said.splitlines() if line and "s after the start: " not in line]


def test_a_run_leaves_a_model_a_report_and_a_picture(guessing, tmp_path, capsys):
    small = ["--train-samples", "4", "--iterations", "2", "--runs", "4", "--device", guessing]
    assert run(program, [*small, "--json", "again.json"]) == 0
    folder = tmp_path / "runs" / "digits-3-6-seed0"
    report = json.loads((folder / "report.json").read_text())
    assert report == json.loads((tmp_path / "again.json").read_text())
    assert (folder / "training.png").stat().st_size > 0
    test = load_digits().pair(3, 6).test
    right = TrainedModel.load(folder / "model.npz").predict(test.images)
    assert report["test_accuracy"] == (right == np.where(test.labels > 0, 6, 3)).mean()
    said = capsys.readouterr()
    assert f"{100 * report['test_accuracy']:.2f} %" in said.out
    assert str(folder.relative_to(tmp_path) / "model.npz") in said.out
    assert _without_signs_of_life(said.err) == []


def test_json_on_stdout_is_nothing_but_json(guessing, capsys):
    small = ["--train-samples", "2", "--iterations", "1", "--runs", "2", "--device", guessing]
    assert run(program, [*small, "--json", "-"]) == 0
    report = json.loads(capsys.readouterr().out)
    needed = {"test_accuracy", "train_accuracy", "n_test", "bits_per_parameter", "spins"}
    needed |= {"oracle_calls", "seconds", "infeasibility", "seed", "device", "coupling_bits"}
    assert needed <= report.keys()
    assert report["score"] == "train"


def test_an_output_folder_that_cannot_be_made_is_one_line(guessing, tmp_path, capsys):
    (tmp_path / "taken").write_text("")
    options = ["--train-samples", "2", "--iterations", "1", "--runs", "2", "--out", "taken/x"]
    assert run(program, [*options, "--device", guessing]) == 2
    assert capsys.readouterr().err.startswith("error: ")


def test_an_interrupt_leaves_a_checkpoint_or_no_folder(guessing_driver, tmp_path):
    arguments = ["--iterations", "1000000", "--train-samples", "2", "--device", guessing_driver]
    command = [sys.executable, "-m", "qnn_train", *arguments, "--out", "unfinished"]
    with processes.start(command, stderr=subprocess.PIPE, text=True, cwd=tmp_path) as process:
        deadline = time.monotonic() + 60
        while not (tmp_path / "unfinished").exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        said = process.communicate(timeout=60)[1]
    assert process.returncode == 130
    *how, why = _without_signs_of_life(said)
    assert why == "error: interrupted"
    if not how:  # it came before the first step
        assert not (tmp_path / "unfinished").exists()
        return
    assert how[0].endswith("go on with: qnn-train --resume unfinished/checkpoint.npz")
    assert [path.name for path in (tmp_path / "unfinished").iterdir()] == ["checkpoint.npz"]
    assert Checkpoint.load(tmp_path / "unfinished/checkpoint.npz").history.calls[-1] >= 1
