"""``qnn-train export``: both formats give what the model gives."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from model_files import IMAGES, model, of_ten_classes

from cim_hal.console import run
from qnn_train import count_disagreements
from qnn_train.cli.app import program
from qnn_train.data.tables import read_table
from qnn_train.model.integer import load_integers


def test_a_process_writes_onnx_that_agrees_with_the_model(fitted, flowers, tmp_path):
    pytest.importorskip("onnx")
    command = [sys.executable, "-m", "qnn_train", "export", fitted, "flowers.onnx"]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert said.startswith("written: flowers.onnx\n")
    assert said.split()[-4:] == ["length", "width", "colour=blue", "colour=red"]
    model = load_integers(fitted)
    X = model.table.encode(read_table(tmp_path / flowers))
    assert count_disagreements(model, tmp_path / "flowers.onnx", X) == 0


def test_networks_of_images_are_written_in_all_formats(tmp_path, monkeypatch, capsys):
    onnx = pytest.importorskip("onnx")
    monkeypatch.chdir(tmp_path)
    for network in (model(), of_ten_classes()):
        network.save("model.npz")
        for suffix in ("onnx", "qonnx", "npz"):
            assert run(program, ["export", "model.npz", f"there.{suffix}"]) == 0
        assert count_disagreements(network, "there.onnx", IMAGES) == 0
        assert "input: images of 8x8 pixels" in capsys.readouterr().out
        assert onnx.load("there.qonnx").graph.input[0].type.tensor_type.shape.dim[1].dim_value == 16
        with np.load("there.npz", allow_pickle=False) as file:
            assert np.array_equal(_margins_of(dict(file)), network.answers(IMAGES)["margin"])


def _margins_of(f):
    """Return the margins of images, by plain arrays alone."""
    n, pixels = f["cells"], f["side"] // f["cells"]
    values = IMAGES.reshape(-1, n, pixels, n, pixels).mean((2, 4)).reshape(-1, n * n)
    if "thresholds" in f:
        values = np.where(values > f["thresholds"], 1, -1)
    else:
        most = f["levels"] * f["cut"]
        steps = np.round((values - f["means"]) / f["deviations"] * f["levels"])
        values = np.clip(steps, -most, most)
    layer = 0
    while f"weights{layer}" in f:
        values = values @ f[f"weights{layer}"][0].T + f[f"biases{layer}"][0]
        if f"knots{layer}" in f:
            piece = np.searchsorted(f[f"knots{layer}"], values, side="right")
            values = f[f"intercepts{layer}"][piece] + f[f"slopes{layer}"][piece] * values
        layer += 1
    votes = f"knots{layer - 1}" in f
    return values.sum(axis=1) if votes else values


def test_plain_arrays_are_enough_to_predict(fitted, flowers, tmp_path):
    assert run(program, ["export", fitted, "plain.npz"]) == 0
    model = load_integers(fitted)
    X = model.table.encode(read_table(tmp_path / flowers))
    with np.load("plain.npz", allow_pickle=False) as file:
        f = dict(file)
    largest = f["levels"] * f["cut"]
    values = np.clip(np.round((X - f["means"]) / f["deviations"] * f["levels"]), -largest, largest)
    z = values @ f["weights0"][0].T + f["biases0"][0]
    piece = np.searchsorted(f["knots0"], z, side="right")
    values = f["intercepts0"][piece] + f["slopes0"][piece] * z
    margins = values @ f["weights1"][0].T + f["biases1"][0]
    labels = f["classes"][(margins[:, 0] > 0).astype(int)]
    assert (labels == model.predict(X)).all()


def test_the_model_and_other_suffixes_are_not_written(fitted, capsys):
    before = load_integers(fitted)
    assert run(program, ["export", fitted, fitted]) == 2
    assert "is the model" in capsys.readouterr().err
    assert run(program, ["export", fitted, "model.h5"]) == 2
    assert ".onnx or .qonnx or .npz" in capsys.readouterr().err
    assert (load_integers(fitted).classes == before.classes).all()


def test_qonnx_is_written_with_the_bits_of_its_numbers(fitted, tmp_path):
    onnx = pytest.importorskip("onnx")
    assert run(program, ["export", fitted, str(tmp_path / "there.qonnx")]) == 0
    kinds = {node.op_type for node in onnx.load(tmp_path / "there.qonnx").graph.node}
    assert {"BipolarQuant", "MatMul", "Quant"} <= kinds
