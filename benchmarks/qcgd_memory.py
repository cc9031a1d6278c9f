"""Memory of 10,000 iterations at 1,122 spins and 522 constraints, atoms kept.

Run as ``python benchmarks/qcgd_memory.py [ITERATIONS]``; the oracle guesses, since only memory is
measured.
"""

from __future__ import annotations

import resource
import sys
import time
from itertools import islice

from bench_qcgd import large

from qnn_train import LiftedProblem, conditional_gradient
from qnn_train.solve import Atoms, RandomOracle

ITERATIONS = 10_000


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    iterations = int(sys.argv[1]) if len(sys.argv) > 1 else ITERATIONS
    before = peak_mb()
    problem = LiftedProblem.lift(large().qcbo)
    assembled = peak_mb()
    atoms, started = Atoms(problem.size - 1), time.perf_counter()
    for iterate in islice(conditional_gradient(problem, RandomOracle(1, seed=0)), iterations):
        atoms.add(iterate.atom, 2 / (iterate.step + 1))
    seconds = time.perf_counter() - started
    print(f"{problem.size - 1} spins, {problem.n_constraints} constraints, {iterations} iterations")
    print(f"{seconds:.0f} s, the guessing oracle included")
    print(f"{before:.0f} MB peak after the imports, {assembled:.0f} MB after the assembly,")
    print(f"{peak_mb():.0f} MB at the end; the atoms themselves {atoms.nbytes / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
