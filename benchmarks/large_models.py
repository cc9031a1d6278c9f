"""Memory and time of a dense model of small integers, from the caller's array to the samples.

    python benchmarks/large_models.py 20000
    python benchmarks/large_models.py 100000 --top 1 --round-trips 3

Couplings are integers from -top to top. Memory is the largest resident set
of the process, and what it was after each step; the array of the caller is one byte a coupling.
"""

from __future__ import annotations

import argparse
import resource
import time
from pathlib import Path

import numpy as np

from cim_hal import IsingModel, PumpSchedule, open_device

GIB = 2**30
BLOCK = 1000


def couplings(n: int, top: int) -> np.ndarray:
    """Return a symmetric int8 array with a zero diagonal: random blocks, used again and again."""
    J = np.empty((n, n), np.int8)
    rng = np.random.default_rng(n)
    blocks = rng.integers(-top, top + 1, (7, BLOCK, BLOCK), np.int8)
    for first in range(0, n, BLOCK):
        for left in range(first, n, BLOCK):
            some = blocks[rng.integers(len(blocks))][: n - first, : n - left]
            if left == first:
                some = np.triu(some, 1)
                some = some + some.T
            J[first : first + BLOCK, left : left + BLOCK] = some
            J[left : left + BLOCK, first : first + BLOCK] = some.T
    return J


def resident() -> float:
    """Return the resident memory now, in GiB."""
    pages = Path("/proc/self/statm").read_text().split()[1]
    return int(pages) * resource.getpagesize() / GIB


def main() -> None:
    """Build a model, sample it, and tell time and memory after each step."""
    parser = argparse.ArgumentParser(description="Memory of a dense model of small integers.")
    parser.add_argument("spins", type=int)
    parser.add_argument("--top", type=int, default=1)
    parser.add_argument("--target", default="emulator-100k")
    parser.add_argument("--runs", type=int, default=16)
    parser.add_argument("--round-trips", type=int, default=3)
    options = parser.parse_args()
    started = time.perf_counter()

    def tell(what: str) -> None:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / GIB
        seconds = time.perf_counter() - started
        per_coupling = resident() * GIB / options.spins**2
        print(
            f"{seconds:7.1f} s  {resident():6.2f} GiB now, {per_coupling:.2f} bytes a coupling, "
            f"{peak:6.2f} GiB at most: {what}",
            flush=True,
        )

    tell("imported")
    J = couplings(options.spins, options.top)
    tell("the caller's array")
    model = IsingModel(J, np.zeros(options.spins))
    tell("model")
    schedule = PumpSchedule((0.0, 1.1), options.round_trips)
    with open_device(options.target) as session:
        loaded = session.load(model, timeout_s=3600)
        tell(f"on the server, {loaded.report.levels_used} levels")
        job = session.submit(model, schedule, n_runs=options.runs, seed=1)
        samples = job.result(timeout_s=3600)
        tell(f"{options.runs} runs of {options.round_trips} round trips, and their energies")
    print(samples.record.device_s, samples.record.notes, samples.best_energy, samples.diversity)


if __name__ == "__main__":
    main()
