"""Many users on one machine: who gets how much of it, and how fast it stops in an emergency.

Run with ``python benchmarks/bench_sharing.py queue`` (a simulation, exact, no machine) and
``python benchmarks/bench_sharing.py estop`` (a server in a process of its own, a job that runs,
100 MB on their way from another process).
"""

from __future__ import annotations

import argparse
import multiprocessing
import time
from collections import Counter, deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from cim_hal import EmergencyStopError, IsingModel, PumpSchedule, open_device, spawn_server
from cim_hal.protocol.jobs.scheduler import FairQueue

if TYPE_CHECKING:
    from collections.abc import Callable

SLICE_S = 2.0
PROGRAM_S = 0.25  # to load couplings
HOURS = 2


@dataclass(frozen=True, eq=False)
class Job:
    """One submission of a simulated user."""

    user: str
    coupling: int
    seconds: float
    came: float


class AsTheyCome:
    """One line for all."""

    def __init__(self) -> None:
        self.jobs: deque[Job] = deque()

    def push(self, job: Job) -> None:  # noqa: D102  see FairQueue, as those below
        self.jobs.append(job)

    def pop(self, loaded: int | None) -> Job | None:  # noqa: ARG002, D102
        return self.jobs.popleft() if self.jobs else None

    def charge(self, user: str, seconds: float) -> None:  # noqa: D102
        pass


class ByScheduler:
    """The queue of the server, with or without a look at what is loaded."""

    def __init__(self, *, affinity: bool) -> None:
        self.queue = FairQueue[Job](slice_s=SLICE_S)
        self.affinity = affinity

    def push(self, job: Job) -> None:  # noqa: D102  see FairQueue, as those below
        self.queue.push(job, user=job.user, coupling=job.coupling)

    def pop(self, loaded: int | None) -> Job | None:  # noqa: D102
        return self.queue.pop(loaded=loaded if self.affinity else object())

    def charge(self, user: str, seconds: float) -> None:  # noqa: D102
        self.queue.charge(user, seconds)


ORDERS = {
    "as they come": AsTheyCome,
    "turns": lambda: ByScheduler(affinity=False),
    "turns, loaded first": lambda: ByScheduler(affinity=True),
}


@dataclass(frozen=True)
class Office:
    """Users that keep the machine busy, and a visitor with a short job now and then.

    A user keeps `depth` jobs waiting, of `seconds` each (uniform from half to one and a half),
    all for the couplings `couplings[user]`, or for any of them in series of 20 jobs.
    """

    name: str
    depths: tuple[int, ...]
    seconds: tuple[float, ...]
    couplings: tuple[int | None, ...]

    def run(self, make: Callable[[], AsTheyCome | ByScheduler], seed: int = 1) -> dict[str, float]:
        """Let two hours pass; return what became of them."""
        rng = np.random.default_rng(seed)
        queue, now, loaded = make(), 0.0, None
        used: Counter[str] = Counter()
        n_jobs = n_programs = 0
        waits, visit = [], 10.0
        n_pushed: Counter[int] = Counter()

        def submit(i: int) -> None:
            coupling = self.couplings[i]
            if coupling is None:
                coupling = i * 1000 + n_pushed[i] // 20
                n_pushed[i] += 1
            seconds = self.seconds[i] * rng.uniform(0.5, 1.5)
            queue.push(Job(f"u{i}", coupling, seconds, now))

        for i, depth in enumerate(self.depths):
            for _ in range(depth):
                submit(i)
        while now < HOURS * 3600:
            if now >= visit:
                queue.push(Job("visitor", -1, 0.2, now))
                visit = now + rng.exponential(60.0)
            job = queue.pop(loaded)
            assert job is not None
            if job.user == "visitor":
                waits.append(now - job.came)
            took = job.seconds + PROGRAM_S * (job.coupling != loaded)
            n_programs += job.coupling != loaded
            loaded, now, n_jobs = job.coupling, now + took, n_jobs + 1
            used[job.user] += took
            queue.charge(job.user, took)
            if job.user != "visitor":
                submit(int(job.user[1:]))
        shares = [used[f"u{i}"] for i in range(len(self.depths))]
        return {
            "loads per 100 jobs": 100 * n_programs / n_jobs,
            "time in loads, %": 100 * n_programs * PROGRAM_S / now,
            "largest share, %": 100 * max(shares) / sum(shares),
            "smallest share, %": 100 * min(shares) / sum(shares),
            "visitor waits, median s": float(np.median(waits)),
            "visitor waits, 95 % s": float(np.quantile(waits, 0.95)),
        }


OFFICES = [
    Office("4 users, 2 models between them", (8,) * 4, (0.5,) * 4, (0, 1, 0, 1)),
    Office("8 users, 3 models between them", (8,) * 8, (0.5,) * 8, (0, 1, 2, 0, 1, 2, 0, 1)),
    Office("4 users, models of their own", (8,) * 4, (0.5,) * 4, (None,) * 4),
    Office("1 greedy user, 3 modest ones", (50, 4, 4, 4), (5.0, 0.5, 0.5, 0.5), (0, 1, 0, 1)),
]


def queue() -> None:
    for office in OFFICES:
        print(f"\n{office.name}")
        results = {name: office.run(make) for name, make in ORDERS.items()}
        for measure in next(iter(results.values())):
            row = "  ".join(f"{results[name][measure]:>8.1f}" for name in ORDERS)
            print(f"  {measure:<26}{row}")
    print("\ncolumns:", "; ".join(ORDERS))


def _upload(endpoint: str, is_over: multiprocessing.synchronize.Event) -> None:
    rng = np.random.default_rng()
    with open_device(endpoint) as device:
        while not is_over.is_set():
            upper = np.triu(rng.normal(size=(3540, 3540)), k=1)
            device.load(IsingModel.from_couplings(upper + upper.T))


def _stop_often(endpoint: str, model: IsingModel, n: int) -> tuple[list[float], list[float]]:
    answered, ended = [], []
    schedule = PumpSchedule.linear(0.0, 2.0, round_trips=100_000)
    with open_device(endpoint) as device, open_device(endpoint) as guard:
        for _ in range(n):
            job = device.submit(model, schedule, n_runs=16)
            while job.state.value != "running":
                time.sleep(0.05)
            time.sleep(np.random.default_rng().uniform(0.2, 0.8))
            began = time.perf_counter()
            stopped = guard.estop("bench")
            answered.append(time.perf_counter() - began)
            try:
                job.result(timeout_s=60.0)
            except EmergencyStopError:
                ended.append(time.perf_counter() - began)
            guard.reset(stopped.stop)
    return answered, ended


def estop(n: int) -> None:
    rng = np.random.default_rng(3)
    upper = np.triu(rng.choice([-1, 1], size=(1000, 1000)), k=1)
    model = IsingModel.from_couplings(upper + upper.T)
    context = multiprocessing.get_context("spawn")
    with spawn_server("emulator-100k") as server:
        for loaded in (False, True):
            is_over = context.Event()
            process = context.Process(target=_upload, args=(server.endpoint, is_over))
            if loaded:
                process.start()
                time.sleep(4.0)
            try:
                answered, ended = _stop_often(server.endpoint, model, n)
            finally:
                is_over.set()
                if loaded:
                    process.join()
            print("100 MB on their way, again and again" if loaded else "no uploads")
            for name, times in (("answered", answered), ("job ended", ended)):
                ms = 1000 * np.array(times)
                print(f"  {name:<10} median {np.median(ms):.1f} ms, largest {ms.max():.1f} ms")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("part", choices=["queue", "estop"])
    parser.add_argument("-n", type=int, default=20)
    options = parser.parse_args()
    if options.part == "queue":
        queue()
    else:
        estop(options.n)
