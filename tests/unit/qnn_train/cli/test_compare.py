"""``qnn-train compare``: all methods on the same splits."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest

from cim_hal.console import run
from qnn_train.cli.app import program
from qnn_train.cli.compare import _Split

FEW = ["--hidden", "2", "--sweeps", "1", "--runs", "2", "--starts", "1"]
FEW += ["--splits", "2", "--pretraining", "20", "--quiet"]


@pytest.mark.slow
def test_a_process_compares_six_methods_on_classes(flowers, guessing, tmp_path):
    arguments = ["compare", flowers, "--target", "kind", "--device", guessing, *FEW]
    command = [sys.executable, "-m", "qnn_train", *arguments, "--picture", "a.png"]
    done = subprocess.run(
        [*command, "--json", "a.json"], capture_output=True, text=True, check=True
    )
    found = json.loads((tmp_path / "a.json").read_text())
    names = [each["method"] for each in found["methods"]]
    assert names[0] == "logistic regression"
    assert names[-1] == "quantized, proximal descent"
    assert len(names) == 6
    assert all(name in done.stdout for name in names)
    assert found["methods"][0]["test"]["value"] > 0.9  # a line and a colour tell them apart
    ours = np.array(found["methods"][-1]["splits"])
    for each in found["methods"]:
        less = each["less_ours"]["value"]
        assert less == np.mean(np.array(each["splits"]) - ours)
    assert (tmp_path / "a.png").stat().st_size > 0
    assert "warning" not in done.stderr.lower()


@pytest.mark.slow
def test_numbers_are_compared_by_r2_with_starts(guessing, tmp_path, capsys):
    x = np.random.default_rng(1).normal(size=(60, 2))
    np.savez(tmp_path / "plane.npz", X=x, y=x @ [1.0, 2.0] + 3)
    arguments = ["compare", "plane.npz", "--device", guessing, *FEW, "--starts", "2"]
    assert run(program, [*arguments, "--json", "-"]) == 0
    found = {each["method"]: each for each in json.loads(capsys.readouterr().out)["methods"]}
    assert found["ridge regression"]["test"]["value"] > 0.99
    assert found["float network, same shape"]["test"]["value"] > 0.9
    assert found["STE, equal bits"]["train"] > found["best of random networks"]["train"] - 0.2


def test_nothing_to_test_on_is_refused(flowers, capsys):
    arguments = ["compare", flowers, "--target", "kind", "--test-share", "0", "--quiet"]
    assert run(program, arguments) == 2
    assert "nothing to compare on" in capsys.readouterr().err


def test_a_stopped_comparison_goes_on_from_its_rows(tmp_path, capsys, monkeypatch):
    x = np.random.default_rng(1).normal(size=(60, 2))
    np.savez(tmp_path / "plane.npz", X=x, y=x @ [1.0, 2.0] + 3)
    call = ["compare", str(tmp_path / "plane.npz"), *FEW, "--oracle", "descent", "--json", "-"]
    assert run(program, call) == 0
    whole = json.loads(capsys.readouterr().out)["methods"]
    stopping = ["--checkpoint", str(tmp_path / "rows.json")]
    with monkeypatch.context() as patch:
        patch.setattr(_Split, "_random", lambda _: (_ for _ in ()).throw(KeyboardInterrupt))
        assert run(program, call + stopping) == 130
    kept = json.loads((tmp_path / "rows.json").read_text())["rows"]
    assert len(kept) == 4
    capsys.readouterr()
    assert run(program, call + stopping) == 0
    again = json.loads(capsys.readouterr().out)["methods"]
    assert [each["splits"] for each in again] == [each["splits"] for each in whole]
    assert json.loads((tmp_path / "rows.json").read_text())["rows"].items() >= kept.items()
    assert run(program, [*call, *stopping, "--hidden", "1"]) == 2
    assert "other values of hidden" in capsys.readouterr().err
