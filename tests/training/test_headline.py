"""The figures the product promises, over ZeroMQ on an emulated machine in its own process."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING

import pytest

from cim_hal import open_device, spawn_server
from qnn_train import Recipe, RunReport, load_digits, load_fashion_mnist, prepare, run_recipe

if TYPE_CHECKING:
    from pathlib import Path

    from qnn_train import Pair

SEEDS = range(5)


def reports(pair: Pair, *, coupling_bits: int | None = None, **recipe) -> list[RunReport]:
    with spawn_server("emulator-550") as server, open_device(server.endpoint) as session:
        return [
            run_recipe(
                prepare(Recipe(seed=seed, **recipe), pair),
                session,
                iterations=25,
                n_runs=64,
                coupling_bits=coupling_bits,
            ).report
            for seed in SEEDS
        ]


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(("score", "middle"), [("train", 0.98), ("subset", 0.93)])
def test_coat_or_sandal_reaches_the_paper_at_one_bit(shared_dir: Path, score, middle):
    """94.95 % at 1.1 bits is the paper's figure; its classes are not stated, these are ours."""
    pair = load_fashion_mnist(shared_dir / "data" / "fashion_mnist").pair(4, 5)
    runs = reports(pair, coupling_bits=8, score=score)
    assert all(report.n_test == 2000 for report in runs)
    assert all(report.bits_per_parameter <= 1.1 for report in runs)
    accuracies = [report.test_accuracy for report in runs]
    assert median(accuracies) >= middle, accuracies
    if score == "train":
        assert min(accuracies) >= 0.9495, accuracies


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_default_run_tells_digits_apart():
    runs = reports(load_digits().pair(3, 6))
    assert min(report.test_accuracy for report in runs) >= 0.95
