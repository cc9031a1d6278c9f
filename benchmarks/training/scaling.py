"""What a step costs as images grow: processor time of one thread; every step sees all images.

NUMBA_NUM_THREADS=1 OMP_NUM_THREADS=1 python benchmarks/training/scaling.py
"""

from __future__ import annotations

import time
from dataclasses import replace

from tasks import TASKS, dataset
from threadpoolctl import threadpool_limits

from cim_hal import Capabilities, Driver, Program, Readout, Session, StopToken, open_device
from cim_hal.machine.registry import make_driver
from qnn_train.training import ProximalProblem, TrainingRun

COUNTS = (1_000, 3_000, 10_000, 30_000, 60_000)


class Timed(Driver):
    """A machine beside a clock."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self.seconds = 0.0

    def describe(self) -> Capabilities:  # noqa: D102  see Driver
        return self._driver.describe()

    def run(self, program: Program, stop: StopToken) -> Readout:  # noqa: D102
        began = time.process_time()
        readout = self._driver.run(program, stop)
        self.seconds += time.process_time() - began
        return readout


def main() -> None:
    """Print one row a number of images."""
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


def _trained(problem: ProximalProblem, session: Session) -> tuple[float, int]:
    run = TrainingRun(problem, session)
    began = time.process_time()
    steps = sum(1 for _ in run)
    return time.process_time() - began, steps


if __name__ == "__main__":
    main()
