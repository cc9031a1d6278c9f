"""How long the first job takes in a fresh process: kernels to be compiled, and compiled before.

    python benchmarks/first_call.py
    python benchmarks/first_call.py --targets emulator emulator-dsb --form sparse

For each target three processes, one after the other: with an empty folder of kernels, and twice
with what the first left there. A row tells the seconds of that first process and the faster of the
others, of the whole process and, in brackets, from opening the machine to the samples.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time

TARGETS = ("", "-gaussian", "-mean-field", "-cac", "-cfc", "-sfc", "-ahc", "-bsb", "-dsb")
TARGETS += ("-simcim", "-nmfa")
JOB = """
import time
start = time.perf_counter()
import numpy as np
import scipy.sparse as sp
from cim_hal import IsingModel, open_device
upper = np.triu(np.random.default_rng(1).choice([-1.0, 1.0], (100, 100)), 1)
if {sparse}:
    upper = sp.csr_array(upper * (np.random.default_rng(2).random((100, 100)) < 0.05))
model = IsingModel.from_couplings(upper + upper.T)
opened = time.perf_counter()
with open_device("{target}") as session:
    session.sample(model, n_runs=64, seed=1)
print(time.perf_counter() - opened)
"""


def first_job(target: str, *, sparse: bool, kernels: str) -> tuple[float, float]:
    """Return the seconds of a process, and those from opening the machine to the samples."""
    command = [sys.executable, "-c", JOB.format(target=target, sparse=sparse)]
    environment = os.environ | {"NUMBA_CACHE_DIR": kernels}
    start = time.perf_counter()
    answer = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    return time.perf_counter() - start, float(answer.stdout)


def main() -> None:
    """Print a row for each target."""
    parser = argparse.ArgumentParser(description="How long the first job takes.")
    targets = [f"emulator{name}" for name in TARGETS]
    parser.add_argument("--targets", nargs="+", default=targets)
    parser.add_argument("--form", choices=("dense", "sparse"), default="dense")
    options = parser.parse_args()
    print("| machine | compiling, s | compiled before, s |\n|---|---|---|")
    for target in options.targets:
        with tempfile.TemporaryDirectory() as kernels:
            cold, *warm = (
                first_job(target, sparse=options.form == "sparse", kernels=kernels)
                for _ in range(3)
            )
        cells = (f"{whole:.1f} ({job:.1f})" for whole, job in (cold, min(warm)))
        print(f"| `{target}` | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
