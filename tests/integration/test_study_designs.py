"""Which points a study has: all combinations, a list, one factor at a time; machines as factors."""

from __future__ import annotations

import json
import re

import pytest
from studies import STUDY, rows_of, summary_of

from cim_hal.errors import StudyError
from cim_hal.study import run_study
from cim_hal.study.plan import read_study

GRID = "coupling_bits = [2, 8]\nround_trips = [40, 200]\n"
MACHINES = """
[study]
name = "Machines"
[[models.family]]
kind = "sk"
n = 10
count = 3
[factors]
device = ["emulator-mean-field", "emulator-550"]
runs = [4, 8]
"""


@pytest.fixture
def study(tmp_path):
    return tmp_path / "study.toml"


def test_one_factor_at_a_time_leaves_the_others_at_their_first_levels(run, study, tmp_path):
    text = STUDY.replace("seed = 3", 'seed = 3\ndesign = "one-at-a-time"')
    study.write_text(text.replace(GRID, "coupling_bits = [8, 2, 3]\nround_trips = [200, 40]\n"))
    status, _, err = run("sweep", str(study), "--out", str(tmp_path / "out"))
    assert status == 0, err
    points = [point["factors"] for point in summary_of(tmp_path / "out")["points"]]
    assert [tuple(p.values()) for p in points] == [(8, 200), (2, 200), (3, 200), (8, 40)]
    compared = {(v["factor"], v["level"]) for v in summary_of(tmp_path / "out")["verdicts"]}
    assert compared == {("coupling_bits", 2), ("coupling_bits", 3), ("round_trips", 40)}


def test_points_are_listed(study):
    listed = "[[point]]\ncoupling_bits = 8\nround_trips = 200\n[[point]]\nround_trips = 50\n"
    text = STUDY.replace("[factors]\n" + GRID, listed + "coupling_bits = 4\n")
    study.write_text(text)
    found = [tuple(dict(point).values()) for point in read_study(study).points()]
    assert found == [(8, 200), (4, 50)]


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        (GRID, GRID + "[[point]]\ncoupling_bits = 8\n", "would be all combinations"),
        (f"[factors]\n{GRID}", "[[point]]\na = 8\n[[point]]\nb = 1\n", "the same factors"),
        ("[2, 8]", "[true]", "it should be a number"),
        (GRID, "device = [3]\n", "it should be a target"),
        (GRID, "options.threads = [1, 'a']\n", "not compared"),
        (GRID, "device = ['emulator', 'no-such']\n", "no-such"),
        (GRID, "options.no_such = [1, 2]\n", "no_such"),
        (GRID, "runs = [1, 100000]\n", "from 1 to 10000"),
    ],
)
def test_designs_that_cannot_be_are_refused(run, study, tmp_path, old, new, complaint):  # noqa: PLR0917
    assert old in STUDY
    study.write_text(STUDY.replace(old, new))
    status, _, err = run("sweep", str(study), "--out", str(tmp_path / "out"))
    assert status == 2
    assert complaint in err
    assert not (tmp_path / "out/rows.jsonl").exists()


def test_machines_are_a_factor_and_their_verdict_is_paired_by_model(run, study, tmp_path):
    study.write_text(MACHINES)
    out = tmp_path / "out"
    status, said, err = run("sweep", str(study), "--out", str(out), "--json")
    assert status == 0, err
    summary = json.loads(said)
    assert {row["device"] for row in rows_of(out)} == {"emulator-mean-field", "emulator-550"}
    assert [point["n_runs"] for point in summary["points"]] == [12, 24, 12, 24]
    assert "device = emulator-550 against emulator-mean-field" in summary["verdicts"][0]["verdict"]
    assert len(summary["machines"]) == 2
    assert run("sweep", "--row", "9", str(out))[0] == 0
    status, said, _ = run("sweep", str(study), "--dry-run")
    assert "4 points x 3 models = 12 jobs" in said
    assert "72 runs" in said


KINDS = """
[study]
name = "Kinds"
[models]
files = ["zero.txt"]
targets = {"zero.txt" = 0.0}
family = [
  {kind = "sk", n = 8, count = 2},
  {kind = "sk-pm1", n = 6, count = 2},
]
[machine]
device = "emulator-mean-field"
[factors]
round_trips = [20, 50]
[repeat]
runs = 4
[nuisance]
models = 2
levels = {pump_end = [0.5, 1.1, 1.2]}
"""


def test_a_cliff_of_the_gap_is_refused_where_a_target_is_zero(run, study, tmp_path):
    (tmp_path / "zero.txt").write_text("3 2\n1 2 1\n2 3 2\n")
    cliff = '[[cliff]]\nfactor = "round_trips"\nfigure = "energy_gap"\nthreshold = 0.1\n'
    study.write_text(f"{KINDS}{cliff}")
    status, _, err = run("sweep", str(study), "--dry-run")
    assert status == 2
    assert "the target of zero.txt is 0" in err


def test_kinds_are_told_apart_and_a_target_of_zero_has_no_gap(run, study, tmp_path):
    study.write_text(KINDS)
    (tmp_path / "zero.txt").write_text("3 2\n1 2 1\n2 3 2\n")
    out = tmp_path / "out"
    status, planned, err = run("sweep", str(study), "--dry-run", "--json")
    assert status == 0, err
    status, said, err = run("sweep", str(study), "--out", str(out))
    assert status == 0, err
    assert "several kinds or sizes" in said
    plan, rows = json.loads(planned), rows_of(out)
    assert sum(plan[name] for name in ("jobs", "jobs_to_tune", "jobs_tuned")) == len(rows)
    assert plan["runs"] + plan["runs_to_tune"] == sum(row["runs"] for row in rows)
    point = json.loads((out / "summary.json").read_text())["points"][0]
    found = [(each["name"], each["n_instances"]) for each in point["families"]]
    assert found == [("files", 1), ("sk-8", 2), ("sk-pm1-6", 2)]
    assert point["energy_gap"] is None
    page = (out / "report.html").read_text()
    for text in ("Each kind of models", "target 0", "a point has none", "numpy", "Python 3"):
        assert text in page
    assert max(map(len, re.findall(r"[0-9]+", page.partition("<h2>Points")[2]))) < 40


OF_EACH = """
[study]
name = "Each kind"
[models]
files = ["a.txt", "b.txt", "c.txt"]
groups = {ab = ["b.txt", "a.txt"]}
family = [
  {kind = "sk", n = 8, count = 3},
  {kind = "maxcut", n = [8, 6], count = 2},
  {kind = "planted", n = 21, count = 1},
]
[machine]
device = "emulator-mean-field"
[factors]
coupling_bits = [2, 8]
model = "each"
[repeat]
runs = 4
[[cliff]]
factor = "coupling_bits"
threshold = 0.5
"""


def test_kinds_of_models_are_levels_with_points_cliffs_and_verdicts_of_their_own(
    run, study, tmp_path
):
    for name, weight in (("a", 2), ("b", 3), ("c", 4)):
        (tmp_path / f"{name}.txt").write_text(f"3 2\n1 2 1\n2 3 {weight}\n")
    study.write_text(OF_EACH)
    out = tmp_path / "out"
    status, said, err = run("sweep", str(study), "--out", str(out), "--json")
    assert status == 0, err
    summary, rows = json.loads(said), rows_of(out)
    sizes = {"ab": 2, "c.txt": 1, "sk-8": 3, "maxcut-8": 2, "maxcut-6": 2, "planted-21": 1}
    for point in summary["points"]:
        assert point["n_instances"] == sizes[point["factors"]["model"]]
        assert point["families"] == []
        assert ("rounded" in point) == (point["factors"]["model"] != "planted-21")  # too large
    assert [cliff["at"]["model"] for cliff in summary["cliffs"]] == list(sizes)
    compared = {(v["factor"], v["at"]["model"]) for v in summary["verdicts"]}
    assert compared == {("coupling_bits", kind) for kind, n in sizes.items() if n > 1}
    assert "coupling_bits = 2 against 8, model = ab: " in summary["verdicts"][0]["verdict"]

    lines = (out / "rows.jsonl").read_text().splitlines(keepends=True)
    (out / "rows.jsonl").write_text("".join(lines[:7]))
    run_study(study, out, resume=True)
    assert rows_of(out) == rows
    assert "the same spins" in run("sweep", "--row", "9", str(out))[1]
    wrong = json.loads(lines[0])
    wrong["factors"]["model"] = "sk-8"
    (out / "rows.jsonl").write_text("".join([json.dumps(wrong) + "\n", *lines[1:]]))
    with pytest.raises(StudyError, match="not of this study"):
        run_study(study, out, resume=True)


def test_a_kind_has_the_figures_of_a_study_of_its_own_and_is_tuned_on_its_own(run, study, tmp_path):
    text = re.sub("files = .*\n|targets = .*\n", "", KINDS)
    (tmp_path / "one.toml").write_text(re.sub(".*sk-pm1.*\n", "", text))
    study.write_text(text.replace("[factors]", '[factors]\nmodel = ["sk-8", "sk-pm1-6"]'))
    status, planned, err = run("sweep", str(study), "--dry-run", "--json")
    assert status == 0, err
    found = {}
    for name in ("study", "one"):
        out = tmp_path / name
        found[name] = run_study(tmp_path / f"{name}.toml", out)["points"]
    of_kind = [each for each in found["study"] if each["factors"].pop("model") == "sk-8"]
    clocks = {"device_s", "run_s", "tts", "tts_low", "tts_high"}
    for one, other in zip(of_kind, found["one"], strict=True):
        assert {name for name in one if one[name] != other[name]} <= clocks
    plan, rows = json.loads(planned), rows_of(tmp_path / "study")
    assert sum(plan[name] for name in ("jobs", "jobs_to_tune", "jobs_tuned")) == len(rows)
    assert plan["runs"] + plan["runs_to_tune"] == sum(row["runs"] for row in rows)
    assert all(f"{row['factors']['model']}-" in row["model"] for row in rows)
