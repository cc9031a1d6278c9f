"""Cliffs found by bisection against fine grids, and against the truth where it is known."""

from __future__ import annotations

import numpy as np
import pytest
from known_success import CLIFF

from cim_hal.study import run_study

STUDY = """
[study]
name = "cliff"
seed = {seed}
[[models.family]]
kind = "sk"
n = {n}
count = 20
[machine]
device = "{device}"
[factors]
noise = {levels}
[repeat]
runs = 16
[[cliff]]
factor = "noise"
threshold = {threshold}
"""


KNOWN = {"device": "known_success:make", "n": 6, "seed": 1, "threshold": 0.5}


def found_in(tmp_path, name: str, **values):
    path = tmp_path / f"{name}.toml"
    path.write_text(STUDY.format(**values))
    summary = run_study(path, tmp_path / name)
    return summary["cliffs"][0], sum(point["n_runs"] for point in summary["points"])


def grid(high: float, n: int) -> list[float]:
    return np.linspace(0, high, n).round(6).tolist()


def test_a_bisected_cliff_holds_the_true_one(tmp_path):
    found, runs = found_in(tmp_path, "bisected", levels=[0, 1], **KNOWN)
    assert found["low"] <= CLIFF <= found["high"]
    assert found["high"] - found["low"] < 0.3
    assert runs <= 51 * 20 * 16 / 5  # of a grid as fine: the test below


@pytest.mark.slow
@pytest.mark.parametrize(
    ("high", "machine"),
    [
        (1, KNOWN),
        (0.2, {"device": "emulator-mean-field", "n": 16, "seed": 3, "threshold": 0.3}),
    ],
)
def test_a_bisected_cliff_holds_that_of_a_fine_grid_at_a_fifth_of_its_runs(tmp_path, high, machine):
    fine, of_grid = found_in(tmp_path, "grid", levels=grid(high, 51), **machine)
    found, runs = found_in(tmp_path, "bisected", levels=[0, high], **machine)
    assert runs <= of_grid / 5
    assert found["low"] <= fine["level"] <= found["high"]
    assert fine["low"] <= found["level"] <= fine["high"]
