"""Cliffs found by bisection against fine grids, and against the truth where it is known."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from importlib.metadata import EntryPoint, EntryPoints
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from known_success import CLIFF, KnownTraining

from cim_hal import open_device
from cim_hal.study import run_study, tasks
from cim_hal.study.job import Machine

if TYPE_CHECKING:
    from cim_hal.study.tasks import Trained

STUDY = """
[study]
name = "cliff"
task = "{task}"
seed = {seed}
{what}
[machine]
device = "{device}"
[factors]
noise = {levels}
"""
MODELS = """[repeat]
runs = 16
[[models.family]]
kind = "sk"
n = {n}
count = {count}
"""
KNOWN = {"device": "known_success:make", "seed": 1}
SAMPLED = {**KNOWN, "task": "sample", "what": MODELS.format(n=6, count=8)}
TRAINED = {**KNOWN, "task": "train", "what": "[train]\nseeds = 12\n"}
GLASSES = {
    "device": "emulator-mean-field",
    "seed": 3,
    "task": "sample",
    "what": MODELS.format(n=16, count=20),
}
# of which each crosses its threshold at `CLIFF`, but for the gap, whose unit differs by model
CLIFFS = {
    "sample": {"success_probability": 0.5, "r99": 6.644, "energy_gap": 0.9},
    "train": {"accuracy": 0.5, "infeasibility": 1, "calls": 40},
}


def found_in(tmp_path, name: str, cliffs: dict[str, float], **values):
    """Return the cliffs of a study by their figures, and the runs that it took to find them."""
    text = STUDY.format(**values)
    for figure, threshold in cliffs.items():
        text += f'[[cliff]]\nfactor = "noise"\nfigure = "{figure}"\nthreshold = {threshold}\n'
    path = tmp_path / f"{name}.toml"
    path.write_text(text)
    summary = run_study(path, tmp_path / name)
    runs = sum(point["n_runs"] for point in summary["points"])
    return {found["figure"]: found for found in summary["cliffs"]}, runs


def grid(high: float, n: int) -> list[float]:
    return np.linspace(0, high, n).round(6).tolist()


def check(found, fine) -> None:
    """Compare the cliff of a bisection with that of a fine grid."""
    assert found["low"] <= fine["level"] <= found["high"]
    assert fine["low"] <= found["level"] <= fine["high"]
    assert found["fails"] == fine["fails"] == "above"


@pytest.mark.slow
@pytest.mark.parametrize("study", [SAMPLED, TRAINED], ids=["sample", "train"])
def test_a_cliff_of_each_figure_holds_that_of_a_fine_grid_and_the_true_one_at_a_fifth_of_its_runs(
    tmp_path, monkeypatch, study
):
    task = EntryPoint("train", "known_success:task", tasks.GROUP)
    monkeypatch.setattr(tasks, "offered", lambda _: EntryPoints([task]))
    with open_device(KNOWN["device"]) as session:
        monkeypatch.setattr(Machine, "open", lambda *_: nullcontext(session))  # 1,100 are slow
        cliffs = CLIFFS[study["task"]]
        fine, of_grid = found_in(tmp_path, "grid", cliffs, levels=grid(1, 76), **study)
        found, runs = found_in(tmp_path, "bisected", cliffs, levels=[0.0, 1.0], **study)
    assert runs <= of_grid / 5
    for figure in cliffs:
        check(found[figure], fine[figure])
        if figure != "energy_gap":
            assert found[figure]["low"] <= CLIFF <= found[figure]["high"]
    rises = {"accuracy": "falls below", "success_probability": "falls below"}
    assert all(rises.get(name, "rises above") in one["verdict"] for name, one in found.items())


def test_a_cliff_of_an_option_builds_a_machine_at_each_level_between(tmp_path):
    text = STUDY.format(levels=[0], **SAMPLED).replace("noise = [0]", "options.added = [0.1, 0.6]")
    text += '[[cliff]]\nfactor = "options.added"\nthreshold = 0.5\nresolution = 0.1\n'
    path = tmp_path / "study.toml"
    path.write_text(text)
    (found,) = run_study(path, tmp_path / "out")["cliffs"]
    assert found["low"] <= CLIFF <= found["high"]
    assert found["n_levels"] == 5


def test_a_cliff_is_sought_at_levels_of_the_file_and_not_where_another_cliff_looked(tmp_path):
    text = STUDY.format(levels="[0.0, 0.2]\noptions.added = [0.0, 0.6]", **SAMPLED)
    for factor in ("noise", "options.added"):
        text += f'[[cliff]]\nfactor = "{factor}"\nthreshold = 0.5\nresolution = 0.3\n'
    path = tmp_path / "study.toml"
    path.write_text(text)
    summary = run_study(path, tmp_path / "out")
    found = [(one["at"], one["n_levels"]) for one in summary["cliffs"]]
    of_noise = [({"options.added": 0.0}, 2), ({"options.added": 0.6}, 2)]
    assert found == [*of_noise, ({"noise": 0.0}, 3), ({"noise": 0.2}, 3)]
    assert len(summary["points"]) == 6  # both of the second factor looked at .3


class _Forgetful(KnownTraining):
    def train(self, *how: Any) -> Trained:
        """Return what chance says, without its infeasibility in the middle."""
        found = super().train(*how)
        return replace(found, infeasibility=None) if how[2]["noise"] == 0.5 else found


def test_a_cliff_whose_figure_is_not_known_between_is_left_there(tmp_path, monkeypatch):
    monkeypatch.setattr("cim_hal.study.sweep.train_task", _Forgetful)
    monkeypatch.setattr("cim_hal.study.job.train_task", _Forgetful)
    cliffs, _ = found_in(tmp_path, "gap", {"infeasibility": 1}, levels=[0.0, 1.0], **TRAINED)
    assert "between 0 and 1; 95 %" in cliffs["infeasibility"]["verdict"]
    assert cliffs["infeasibility"]["verdict"].endswith("; not known at 1 of 3 levels")


@pytest.mark.slow
def test_a_cliff_of_glasses_holds_that_of_a_fine_grid_at_a_fifth_of_its_runs(tmp_path):
    cliffs = {"success_probability": 0.3}
    fine, of_grid = found_in(tmp_path, "grid", cliffs, levels=grid(0.2, 51), **GLASSES)
    found, runs = found_in(tmp_path, "bisected", cliffs, levels=[0.0, 0.2], **GLASSES)
    assert runs <= of_grid / 5
    check(found["success_probability"], fine["success_probability"])
