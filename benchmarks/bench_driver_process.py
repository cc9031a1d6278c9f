"""What it costs that a driver lives in a process of its own.

Jobs of 64 runs and 2000 spins on the emulator, through `Session.sample`: how long one takes beside
what its driver spends in `run` (which the emulator tells), with the driver here and in a process of
its own, by turns. That does not depend on the length of the runs; a job of 1000 round trips is
timed to compare. Usage: python benchmarks/bench_driver_process.py [--pairs 20]
"""

from __future__ import annotations

import argparse
import time
from typing import TYPE_CHECKING

import numpy as np

from cim_hal import IsingModel, PumpSchedule, make_driver, open_device
from cim_hal.server.driver.process import DriverProcess

if TYPE_CHECKING:
    from cim_hal import Driver, Session

TARGET, N_SPINS, N_RUNS = "emulator-2000", 2000, 64
SHORT, LONG = 50, 1000  # round trips


def spent(session: Session, driver: Driver, model: IsingModel, round_trips: int) -> np.ndarray:
    """Return the seconds of a job, and those of its driver."""
    schedule = PumpSchedule.linear(0.5, 1.5, round_trips=round_trips)
    before, started = _busy_s(driver), time.perf_counter()
    session.sample(model, schedule, n_runs=N_RUNS, seed=1)
    return np.array([time.perf_counter() - started, _busy_s(driver) - before])


def _busy_s(driver: Driver) -> float:
    return float(driver.status()["busy"].value)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=20)
    pairs = parser.parse_args().pairs
    rng = np.random.default_rng(0)
    upper = np.triu(rng.choice([-1.0, 1.0], (N_SPINS, N_SPINS)), 1)
    model = IsingModel.from_couplings(upper + upper.T)
    drivers = [make_driver(TARGET), DriverProcess(TARGET)]
    with open_device(drivers[0], timeout_s=60) as ours, open_device(drivers[1]) as theirs:
        both = list(zip((ours, theirs), drivers, strict=True))
        first = [spent(*one, model, SHORT)[0] for one in both]  # uploads, and compiles
        times = np.array([[spent(*one, model, SHORT) for one in both] for _ in range(pairs)])
        long = spent(*both[1], model, LONG)[0]
    beside = 1e3 * np.quantile(times[..., 0] - times[..., 1], [0.25, 0.5, 0.75], axis=0)
    print(f"first job {first[0]:.2f} s here, {first[1]:.2f} s in a process")
    print("beside the driver, quartiles in ms:")
    for name, quartiles in zip(("here", "in a process"), beside.T, strict=True):
        print(f"  {name}: {np.array2string(quartiles, precision=1)}")
    cost = 1e-3 * (beside[1, 1] - beside[1, 0])
    print(f"a job of {LONG} round trips: {long:.2f} s; the process costs {cost / long:.2%} of it")


if __name__ == "__main__":
    main()
