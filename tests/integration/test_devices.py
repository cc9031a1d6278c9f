"""Machines beside each other on one model."""

from __future__ import annotations

import json

import numpy as np
import pytest

from cim_hal import IsingModel
from cim_hal.errors import StudyError
from cim_hal.study.devices import compare_devices, differences

COARSE = 'driver = "emulator-mean-field"\nname = "coarse"\n[settings]\nnoise = 0.5\n'


@pytest.fixture
def model(tmp_path):
    J = np.triu(np.random.default_rng(1).normal(size=(12, 12)), 1)
    path = tmp_path / "glass.npz"
    np.savez(path, J=J + J.T)
    return path


def test_machines_are_measured_beside_each_other_and_again_the_same(run, model, tmp_path):
    (tmp_path / "coarse.toml").write_text(COARSE)
    both = ["--device", "emulator-550", "--device", str(tmp_path / "coarse.toml")]
    status, out, err = run("compare", str(model), *both, "--runs", "32", "--json")
    assert status == 0, err
    found = json.loads(out, parse_constant=pytest.fail)
    first, second = found["devices"]
    assert found["energy_source"] == "enumerated"
    assert (first["coupling_bits"], second["coupling_bits"]) == (8, None)
    assert first["max_error"] > second["max_error"] == 0
    assert second["optimum_kept"] == 1
    assert first["low"] <= first["success_probability"] == first["successes"] / 32 <= first["high"]
    assert first["run_s_from"] == "round trips"
    assert first["tts"] == pytest.approx(first["r99"] * first["run_s"])
    again = json.loads(run("compare", str(model), *both, "--runs", "32", "--json")[1])
    assert again["devices"][0] == first


def test_the_table_says_what_success_is(run, model):
    status, out, _ = run("compare", str(model), "--device", "emulator-mean-field", "--energy=-1")
    assert status == 0
    assert "success is energy -1 (given); 64 runs on each" in out
    assert "of emulator-mean-field the time is what the driver took here" in out


def test_pairs_are_tested_exactly_and_corrected_for_all_of_them(run, model):
    three = ["--device=emulator-550", "--device=emulator-ideal", "--device=emulator-mean-field"]
    status, out, err = run("compare", str(model), *three, "--runs", "40", "--json")
    assert status == 0, err
    found = json.loads(out)
    assert [each["devices"][0] for each in found["differences"]] == ["emulator-550"] * 2 + [
        "emulator-ideal"
    ]
    by_name = {each["target"]: each for each in found["devices"]}
    for each in found["differences"]:
        a, b = (by_name[name] for name in each["devices"])
        assert each["difference"] == pytest.approx(
            a["success_probability"] - b["success_probability"]
        )
        assert each["low"] <= each["difference"] <= each["high"]


def machine(name, successes, run_s=1.0):
    return {"target": name, "successes": successes, "runs": 40, "run_s": run_s}


def test_a_difference_is_told_with_its_direction_and_its_time():
    none, few, most = machine("none", 0), machine("few", 10, 0.5), machine("most", 36)
    first, second, third = differences([most, few, none])
    assert first["is_shown"]
    assert "most succeeds more often than few: 65.0 points [" in first["verdict"]
    assert first["times"]["value"] == pytest.approx(2 * np.log(0.75) / np.log(0.1))
    assert second["times"]["high"] < 1
    assert "; the first takes at most 0.102 times as long" in second["verdict"]
    assert differences([none, most])[0]["times"]["low"] > 1
    assert third["is_shown"]
    assert differences([none, machine("none too", 0)])[0]["times"] is None
    same = differences([few, machine("other", 12)])
    assert "undecided" in same[0]["verdict"]


def test_a_policy_brings_the_model_to_the_machines_that_have_bits(run, model):
    both = ["--device", "emulator-550", "--device", "emulator-mean-field"]
    status, out, err = run("compare", str(model), *both, "--lowering", "least-error", "--json")
    assert status == 0, err
    first, second = json.loads(out)["devices"]
    assert (first["lowering"], second["lowering"]) == ("least-error", "max")
    plain = json.loads(run("compare", str(model), *both, "--json")[1])["devices"][0]
    assert first["rms_error"] < plain["rms_error"]


def test_what_cannot_be_compared_is_refused_before_a_run(run, tmp_path):
    big = tmp_path / "big.npz"
    np.savez(big, J=np.ones((600, 600)) - np.eye(600))
    both = ["--device", "emulator", "--device", "emulator-550"]
    status, out, err = run("compare", str(big), *both)
    assert (status, out) == (2, "")
    assert "550" in err
    status, _, err = run("compare", str(big), "--device", "emulator", "--runs", "100000")
    assert status == 2
    assert "at most 10000 runs" in err


def test_a_machine_that_stands_twice_is_refused():
    ring = IsingModel.from_couplings([[0, 1], [1, 0]])
    with pytest.raises(StudyError, match="stand twice: emulator"):
        compare_devices(ring, ["emulator", "emulator"])
