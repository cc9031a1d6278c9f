"""Studies of trainings: accuracy over fields of a recipe and settings of the machine."""

from __future__ import annotations

import json

import pytest

from cim_hal.errors import StudyError
from cim_hal.study import tasks
from cim_hal.study.rows import read_rows

TRAIN = """
[study]
name = "few bits"
task = "train"
[train]
seeds = 3
options = {dataset = "digits", classes = [0, 1], train_samples = 8, iterations = 2, n_runs = 4}
[machine]
device = "emulator-mean-field"
[factors]
coupling_bits = [2, 8]
noise = [0.0, 0.01]
"""
CLIFF = """[[cliff]]
factor = "noise"
figure = "{}"
threshold = {}
"""


@pytest.fixture
def study(tmp_path):
    path = tmp_path / "study.toml"
    path.write_text(TRAIN)
    return path


def test_a_study_of_trainings_tells_accuracy_and_its_rows_repeat(run, study, tmp_path):
    out = str(tmp_path / "out")
    status, said, err = run("sweep", str(study), "--out", out, "--json")
    assert status == 0, err
    summary = json.loads(said)
    assert summary["figure"] == "test accuracy"
    assert len(summary["points"]) == 4
    for point in summary["points"]:
        assert point["success_probability"] > 0.6  # of zeros and ones, by eight images
        assert point["n_instances"] == 3
        assert point["r99"] is None
        assert point["calls"] == point["calls_low"] == point["calls_high"] == 2
        assert point["infeasibility_low"] < point["infeasibility"] < point["infeasibility_high"]
    point, rows = summary["points"][0], read_rows(tmp_path / "out")
    here = [row.infeasibility for row in rows if row.factors == point["factors"]]
    assert point["infeasibility"] == pytest.approx(sum(here) / 3)
    assert "test accuracy" in (tmp_path / "out/report.html").read_text()
    status, said, _ = run("sweep", "--row", "5", out)
    assert status == 0
    row = sorted(rows, key=lambda one: one.key)[5]
    assert f"the same network, 2 calls, infeasibility {row.infeasibility:.3g}" in said
    assert run("sweep", str(study), "--out", out, "--resume")[0] == 0


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ('"digits"', '"digts"', "one of digits"),
        ("train_samples = 8", "train_samples = 100000", "training samples"),
        ("iterations = 2", "iterationz = 2", "iterationz"),
        ("iterations = 2", "seed = 2", "that of the study"),
        ("iterations = 2", "coupling_bits = 2", "a factor already"),
        ("classes = [0, 1]", "classes = [3]", "two numbers"),
        ("noise", "noize", "did you mean noise"),
        *(
            ("[2, 8]", f"[8, {bits}]", f"coupling_bits: the request needs {bits}, the device")
            for bits in (1, 20, 64)
        ),
        ("n_runs = 4", "n_runs = 100000", "max_runs: the request needs 100000"),
        ("n_runs = 4", "n_runs = 4, oracle = 'descent', lowering = 'quantile'", "to the bits of"),
        ('task = "train"', 'task = "sample"', "needs [models]"),
        ("[2, 8]", '[2, 8]\nmethod = ["qcgd", "qcgt"]', "no method 'qcgt'; qcgd, "),
        ("[0.0, 0.01]", '["none"]', "factor noise = 'none': it should be a number"),
        ("[2, 8]", '[2, "8"]', "texts and numbers are not compared"),
        ("[factors]", f"{CLIFF.format('r99', 5)}[factors]", "has accuracy, infeasibility, calls"),
        (
            "n_runs = 4}",
            f"n_runs = 4, method = 'random'}}\n{CLIFF.format('infeasibility', 1)}",
            "the method random has no constraints",
        ),
        ("[train]\nseeds = 3\noptions", "[training]\nseeds = 3\noptions", "no key 'training'"),
    ],
)
def test_what_no_training_can_have_is_said_before_one(run, study, tmp_path, old, new, complaint):  # noqa: PLR0917
    assert old in TRAIN
    study.write_text(TRAIN.replace(old, new))
    status, _, err = run("sweep", str(study), "--out", str(tmp_path / "out"))
    assert status == 2
    assert complaint in err
    assert not (tmp_path / "out/rows.jsonl").exists()


def test_the_machine_of_trainings_can_be_replaced(run, study, tmp_path):
    text = TRAIN.replace("n_runs = 4", 'n_runs = 4, oracle = "descent"').replace("[2, 8]", "[8]")
    study.write_text(text.replace("noise = [0.0, 0.01]\n", "").replace("seeds = 3", "seeds = 1"))
    status, said, err = run("sweep", str(study), "--out", str(tmp_path / "out"), "--json")
    assert status == 0, err
    (point,) = json.loads(said)["points"]
    assert point["success_probability"] > 0.6
    assert point["infeasibility"] > 0


def test_methods_are_levels_of_a_factor(run, tmp_path):
    """Each is compared with the first, by the same trainings, and tells what it lacks itself."""
    study = tmp_path / "study.toml"
    coded = TRAIN.replace("[2, 8]", "[8]").replace("noise = [0.0, 0.01]", "")
    study.write_text(coded + 'method = ["qcgd", "random"]\n')
    out = tmp_path / "out"
    status, said, err = run("sweep", str(study), "--out", str(out), "--json")
    assert status == 0, err
    summary = json.loads(said)
    ours, random = summary["points"]
    assert (ours["factors"]["method"], random["factors"]["method"]) == ("qcgd", "random")
    assert ours["infeasibility"] is not None
    assert random["infeasibility"] is None
    assert random["no_infeasibility"] == "the method random has no constraints"
    assert [v["level"] for v in summary["verdicts"] if v["factor"] == "method"] == ["random"]
    alone = tmp_path / "alone.toml"
    alone.write_text(coded)
    assert run("sweep", str(alone), "--out", str(tmp_path / "one"))[0] == 0
    networks = [{row.spins_sha256 for row in read_rows(at)} for at in (tmp_path / "one", out)]
    assert networks[0] < networks[1]


def test_a_method_without_constraints_says_so_in_place_of_infeasibility(run, study, tmp_path):
    text = TRAIN.replace("n_runs = 4", 'n_runs = 4, method = "random"').replace("[2, 8]", "[8]")
    study.write_text(text.replace("noise = [0.0, 0.01]\n", "").replace("seeds = 3", "seeds = 1"))
    status, said, err = run("sweep", str(study), "--out", str(tmp_path / "out"))
    assert status == 0, err
    assert "none" in said
    (row,) = read_rows(tmp_path / "out")
    why = "the method random has no constraints"
    assert (row.infeasibility, row.no_infeasibility, row.calls) == (None, why, 2)
    page = (tmp_path / "out/report.html").read_text()
    for words in (why, "not known: there is one training only", "differ (there is one training"):
        assert words in page


def test_a_study_of_trainings_needs_a_package_that_trains(monkeypatch):
    monkeypatch.setattr(tasks, "GROUP", "no.such.group")
    with pytest.raises(StudyError, match="no package for trainings"):
        tasks.train_task()
