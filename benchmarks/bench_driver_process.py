"""What it costs that a driver lives in a process of its own.

Two figures: a job of 64 runs, 2000 spins and 1000 round trips on the emulator, through
`Session.sample`, in this process and in one of its own, taken in turns; and the border alone, with
a driver that answers at once. Usage: python benchmarks/bench_driver_process.py [--pairs 5]
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import numpy as np

from cim_hal import IsingModel, PumpSchedule, Session, make_driver, open_device
from cim_hal.server.driver_process import DriverProcess

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))

N_SPINS, N_RUNS, ROUND_TRIPS = 2000, 64, 1000
EMULATOR, AT_ONCE = "emulator-2000", "cim_machines:Random"


def seconds(session: Session, model: IsingModel, round_trips: int) -> float:
    schedule = PumpSchedule.linear(0.5, 1.5, round_trips=round_trips)
    started = time.perf_counter()
    session.sample(model, schedule, n_runs=N_RUNS, seed=1)
    return time.perf_counter() - started


def compare(target: str, model: IsingModel, *, round_trips: int, pairs: int) -> None:
    with open_device(make_driver(target)) as ours, open_device(DriverProcess(target)) as theirs:
        for session in (ours, theirs):
            started = time.perf_counter()
            seconds(session, model, round_trips)  # uploads, and compiles
            print(f"  first job: {1e3 * (time.perf_counter() - started):.0f} ms")
        times = np.array(
            [
                [seconds(session, model, round_trips) for session in (ours, theirs)]
                for _ in range(pairs)
            ]
        )
    here, there = np.median(times, axis=0)
    ratio = np.median(times[:, 1] / times[:, 0])
    print(
        f"{target}: {1e3 * here:.1f} ms here, {1e3 * there:.1f} ms in a process, ratio {ratio:.4f}"
    )
    print(f"  of all pairs: {np.array2string(times[:, 1] / times[:, 0], precision=3)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--only", choices=[EMULATOR, AT_ONCE])
    arguments = parser.parse_args()
    rng = np.random.default_rng(0)
    upper = np.triu(rng.choice([-1.0, 1.0], (N_SPINS, N_SPINS)), 1)
    model = IsingModel.from_couplings(upper + upper.T)
    if arguments.only != EMULATOR:
        compare(AT_ONCE, model, round_trips=ROUND_TRIPS, pairs=20 * arguments.pairs)
    if arguments.only != AT_ONCE:
        compare(EMULATOR, model, round_trips=ROUND_TRIPS, pairs=arguments.pairs)


if __name__ == "__main__":
    main()
