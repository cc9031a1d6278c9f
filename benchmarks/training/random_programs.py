"""Programs of thousands of random networks, held against an independent forward pass.

What is checked of each is in `tests/support/random_networks.py`, which shares no code with the
library: its own codes, activations, margins and losses, and a search for feasible vectors.

    python benchmarks/training/random_programs.py --networks 3000 --seed 0
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2] / "tests" / "support"))
from random_networks import REDUCTIONS, check_case, random_case


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--networks", type=int, default=3000)
    parser.add_argument("--words", type=int, default=16, help="settings of the bits of a network")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    began, failures = time.process_time(), []
    kinds: Counter[str] = Counter()
    done = {reduction: Counter[str]() for reduction in REDUCTIONS}
    for number in range(options.networks):
        case = random_case(np.random.default_rng([options.seed, number]))
        kinds.update(case.kinds)
        for reduction in REDUCTIONS:
            try:
                rng = np.random.default_rng([options.seed, number, 1])
                done[reduction] += check_case(case, reduction, rng, words=options.words)
            except AssertionError as error:
                failures.append(number)
                print(f"network {number}, {reduction}: {' '.join(str(error).split())[:200]}")
    tell(done, kinds)
    seconds = time.process_time() - began
    print(f"\n{len(failures)} failures, {seconds:.0f} s of processor time")
    return 1 if failures else 0


def tell(done: dict[str, Counter[str]], kinds: Counter[str]) -> None:
    columns = list(done.values())
    print(f"| | {' | '.join(done)} |\n|---|---|---|")
    for name in sorted({name for column in columns for name in column}):
        print(f"| {name} | {' | '.join(f'{column[name]:,}' for column in columns)} |")
    print("\n| kind | networks |\n|---|---|")
    for name, count in sorted(kinds.items()):
        print(f"| {name} | {count} |")


if __name__ == "__main__":
    sys.exit(main())
