"""Progressive hedging on a toy: how often copies agree, and what the best one seen is worth.

Run as ``python benchmarks/qph_toy.py``: a table in Markdown (half a minute). Five parts are random
quadratic functions of the same eight bits, normal coefficients, 20 seeds, an exact oracle, 60
steps. The optimum of the sum is known by trying all. Intervals of shares are Wilson's, 95 %.
"""

from __future__ import annotations

from itertools import islice

import numpy as np
from scipy.stats import binomtest

from qnn_train import ExhaustiveOracle, Qcbo
from qnn_train.program import Parts
from qnn_train.solve import RhoSchedule, progressive_hedging
from qnn_train.solve.exact import exhaustive

SEEDS, STEPS, BITS, PARTS = 20, 60, 8, 5
SCHEDULES = {
    "ρ = 0.1": RhoSchedule(first=0.1, last=0.1, escape=1.0),
    "ρ = 0.3": RhoSchedule(first=0.3, last=0.3, escape=1.0),
    "ρ = 1": RhoSchedule(first=1.0, last=1.0, escape=1.0),
    "ρ = 3": RhoSchedule(first=3.0, last=3.0, escape=1.0),
    "ρ from 0.1 to 10 in 40 steps": RhoSchedule(first=0.1, last=10.0, steps=40, escape=1.0),
    "the same, doubled out of circles": RhoSchedule(first=0.1, last=10.0, steps=40),
}


def toy(seed: int) -> Parts:
    rng = np.random.default_rng([seed, 8])
    programs = [
        Qcbo.from_arrays(rng.normal(size=(BITS, BITS)), rng.normal(size=BITS)) for _ in range(PARTS)
    ]
    return Parts(BITS, tuple(programs))


def outcome(seed: int, schedule: RhoSchedule) -> tuple[bool, bool, bool, bool]:
    """Tell whether copies agree, agree on the optimum, the rounded mean is it, and it was seen."""
    parts = toy(seed)
    whole = parts.joined()
    best = exhaustive(whole).objective + 1e-9
    steps = progressive_hedging(parts, ExhaustiveOracle(), rho=schedule)
    iterates = list(islice(steps, STEPS))
    last = iterates[-1]
    seen = np.concatenate([iterate.bits for iterate in iterates])
    rounded = bool(whole.objective(last.bits[0]) <= best)
    agrees = last.state.agrees
    return agrees, agrees and rounded, rounded, bool(whole.objective(seen).min() <= best)


def share(flags: list[bool]) -> str:
    test = binomtest(sum(flags), len(flags)).proportion_ci(method="wilson")
    return f"{100 * np.mean(flags):.0f} ({100 * test.low:.0f}-{100 * test.high:.0f})"


def main() -> None:
    print("| ρ | copies agree (%) | on the optimum | rounded mean optimal | best seen optimal |")
    print("|---|---|---|---|---|")
    for name, schedule in SCHEDULES.items():
        flags = zip(*(outcome(seed, schedule) for seed in range(SEEDS)), strict=True)
        print(f"| {name} | " + " | ".join(share(list(column)) for column in flags) + " |")


if __name__ == "__main__":
    main()
