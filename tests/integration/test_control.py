"""What trainings have to beat, and the lowering of their problems as a factor."""

from __future__ import annotations

import json

import pytest

CONTROL = """
[study]
name = "few bits"
task = "train"
[train]
seeds = 3
control = "random"
options = {dataset = "digits", classes = [0, 1], train_samples = 8, iterations = 2, n_runs = 4}
[machine]
device = "emulator-mean-field"
[factors]
coupling_bits = [2, 8]
lowering = ["max", "least-error"]
"""


def test_random_networks_are_trained_once_and_are_what_each_point_has_to_beat(run, tmp_path):
    study = tmp_path / "study.toml"
    study.write_text(CONTROL)
    status, said, err = run("sweep", str(study), "--out", str(tmp_path / "out"), "--json")
    assert status == 0, err
    found = json.loads(said)
    lines = (tmp_path / "out/rows.jsonl").read_text().splitlines()
    assert len(lines) == (2 * 2 + 1) * 3
    assert [each["control"] for each in found["control"]] == [{"method": "random"}] * 4
    assert len({each["accuracy"] for each in found["control"]}) == 1
    for each, point in zip(found["control"], found["points"], strict=True):
        gained = point["success_probability"] - each["accuracy"]
        assert each["gained"] == pytest.approx(gained)
        assert each["gained_low"] < gained < each["gained_high"]
    at_2_bits = [p["success_probability"] for p in found["points"][:2]]
    assert at_2_bits[0] != at_2_bits[1]  # the policy matters
    page = (tmp_path / "out/report.html").read_text()
    assert "to beat: random" in page
    assert "against the control random" in page
    study.write_text(CONTROL.replace('"random"', '"randm"'))
    assert run("sweep", str(study), "--out", str(tmp_path / "other"))[0] == 2
