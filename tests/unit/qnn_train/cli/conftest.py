"""Small tables of one's own, and a model trained on one."""

from __future__ import annotations

import csv

import numpy as np
import pytest

from cim_hal.console import run
from qnn_train.cli.app import program

QUICK = ["--hidden", "2", "--sweeps", "2", "--runs", "2", "--pretraining", "20", "--quiet"]


def write_flowers(path, n=60):
    """Write a table of two kinds that one length and a colour tell apart."""
    rng = np.random.default_rng(0)
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["length", "width", "colour", "kind"])
        for index in range(n):
            second = index % 2
            numbers = (round(float(each), 3) for each in rng.normal((3 * second, 0), 1))
            rows.writerow([*numbers, "red" if second else "blue", "rose" if second else "iris"])


@pytest.fixture
def flowers(guessing, tmp_path):
    """The name of the table, in the current folder."""
    write_flowers(tmp_path / "flowers.csv")
    return "flowers.csv"


@pytest.fixture
def fitted(flowers, guessing):
    """The model of a table, trained on the machine that guesses."""
    told = ["fit", flowers, "--target", "kind", "--device", guessing, "--out", "out", *QUICK]
    assert run(program, told) == 0
    return "out/model.npz"
