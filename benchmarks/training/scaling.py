"""What a step costs as images grow, and what a second machine brings.

    python benchmarks/training/scaling.py images
    OMP_NUM_THREADS=1 python benchmarks/training/scaling.py machines

Images: every step sees all of them. Machines: emulators in processes of their own, one thread each,
with runs so long that the machine dominates. Both on an idle computer.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from tasks import TASKS, dataset
from threadpoolctl import threadpool_limits

from cim_hal import Capabilities, DevicePool, Driver, Program, Readout, StopToken, open_device
from cim_hal.machine.registry import make_driver
from qnn_train.training import ProximalProblem, TrainingRun, preset

if TYPE_CHECKING:
    from cim_hal import Session

COUNTS = (1_000, 3_000, 10_000, 30_000, 60_000)


class Timed(Driver):
    """A machine beside a clock."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self.seconds = 0.0

    def describe(self) -> Capabilities:  # noqa: D102  see Driver
        return self._driver.describe()

    def run(self, program: Program, stop: StopToken) -> Readout:  # noqa: D102
        began = time.perf_counter()
        readout = self._driver.run(program, stop)
        self.seconds += time.perf_counter() - began
        return readout


def main() -> None:
    """Print one row a number of images, or of machines."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["images", "machines"])
    _images() if parser.parse_args().what == "images" else _machines()


def _images() -> None:
    task = TASKS["ten-ternary"]
    classes = dataset().select(task.classes)
    print("| images | seconds a step outside the machine | in it |\n|---|---|---|")
    for count in (COUNTS[0], *COUNTS):  # the first once more: it compiles
        recipe = replace(task.proximal, train_samples=count, batch=(count, count), sweeps=1)
        machine = Timed(make_driver(task.device))
        with threadpool_limits(1), open_device(machine) as session:
            took_s, steps = _trained(ProximalProblem.of(recipe, classes), session)
        outside = (took_s - machine.seconds) / steps
        print(f"| {count:,} | {outside:.4f} | {machine.seconds / steps:.4f} |", flush=True)


def _machines() -> None:
    device, classes = "emulator-dsb", dataset().select((0, 1))
    print("| machines | round trips | seconds a step |\n|---|---|---|")
    for trips in (2_000, 20_000):
        recipe = replace(preset("pairs-4x4"), round_trips=trips, n_runs=128)
        for machines in (1, 2):
            with threadpool_limits(1), DevicePool.local(device, machines=machines) as pool:
                _trained(ProximalProblem.of(replace(recipe, sweeps=1), classes), pool)  # compiles
                took_s, steps = _trained(ProximalProblem.of(recipe, classes), pool)
            print(f"| {machines} | {trips:,} | {took_s / steps:.3f} |", flush=True)


def _trained(problem: ProximalProblem, session: Session | DevicePool) -> tuple[float, int]:
    run = TrainingRun(problem, session)
    began = time.perf_counter()
    steps = sum(1 for _ in run)
    return time.perf_counter() - began, steps


if __name__ == "__main__":
    main()
