"""``qnn-train inspect``: what a model is, with columns and its training, or without."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace

import model_files

from cim_hal.console import run
from qnn_train.cli.app import program
from qnn_train.model.integer import load_integers


def test_a_process_tells_layers_columns_and_training(fitted):
    command = [sys.executable, "-m", "qnn_train", "inspect", fitted]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    for text in ("4-2-1", "iris, rose", "colour (2 categories)", "kind (classification)"):
        assert text in said
    assert "guessing" in said
    assert "45 rows of flowers.csv" in said


def test_json_has_the_same_and_a_bare_model_says_that_it_has_no_table(fitted, capsys):
    assert run(program, ["inspect", fitted, "--json", "-"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["table"]["training"]["seed"] == 0
    assert found["bits"] == sum(layer["bits"] for layer in found["layers"])
    assert [layer["products"] for layer in found["layers"]] == [8, 2]
    assert all(1 < layer["sum_bits"] < 25 for layer in found["layers"])
    replace(load_integers(fitted), table=None).save("bare.npz")
    assert run(program, ["inspect", "bare.npz"]) == 0
    assert "an estimator saved it" in capsys.readouterr().out


def test_a_network_for_images_is_told_with_its_layers_and_cells(tmp_path, capsys):
    path = tmp_path / "images.npz"
    model_files.model("splines and codebooks").save(path)
    assert run(program, ["inspect", str(path), "--json", "-"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["kind"], found["dataset"], found["classes"]) == (
        "images",
        "digits",
        ["three", "six"],
    )
    assert found["bits"] == sum(layer["bits"] for layer in found["layers"])
    assert [layer["products"] for layer in found["layers"]] == [64, 12, 3]
    assert run(program, ["inspect", str(path)]) == 0
    assert "4x4 cells of an image: brighter or darker" in capsys.readouterr().out


def test_commands_for_tables_name_a_model_of_another_kind(tmp_path, capsys):
    path, table = tmp_path / "images.npz", tmp_path / "table.csv"
    table.write_text("a,b\n1,2\n")
    model_files.model("splines and codebooks").save(path)
    assert run(program, ["predict", str(path), str(table)]) == 2
    assert "holds no such model: it is a network for images (TrainedModel)" in (
        capsys.readouterr().err
    )
