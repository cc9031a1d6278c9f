"""MAX-CUT at strong gains, with and without slowed modes: what a filter of the loop costs.

    python benchmarks/strong_gain.py docs/explanation/_strong_gain_table.txt

Share of 64 runs at the best known cut, mean of twelve models of 60 spins, 95 % interval over
models.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from families import search

from cim_hal import IsingModel, open_device

GAINS = (0.4, 0.8, 1.6, 3.2)
KINDS = ("sparse graph", "graph", "weighted graph", "complete graph", "glass")
MODELS, RUNS, SPINS = 12, 64, 60


def model(kind: str, k: int) -> IsingModel:
    """Draw a model; weights are 1, or 1 to 10, or of either sign."""
    rng = np.random.default_rng([5, k, KINDS.index(kind)])
    share = {"sparse graph": 0.1, "graph": 0.5, "weighted graph": 0.5}.get(kind, 1.0)
    weights = np.triu(rng.random((SPINS, SPINS)) < share, 1).astype(float)
    if kind in ("weighted graph", "complete graph"):
        weights *= rng.integers(1, 11, weights.shape)
    if kind == "glass":
        weights *= rng.choice([-1.0, 1.0], weights.shape)
    return IsingModel.from_maxcut(weights + weights.T)


def best_known(given: IsingModel) -> float:
    """Return the lowest energy that 64 tabu searches find."""
    spins = np.empty((64, SPINS))
    search(np.ascontiguousarray(given.J, dtype=float), given.h, 1, 5_000, spins)
    return float(given.energy(spins.astype(np.int8)).min())


def success(target: str, models: dict[IsingModel, float], **settings: float) -> str:
    """Return the mean share of runs at the lowest energy, with its interval."""
    shares = []
    with open_device(target) as session:
        for given, lowest in models.items():
            found = session.sample(given, n_runs=RUNS, seed=1, settings=settings).energies
            shares.append(np.mean(found <= lowest + 1e-9))
    width = 1.96 * np.std(shares, ddof=1) / np.sqrt(len(shares))
    return f"{np.mean(shares):.2f} ± {width:.2f}"


def main() -> None:
    """Write the table."""
    parser = argparse.ArgumentParser(description="MAX-CUT at strong gains.")
    parser.add_argument("file", type=Path)
    parser.add_argument("--target", default="emulator-ideal")
    options = parser.parse_args()
    lines = ["| | " + " | ".join(f"gain {gain}" for gain in GAINS) + " |"]
    lines.append("|---" * (len(GAINS) + 1) + "|")
    for kind in KINDS:
        models = {given: best_known(given) for given in (model(kind, k) for k in range(MODELS))}
        for title, share in (("slowed", 0.5), ("not", 100.0)):
            cells = [
                success(options.target, models, coupling_gain=gain, stability=share)
                for gain in GAINS
            ]
            lines.append(f"| {kind}, {title} | {' | '.join(cells)} |")
            print(lines[-1], flush=True)
    options.file.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
