"""Crashes the process of a driver again and again; files, threads and memory stay as they were.

Usage: python benchmarks/soak_driver.py [--restarts 1000]. By turns the process is killed between
two runs, and exits in the midst of one. Status 1 where files or threads grew from a tenth of the
way to the end, or memory by more than 1 MiB.
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))

from cim_hal import IsingModel, Program, PumpSchedule, StopToken, lower
from cim_hal.errors import DriverFaultError
from cim_hal.server.driver.process import DriverProcess
from cim_hal.server.driver.supervisor import Backoff, DriverOptions

PAIR = IsingModel.from_couplings([[0, 1], [1, 0]])
IS_FINE, EXITS = 0, 2  # seeds


def state() -> dict[str, float]:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return {
        "files": len(list(Path("/proc/self/fd").iterdir())),
        "threads": threading.active_count(),
        "memory_mib": round(pages * os.sysconf("SC_PAGE_SIZE") / 2**20, 2),
    }


def crash_and_recover(driver: DriverProcess, programs: dict[int, Program], *, in_run: bool) -> int:
    """Return how many faults were reported."""
    n_faults = 0
    if in_run:
        try:
            driver.run(programs[EXITS], StopToken())
        except DriverFaultError as error:
            n_faults = int(error.details["exit_status"] == 3)
    else:
        os.kill(driver.pid or 0, signal.SIGKILL)
    driver.run(programs[IS_FINE], StopToken())
    return n_faults


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--restarts", type=int, default=1000)
    restarts = parser.parse_args().restarts
    logging.disable(logging.WARNING)
    options = DriverOptions(backoff=Backoff(0.0, 0.0))
    driver = DriverProcess("perilous_machines:Perilous", options=options)
    lowering = lower(PAIR, driver.describe())
    schedule = PumpSchedule.linear(0.0, 2.0, round_trips=20)
    programs = {seed: Program(lowering, schedule, 2, seed) for seed in (IS_FINE, EXITS)}
    n_faults, early, started = 0, state(), time.monotonic()
    for number in range(restarts):
        n_faults += crash_and_recover(driver, programs, in_run=number % 2 == 0)
        if number == restarts // 10:
            early = state()
        if number % max(restarts // 10, 1) == 0:
            print(f"{number:5d}  {time.monotonic() - started:7.1f} s  {state()}", flush=True)
    late = state()
    driver.close()
    print(f"{restarts} crashes, {n_faults} faults reported; {early} became {late}")
    grew = late["files"] > early["files"] or late["threads"] > early["threads"]
    return int(grew or late["memory_mib"] - early["memory_mib"] > 1.0)


if __name__ == "__main__":
    sys.exit(main())
