"""``qnn-train fit``: what it leaves, says and refuses."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import processes
import pytest

from cim_hal.console import run
from cim_hal.study import Interval
from qnn_train import IntegerClassifier
from qnn_train.cli.app import program
from qnn_train.cli.train import gap_text
from qnn_train.model.integer import load_integers

QUICK = ["--hidden", "2", "--sweeps", "2", "--runs", "2", "--pretraining", "20"]


def test_a_table_becomes_a_model_a_report_and_a_picture(flowers, guessing, tmp_path, capsys):
    arguments = ["fit", flowers, "--target", "kind", "--device", guessing, *QUICK]
    assert run(program, arguments) == 0
    said, folder = capsys.readouterr(), tmp_path / "runs/flowers-kind-seed0"
    assert sorted(each.name for each in folder.iterdir()) == [
        "model.npz",
        "report.json",
        "training.png",
    ]
    report = json.loads((folder / "report.json").read_text())
    assert (report["n_train"], report["n_test"]) == (45, 15)
    assert report["features"] == ["length", "width", "colour=blue", "colour=red"]
    accuracy = report["test"]["accuracy"]["value"]
    assert f"{100 * accuracy:.2f} %" in said.out
    assert "as it is text" in said.out
    assert "train less test" in said.out
    assert 0 <= report["hardness"]["solved_share"] <= 1
    assert "one descent from random bits solves" in said.out
    assert "nan" not in (said.out + said.err).lower()
    model = load_integers(folder / "model.npz")
    assert isinstance(model, IntegerClassifier)
    assert model.table is not None
    assert model.table.training is not None
    assert model.table.training.test_score == accuracy
    assert IntegerClassifier.load(folder / "model.npz").classes.tolist() == ["iris", "rose"]


def test_the_same_seed_gives_the_same_model_and_a_test_file_is_only_tested_on(
    flowers, guessing, tmp_path, capsys
):
    few = ["fit", flowers, "--target", "kind", "--device", guessing, *QUICK]
    for folder, more in (("a", []), ("b", []), ("c", ["--test", flowers])):
        assert run(program, [*few, "--out", folder, *more, "--json", "-"]) == 0
        report = json.loads(capsys.readouterr().out)
    assert (report["n_train"], report["n_test"]) == (60, 60)
    a, b = (load_integers(tmp_path / name / "model.npz").networks for name in "ab")
    assert all((x == y).all() for x, y in zip(a.weights, b.weights, strict=True))


def test_numbers_are_regression_with_missing_ones_filled(guessing, tmp_path, capsys):
    rng = np.random.default_rng(1)
    rows = [f"{x:.3f},{2 * x + 1:.3f}" for x in rng.normal(size=40)]
    rows[3] = ",1.5"
    (tmp_path / "line.csv").write_text("\n".join(["x,y", *rows]) + "\n")
    few = ["fit", "line.csv", "--target", "y", "--device", guessing, *QUICK]
    assert run(program, few) == 2
    assert "column 'x': no value in row 4" in capsys.readouterr().err
    assert run(program, [*few, "--missing", "mean", "--json", "-"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["task"] == "regression"
    assert report["columns"] == "numbers: 1; missing values filled: 1"
    assert report["test"]["r2"]["low"] <= report["test"]["r2"]["value"] <= 1


def test_a_dry_run_says_what_it_takes_and_leaves_nothing(flowers, guessing, tmp_path, capsys):
    before = sorted(tmp_path.iterdir())
    few = ["fit", flowers, "--target", "kind", "--device", guessing, *QUICK, "--dry-run"]
    assert run(program, few) == 0
    said = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert (said["features"], said["n_train"], said["n_test"]) == ("4", "45", "15")
    assert said["columns"] == "numbers: 2, categories: 1"
    assert (said["hidden"], said["network"]) == ("2", "4-2-1")
    assert int(said["calls"]) > 0
    assert 0 < float(said["success_needed"].split()[0]) < 1
    assert [each for each in sorted(tmp_path.iterdir()) if each.name != "__pycache__"] == before


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "--target is needed: the column to predict, one of length, width, colour, kind"),
        (["--target", "knd"], "did you mean 'kind'"),
        (["--target", "kind", "--drop", "colr"], "did you mean 'colour'"),
        (["--target", "kind", "--task", "regression"], "regression needs numbers"),
        (["--target", "length", "--task", "classification"], "not whole"),
        (["--target", "kind", "--test", "flowers.csv", "--test-share", "0.1"], "exclude each"),
        (["--target", "kind", "--test-share", "0.99"], "train_size"),
        (["--target", "kind", "--weights", "half"], "--weights"),
    ],
)
def test_what_cannot_be_is_one_line_before_any_machine(
    arguments, sentence, flowers, tmp_path, capsys
):
    assert run(program, ["fit", flowers, *arguments]) == 2
    said = capsys.readouterr()
    assert sentence in said.err
    assert said.err.count("\n") == 1
    assert said.out == ""
    assert not (tmp_path / "runs").exists()


def test_an_oracle_on_the_host_takes_no_machine_and_the_model_says_so(flowers, tmp_path, capsys):
    few = ["fit", flowers, "--target", "kind", *QUICK, "--oracle", "descent", "--out", "host"]
    assert run(program, [*few, "--device", "emulator-dsb"]) == 2
    assert "needs no machine; leave out --device" in capsys.readouterr().err
    assert run(program, [*few, "--polish"]) == 2
    assert "--polish is for samples of a machine" in capsys.readouterr().err
    assert run(program, few) == 0
    assert load_integers(tmp_path / "host/model.npz").oracle == "descent"


def test_a_gap_is_said_to_be_chance_or_more():
    assert "no more than chance" in gap_text(Interval(0.02, -0.01, 0.05), share=True)
    assert "MORE than chance" in gap_text(Interval(0.2, 0.1, 0.3), share=False)


@pytest.mark.slow
def test_an_interrupt_of_a_process_leaves_nothing(flowers, guessing, tmp_path):
    arguments = ["fit", flowers, "--target", "kind", "--device", guessing, "--out", "unfinished"]
    command = [sys.executable, "-m", "qnn_train", *arguments, "--sweeps", "1000000"]
    with processes.start(command, stderr=subprocess.PIPE, text=True, cwd=tmp_path) as process:
        deadline = time.monotonic() + 120
        while not (tmp_path / "unfinished").exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        said = process.communicate(timeout=60)[1]
    assert process.returncode == 130
    assert said.splitlines()[-1] == "error: interrupted"
    assert not (tmp_path / "unfinished").exists()


def test_a_model_file_is_refined_and_one_of_other_columns_refused(flowers, tmp_path, capsys):
    few = ["fit", flowers, "--target", "kind", "--oracle", "descent", "--hidden", "2"]
    few += ["--pretraining", "20"]
    assert run(program, [*few, "--sweeps", "1", "--out", "first", "--quiet"]) == 0
    again = [*few, "--sweeps", "2", "--init", "first/model.npz"]
    assert run(program, [*again, "--out", "second"]) == 0
    assert "start" in capsys.readouterr().out
    report = json.loads((tmp_path / "second/report.json").read_text())
    first = json.loads((tmp_path / "first/report.json").read_text())
    assert report["history"][0]["sweep"] == 0
    assert report["history"][0]["train_score"] == first["train"]["accuracy"]["value"]
    assert report["history"][-1]["best_objective"] <= report["history"][0]["objective"]
    assert report["parameters"]["init"] == "first/model.npz"
    assert run(program, [*again, "--drop", "width"]) == 2
    assert "columns" in capsys.readouterr().err


@pytest.mark.parametrize("is_kept", [False, True])
def test_after_ctrl_c_it_says_how_it_goes_on(flowers, guessing, capsys, monkeypatch, is_kept):
    def stop(_self, told):
        if told.sweep:
            raise KeyboardInterrupt

    monkeypatch.setattr("qnn_train.cli.fit._Progress.show", stop)
    path = Path(flowers).with_name("kept.npz")
    arguments = ["fit", flowers, "--target", "kind", "--device", guessing, *QUICK]
    assert run(program, [*arguments, *(["--checkpoint", str(path)] if is_kept else [])]) == 130
    said = capsys.readouterr().err
    assert (f"kept in {path}" if is_kept else "with --checkpoint FILE") in said
    assert path.exists() == is_kept
