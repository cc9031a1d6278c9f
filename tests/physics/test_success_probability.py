"""How often cubic graphs are cut at their maximum, against the equations written out: T11."""

from __future__ import annotations

import json
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import pytest
from scipy.stats import chi2

from emulator import TruncatedWigner
from emulator.dynamics.base import JobInputs
from emulator.noise import NoiseKey
from emulator.products.coupling import CouplingMatrix

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.slow

XI, A, TIME = 0.1, 10.0, 100.0
OURS = 800  # runs a graph


def weights_of(graph: dict) -> np.ndarray:
    W = np.zeros((graph["n"], graph["n"]))
    W[tuple(np.transpose(graph["edges"]))] = 1
    return W + W.T


def share_of_optimal_cuts(graph: dict, c: np.ndarray) -> float:
    W, spins = weights_of(graph), np.where(c < 0, -1, 1)
    cuts = (W.sum() - (spins * (W @ spins)).sum(axis=0)) / 4
    return float(np.mean(cuts == graph["max_cut"]))


@cache
def cubic_graphs(shared_dir: Path, n: int) -> list[dict]:
    """All connected cubic graphs of 10 spins, or 20 random ones of 16."""
    graphs = json.loads((shared_dir / "instances/small/cubic_and_moebius.json").read_text())
    return [graph for name, graph in sorted(graphs.items()) if name.startswith(f"cubic{n}_")]


def success_rate(graph: dict) -> float:
    """Share of runs of the c-number model that end in a maximum cut."""
    dt = 0.05
    machine = TruncatedWigner(
        saturation=A,
        ordering_corrections=False,
        coupling_gain=XI * np.sqrt(3),  # rows of norm sqrt(3)
        time_step=dt,
    )
    J = CouplingMatrix.of(
        -weights_of(graph), np.zeros(graph["n"]), largest_code=None, dtype=np.float32
    )
    block = machine.start(JobInputs(J, NoiseKey.from_seed(1)), first_run=0, n_runs=OURS)
    for pump in np.linspace(0, 2, round(TIME / dt)):
        block.advance(pump)
    return share_of_optimal_cuts(graph, block.amplitudes())


@cache
def success_rates(shared_dir: Path, n: int) -> np.ndarray:
    return np.array([success_rate(graph) for graph in cubic_graphs(shared_dir, n)])


def euler_maruyama(graphs: list[dict], *, runs: int) -> list[np.ndarray]:
    """Final c of the c-number equation, written out, for many graphs at once from c = s = 0.

    Its noise has the covariance of splitters, (1 + xi W) / 2, by a root of eigenvectors.
    """
    W = np.stack([weights_of(graph) for graph in graphs]).astype(np.float32)
    values, vectors = np.linalg.eigh(0.5 * (np.eye(W.shape[1], dtype=np.float32) + XI * W))
    root = vectors * np.sqrt(values)[:, None, :]
    c, s = np.zeros((2, *W.shape[:2], runs), np.float32)
    rng = np.random.Generator(np.random.SFC64(3))
    dt, xi, width = np.float32(0.02), np.float32(XI), np.float32(np.sqrt(0.02) / A)
    for p in np.linspace(0, 2, round(TIME / 0.02), dtype=np.float32):
        square = c * c + s * s
        bright = np.sqrt(square)
        own_c, own_s, vacuum_c, vacuum_s = rng.standard_normal((4, *c.shape), np.float32)
        c, s = (
            c
            + ((p - 1 - square) * c - xi * (W @ c)) * dt
            + width * (bright * own_c + root @ vacuum_c),
            s
            + ((-p - 1 - square) * s - xi * (W @ s)) * dt
            + width * (bright * own_s + root @ vacuum_s),
        )
    return list(c)


@pytest.mark.parametrize("n", [10, 16])
def test_every_cubic_graph_has_the_rate_of_explicit_euler_maruyama(shared_dir, n):
    graphs, runs = cubic_graphs(shared_dir, n), 200
    finals = euler_maruyama(graphs, runs=runs)
    theirs = np.array([share_of_optimal_cuts(*pair) for pair in zip(graphs, finals, strict=True)])
    ours = success_rates(shared_dir, n)
    pooled = (theirs * runs + ours * OURS) / (runs + OURS)
    variance = pooled * (1 - pooled) * (1 / runs + 1 / OURS)
    assert chi2.sf(np.sum((ours - theirs) ** 2 / variance), len(graphs)) > 1e-3
    mean_error = np.sqrt(variance.sum()) / len(graphs)
    assert ours.mean() == pytest.approx(theirs.mean(), abs=4 * mean_error)
