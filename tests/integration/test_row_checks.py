"""Rows that are gone on with: one that no job of the study made is refused, and what differs."""

from __future__ import annotations

import json
import shutil

import pytest

from cim_hal.errors import StudyError
from cim_hal.study import run_study

STUDY = """
[study]
name = "rows"
[models]
files = ["a.txt"]
family = [{kind = "sk", n = 6, count = 2}]
[machine]
device = "emulator-mean-field"
[factors]
noise = [0.0, 0.2]
coupling_bits = [4]
lowering = ["max", "stochastic"]
[repeat]
runs = 4
[nuisance]
models = 1
levels = {coupling_gain = [0.5, 1.0]}
[[cliff]]
factor = "noise"
threshold = 0.5
"""
AT = {"noise": 0.0, "coupling_bits": 4, "lowering": "max"}


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    folder = tmp_path_factory.mktemp("done")
    (folder / "a.txt").write_text("3 2\n1 2 1\n2 3 2\n")
    (folder / "study.toml").write_text(STUDY)
    run_study(folder / "study.toml", folder / "out")
    return folder


@pytest.fixture
def study(done, tmp_path):
    shutil.copytree(done, tmp_path, dirs_exist_ok=True)
    return tmp_path / "study.toml"


def resumed(study, fields):
    """Go on with a study of which one row, of the first model and point, is another."""
    path = study.parent / "out/rows.jsonl"
    lines = list(map(json.loads, path.read_text().splitlines()))
    row = next(each for each in lines if each["model"] == "sk-6-0.0" and each["factors"] == AT)
    row.update(fields)
    path.write_text("".join(f"{json.dumps(each)}\n" for each in lines))
    return run_study(study, study.parent / "out", resume=True)


def test_rows_of_every_kind_of_job_are_gone_on_with(study):
    rows = (study.parent / "out/rows.jsonl").read_bytes()
    assert b"coupling_gain" in rows
    run_study(study, study.parent / "out", resume=True)
    assert (study.parent / "out/rows.jsonl").read_bytes() == rows


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"model": "sk-6-0.7"}, "no such model"),
        *(
            ({"factors": factors}, "no such point")
            for factors in (
                *({}, {**AT, "noise": 77.0}, {**AT, "noise": "x"}, {**AT, "noise": True}),
                *({**AT, "bits": 2}, {**AT, "coupling_bits": 4.0}, {**AT, "coupling_gain": 0.7}),
                *(dict(reversed(AT.items())), {**AT, "method": "random"}),
            )
        ),
        ({"batch": 7}, "batch = 7 where it is 0"),
        ({"seed": 1}, "seed = 1 where it is"),
        ({"device": "quantum"}, "device = 'quantum' where it is 'emulator-mean-field'"),
        ({"runs": 1000}, "runs = 1000 where it is 4"),
        ({"n_spins": 7}, "n_spins = 7 where it is 6"),
        ({"model_digest": "feed"}, "model_digest = 'feed' where it is 'sha256:"),
        ({"target": -99.0}, "target = -99.0 where it is -"),
        ({"target_source": "given"}, "target_source = 'given' where it is 'enumerated'"),
        ({"calls": 3}, "calls = 3 where it is None"),
        ({"infeasibility": 0.3}, "infeasibility = 0.3 where it is None"),
        ({"successes": 0, "energy_min": -1e3}, "energy_min = -1000.0: no configuration has it"),
        ({"successes": 2, "energy_min": 0.0, "energy_mean": 0.0}, "successes = 2 at energy_min"),
    ],
)
def test_a_row_that_no_job_made_is_refused_by_what_differs(study, fields, says):
    with pytest.raises(StudyError, match=f"not of this study: .*{says}"):
        resumed(study, fields)


def test_a_copy_of_a_model_that_was_changed_is_not_gone_on_with(study):
    (study.parent / "out/models/0-a.txt").write_text("3 2\n1 2 1\n2 3 3\n")
    with pytest.raises(StudyError, match=r"a.txt.*target = .* where it is"):
        run_study(study, study.parent / "out", resume=True)


def test_a_row_of_no_job_of_the_study_is_not_run_again(run, study):
    with pytest.raises(StudyError):
        resumed(study, {"factors": {"noise": "x"}})
    path = study.parent / "out/rows.jsonl"
    rows = list(map(json.loads, path.read_text().splitlines()))
    path.write_text(json.dumps(next(row for row in rows if len(row["factors"]) == 1)) + "\n")
    status, _, err = run("sweep", "--row", "0", str(study.parent / "out"))
    assert (status, "no such point" in err) == (2, True)
