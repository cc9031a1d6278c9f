"""What it costs that a driver lives in a process of its own.

Two figures: a job of 64 runs, 2000 spins and 1000 round trips on the emulator, through
`Session.sample`, in this process and in one of its own, taken in turns, and what of it was outside
of the `run` of the driver; and the border alone, with a driver that answers at once.

Usage: python benchmarks/bench_driver_process.py [--pairs 5]
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
    driver = DriverProcess(target)
    with open_device(make_driver(target)) as ours, open_device(driver) as theirs:
        for session in (ours, theirs):
            first = seconds(session, model, round_trips)  # uploads, and compiles
            print(f"  first job: {1e3 * first:.0f} ms", flush=True)
        times, borders = [], []
        for _ in range(pairs):
            busy_s = _busy_s(driver)
            times.append([seconds(session, model, round_trips) for session in (ours, theirs)])
            if busy_s is not None:
                borders.append(times[-1][1] - ((_busy_s(driver) or 0.0) - busy_s))
    here, there = np.median(times, axis=0)
    ratios = np.divide(*np.transpose(times)[::-1])
    print(f"{target}: {1e3 * here:.1f} ms here, {1e3 * there:.1f} ms in a process")
    print(f"  ratios {np.array2string(np.quantile(ratios, [0.25, 0.5, 0.75]), precision=3)}")
    if borders:
        border = np.median(borders)
        print(
            f"  outside of the driver's run: {1e3 * border:.1f} ms, {border / there:.2%} of the job"
        )


def _busy_s(driver: DriverProcess) -> float | None:
    """Return the seconds that the driver itself was in `run`, where it says so."""
    names = {reading.name: reading.value for reading in driver.status().readings}
    return float(names["busy"]) if "busy" in names else None


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
