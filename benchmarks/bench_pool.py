"""How close a pool keeps its machines to busy, and what an event loop brings.

Run with ``python benchmarks/bench_pool.py``. The machines are servers in processes of their own
that hold each job for 10 ms of wall time and answer with 20 kB of amplitudes.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import time
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from cim_hal import (
    Capabilities,
    DevicePool,
    Driver,
    IsingModel,
    Program,
    Readout,
    StopToken,
    emulated,
    open_device,
    open_device_async,
    spawn_server,
)

JOB_S = 0.010
N_SPINS, N_RUNS = 100, 50  # 20 kB of float32
PAIR = IsingModel.from_couplings(np.ones((N_SPINS, N_SPINS)) - np.eye(N_SPINS))


@emulated
class Holding(Driver):
    """Holds a job for a time, and returns noise."""

    hold_s = JOB_S

    def describe(self) -> Capabilities:  # noqa: D102  see Driver
        return Capabilities(
            name="holding",
            max_spins=N_SPINS,
            coupling_bits=8,
            reports_amplitudes=True,
            reproducible=True,
        )

    def run(self, program: Program, stop: StopToken) -> Readout:  # noqa: ARG002, D102
        time.sleep(self.hold_s)
        shape = (program.n_runs, program.n_spins)
        rng = np.random.default_rng(program.seed)
        return Readout(rng.standard_normal(shape, dtype=np.float32))


class Instant(Holding):
    """Answers at once: what is left is the protocol."""

    hold_s = 0.0


def measure_pool(machines: int, jobs_per_machine: int, n_jobs: int) -> float:
    """Seconds for `n_jobs`, all submitted at once."""
    target = "bench_pool:Holding"
    with DevicePool.local(target, machines=machines, jobs_per_machine=jobs_per_machine) as pool:
        list(pool.map([PAIR] * 2 * machines, n_runs=N_RUNS))  # all hold the couplings
        began = time.perf_counter()
        for job in [pool.submit(PAIR, n_runs=N_RUNS, seed=k) for k in range(n_jobs)]:
            job.result()
        return time.perf_counter() - began


def measure_sessions(n_jobs: int) -> dict[str, float]:
    """Seconds for `n_jobs` that cost the machine nothing, by client."""
    seconds = {}
    with ExitStack() as stack:
        server = stack.enter_context(spawn_server("bench_pool:Instant"))
        session = stack.enter_context(open_device(server.endpoint))
        session.sample(PAIR)
        began = time.perf_counter()
        for k in range(n_jobs):
            session.sample(PAIR, n_runs=N_RUNS, seed=k)
        seconds["sync, one after another"] = time.perf_counter() - began
        for width in (1, 8, 32):
            took_s = asyncio.run(_in_a_loop(server.endpoint, n_jobs, width))
            seconds[f"asyncio, {width} at a time"] = took_s
    return seconds


async def _in_a_loop(endpoint: str, n_jobs: int, width: int) -> float:
    seeds = iter(range(n_jobs))
    async with open_device_async(endpoint) as device:
        await device.sample(PAIR)

        async def work() -> None:
            for seed in seeds:
                await device.sample(PAIR, n_runs=N_RUNS, seed=seed)

        began = time.perf_counter()
        await asyncio.gather(*(work() for _ in range(width)))
        return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=200)
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    os.environ["PYTHONPATH"] = str(Path(__file__).parent)  # servers find the machines above
    machines, n_jobs = 4, arguments.jobs
    ideal_s = n_jobs * JOB_S / machines
    print(f"{n_jobs} jobs of {1000 * JOB_S:g} ms on {machines} machines, ideal {ideal_s:.2f} s")
    for width in (1, 2):
        runs = [measure_pool(machines, width, n_jobs) for _ in range(arguments.repeats)]
        best, worst = min(runs), max(runs)
        print(
            f"  {width} in flight: {best:.3f} to {worst:.3f} s, "
            f"{best / ideal_s:.2f} to {worst / ideal_s:.2f} x ideal"
        )
    print(f"{n_jobs} jobs of 0 ms on one machine, {4 * N_RUNS * N_SPINS // 1000} kB each")
    for name, seconds in measure_sessions(n_jobs).items():
        print(f"  {name}: {n_jobs / seconds:.0f} jobs/s, {1000 * seconds / n_jobs:.2f} ms each")


if __name__ == "__main__":
    main()
