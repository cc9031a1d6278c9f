"""Print a digest of the samples of 50 (machine, model, seed) triples, for two commits to compare.

Run it in a checkout of each commit and compare what it prints:

    git worktree add --detach /tmp/before 021f671
    cd /tmp/before && PYTHONPATH=. python PATH/TO/same_samples.py > /tmp/before.txt

A digest is of spins, amplitudes and energies. Machines are all those of `pyproject.toml`; on
another processor digests differ.
"""

from __future__ import annotations

import hashlib
import itertools
import tomllib
from importlib import import_module
from pathlib import Path

import numpy as np
import scipy.sparse as sp

from cim_hal import IsingModel, open_device

TRIPLES = 50


def _symmetric(entries: np.ndarray) -> np.ndarray:
    upper = np.triu(entries, 1)
    return upper + upper.T


def models() -> dict[str, IsingModel]:
    """Return integers; real numbers with a field, of an odd number of spins; sparse couplings."""
    rng = np.random.default_rng(20261130)
    signs = _symmetric(rng.choice([-1.0, 1.0], (30, 30)))
    real = _symmetric(rng.normal(size=(41, 41)))
    sparse = _symmetric(rng.choice([-1.0, 0.0, 1.0], (64, 64), p=[0.05, 0.9, 0.05]))
    return {
        "signs-30": IsingModel.from_couplings(signs),
        "field-41": IsingModel.from_couplings(real, rng.normal(size=41)),
        "sparse-64": IsingModel.from_couplings(sp.csr_array(sparse)),
    }


def main() -> None:
    """Print a line for each triple."""
    project = tomllib.loads(Path("pyproject.toml").read_text())
    machines = project["project"]["entry-points"]["cim_hal.drivers"]
    pairs = itertools.product(machines.items(), enumerate(models().items(), 1))
    for (name, factory), (seed, (label, model)) in itertools.islice(pairs, TRIPLES):
        module, function = factory.split(":")
        with open_device(getattr(import_module(module), function)()) as device:
            samples = device.sample(model, n_runs=16, seed=seed)
        content = [samples.spins, samples.amplitudes, samples.energies]
        digest = hashlib.sha256(b"".join(np.ascontiguousarray(a).tobytes() for a in content))
        print(name, label, seed, digest.hexdigest()[:32], flush=True)


if __name__ == "__main__":
    main()
