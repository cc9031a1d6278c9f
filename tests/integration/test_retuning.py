"""Nuisance parameters of a study: chosen anew at each level, on models kept apart."""

from __future__ import annotations

import json

import pytest

ADC = """
[study]
name = "ADC"
[[models.family]]
kind = "sk-pm1"
n = 30
count = 10
[machine]
device = "emulator"
settings = {saturation = 300, "adc.full_scale" = 0.12}
[factors]
adc.bits = [8, 2, 0]
[repeat]
runs = 32
[nuisance]
models = 2
levels = {"adc.full_scale" = [0.01, 0.12]}
"""


@pytest.fixture
def study(tmp_path):
    path = tmp_path / "study.toml"
    path.write_text(ADC)
    return path


def test_a_loss_that_is_gone_when_another_setting_follows_is_told(run, study, tmp_path):
    status, out, err = run("sweep", str(study), "--out", str(tmp_path / "out"))
    assert status == 0, err
    assert "adc.bits = 2: the loss of" in out
    assert "the factor's: with adc.full_scale = 0.01 it is" in out
    retuned = json.loads((tmp_path / "out/summary.json").read_text())["retuned"]
    at = {point["factors"]["adc.bits"]: point for point in retuned["points"]}
    assert at[2]["nuisance"] == {"adc.full_scale": 0.01}
    assert retuned["runs_to_tune"] == 3 * 2 * 2 * 32
    page = (tmp_path / "out/report.html").read_text()
    assert "<!-- none -->" in page  # 0 bits are an ideal converter, and stand last
    lines = (tmp_path / "out/rows.jsonl").read_text().splitlines()
    models = {json.loads(line)["model"] for line in lines}
    assert len([name for name in models if name.startswith("apart")]) == 2
    assert run("sweep", "--row", str(len(lines) - 1), str(tmp_path / "out"))[0] == 0


@pytest.mark.parametrize(
    ("levels", "complaint"),
    [
        ('{"adc.bits" = [2]}', "is a factor already"),
        ('{"adc.bist" = [2]}', "did you mean adc.bits"),
    ],
)
def test_nuisance_parameters_are_settings_that_are_no_factors(
    run, study, tmp_path, levels, complaint
):
    study.write_text(ADC.replace('{"adc.full_scale" = [0.01, 0.12]}', levels))
    status, _, err = run("sweep", str(study), "--out", str(tmp_path / "out"))
    assert status == 2
    assert complaint in err
