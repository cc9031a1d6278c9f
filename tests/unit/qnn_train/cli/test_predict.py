"""``qnn-train predict``: columns by name, answers to stdout, CSV and npz."""

from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from cim_hal.console import run
from qnn_train.cli.app import program
from qnn_train.model.integer import load_integers


def _turned(name):
    """Write the table with its columns the other way round, another one, and no target."""
    with Path(name).open() as file:
        rows = [[*reversed(row[:-1]), "note"] for row in csv.reader(file)]
    with Path("turned.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    return "turned.csv"


def test_a_process_answers_in_any_order_of_columns(fitted, flowers, capsys):
    command = [sys.executable, "-m", "qnn_train", "predict", fitted, _turned(flowers)]
    turned = subprocess.run(command, capture_output=True, text=True, check=True)
    capsys.readouterr()
    assert run(program, ["predict", fitted, flowers]) == 0
    said = capsys.readouterr()
    assert said.out == turned.stdout
    assert said.err == ""
    assert turned.stderr == "ignored, as the model does not know them: note\n"
    header, *rows = csv.reader(turned.stdout.splitlines())
    assert header == ["prediction", "p(iris)", "p(rose)"]
    assert len(rows) == 60
    assert {row[0] for row in rows} <= {"iris", "rose"}
    assert all(abs(float(row[1]) + float(row[2]) - 1) < 1e-5 for row in rows)


def test_files_hold_the_same_answers(fitted, flowers, capsys):
    assert run(program, ["predict", fitted, flowers]) == 0
    printed = capsys.readouterr().out
    for out in ("answers.csv", "answers.npz"):
        assert run(program, ["predict", fitted, flowers, "--out", out]) == 0
    assert Path("answers.csv").read_text() == printed
    with np.load("answers.npz") as found:
        assert found["prediction"].tolist() == [
            line.split(",")[0] for line in printed.splitlines()[1:]
        ]
        assert found["probabilities"].shape == (60, 2)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("lenght,width,colour\n1,2,red\n", "lacks 1 column(s): 'length' (did you mean 'lenght'?)"),
        ("length,width,colour\n1,2,green\n", "'green' in row 1 is no category"),
        ("length,width,colour\n,2,red\n", "'length': no value in row 1"),
    ],
)
def test_a_table_that_does_not_fit_is_one_line(text, sentence, fitted, capsys):
    Path("new.csv").write_text(text)
    assert run(program, ["predict", fitted, "new.csv"]) == 2
    said = capsys.readouterr()
    assert sentence in said.err
    assert said.err.count("\n") == 1


def test_a_model_of_an_estimator_does_not_know_columns(fitted, flowers, capsys):
    from dataclasses import replace

    replace(load_integers(fitted), table=None).save("bare.npz")
    assert run(program, ["predict", "bare.npz", flowers]) == 2
    assert "without the names of columns" in capsys.readouterr().err
