"""The benchmark of how hard the problems of trainings are, on its smallest kinds."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from qnn_train.solve.losses import BatchLoss, CrossEntropy

FOLDER = Path(__file__).parents[2] / "benchmarks" / "training"


@pytest.fixture
def scripts(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))


@pytest.mark.slow
def test_every_method_is_measured_on_a_whole_network_and_its_tables_are_written(tmp_path):
    script = [sys.executable, FOLDER / "hardness.py", "--rows", tmp_path / "rows.jsonl"]
    chosen = ["--kinds", "xor", "--problems", "1", "--machines", "emulator-550"]
    for command in (["measure", *chosen, "--seconds", "0.01"], ["tables", tmp_path]):
        ended = subprocess.run([*script, *command], capture_output=True, text=True, check=False)
        assert ended.returncode == 0, ended.stderr
    rows = [json.loads(line) for line in (tmp_path / "rows.jsonl").read_text().splitlines()]
    assert len({row["method"] for row in rows}) == 6
    for row in rows:
        mean, best_of_16, *_ = row["gaps"]
        assert 0 <= best_of_16 <= mean
        assert (row["machine_s"] > 0) == row["method"].startswith("emulator")
    polished, raw = (
        next(row for row in rows if row["method"] == f"emulator-550{end}")
        for end in (", polished", "")
    )
    assert polished["gaps"][0] <= raw["gaps"][0]
    assert "| xor |" in (tmp_path / "_hardness_gap_16_runs.txt").read_text()


def test_no_network_has_less_than_the_least_loss_of_a_minimal_program(scripts):
    from subproblems import minimal_program

    task, least = minimal_program("xor", 8, 3)
    bits = np.random.default_rng(0).integers(0, 2, (3000, task.architecture.n_bits), np.int8)
    assembly = task.assembly
    losses = assembly.qcbo.objective(assembly.complete(bits))
    assert losses.min() >= least
    penalized, constant = assembly.qcbo.penalized(least + 1.0)
    x = assembly.complete(bits[int(losses.argmin())])
    assert x @ penalized @ x + constant == pytest.approx(losses.min())


def test_the_model_of_shared_weights_foretells_what_a_flip_does(scripts):
    from convolution import Convolution

    rng = np.random.default_rng(1)
    images = rng.normal(size=(300, 28, 28)).astype(np.float32)
    network, loss = Convolution(images, 2), CrossEntropy()
    bits = rng.integers(0, 2, network.n_bits, np.int8)
    targets = loss.targets_of(np.where(images.mean(axis=(1, 2)) > 0, 1, -1), 1)
    margins = network.margins(bits)
    on_all = BatchLoss(loss, targets, 0.3 * loss.rescaled(margins, targets, 0.0))
    model, moved = network.model(bits, on_all), 1 - 2 * bits.astype(float)
    foretold = moved * model.gradient + 0.5 * model.curvature.diagonal()
    flipped = [bits ^ row for row in np.eye(len(bits), dtype=np.int8)]
    found = [on_all.mean(network.margins(each)) - on_all.mean(margins) for each in flipped]
    assert np.corrcoef(foretold, found)[0, 1] > 0.98
    last = slice(network.kernel_bits, None)  # margins are linear in these
    assert foretold[last] == pytest.approx(np.array(found)[last], abs=2e-4)
