"""Jobs through a network in trouble: none lost, none run twice, all results right; and how fast.

Run with ``python benchmarks/bench_chaos.py --jobs 10000``. The machine answers at once, so the
times are those of the protocol and of the two proxies, which share this process.
"""

from __future__ import annotations

import argparse
import tempfile
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from cim_hal import (
    Capabilities,
    CimError,
    Driver,
    IsingModel,
    Program,
    Readout,
    Retries,
    open_device,
)
from cim_hal.errors import JobTimeoutError
from cim_hal.server.router import Router
from cim_hal.server.storage.journal import DiskJournal
from cim_hal.testing import MessageFaults, MessageProxy, ResetEvery, TcpProxy

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cim_hal import Job, SampleSet, Session, StopToken

PAIR = IsingModel.from_couplings([[0, 1], [1, 0]])
N_THREADS = 8
WAIT_S = 0.2


class Counting(Driver):
    """Normal numbers from the seed; counts how often each seed was run."""

    def __init__(self) -> None:
        self.n_run: Counter[int] = Counter()

    def describe(self) -> Capabilities:  # noqa: D102  see Driver
        return Capabilities(
            name="counting",
            max_spins=8,
            coupling_bits=8,
            reports_amplitudes=True,
            reproducible=True,
        )

    def run(self, program: Program, stop: StopToken) -> Readout:  # noqa: ARG002, D102
        self.n_run[program.seed] += 1
        shape = (program.n_runs, program.n_spins)
        return Readout(np.random.default_rng(program.seed).standard_normal(shape))


@dataclass(frozen=True)
class Trouble:
    """What is wrong, and how often a request may be sent."""

    name: str
    reset_every: int | None = None
    messages: MessageFaults | None = None
    retry_after_s: float = 1.0


ALL = MessageFaults(drop=0.01, duplicate=0.01, delay=0.01, reorder=0.01)
KEPT = MessageFaults(duplicate=0.01, delay=0.01, reorder=0.01)
TROUBLES = (
    Trouble("nothing"),
    Trouble("resets", reset_every=60),
    Trouble("resets; messages repeated, late, reordered", 60, KEPT),
    Trouble("the same, and 1 % of messages lost each way", 60, ALL, retry_after_s=0.4),
)


@contextmanager
def serving(driver: Driver, *, journal: bool) -> Iterator[str]:
    with (
        tempfile.TemporaryDirectory() as folder,
        Router(driver, journal=DiskJournal(Path(folder)) if journal else None) as router,
    ):
        thread = threading.Thread(target=router.serve)
        thread.start()
        try:
            yield router.endpoint
        finally:
            router.stop()
            thread.join()


def patiently(job: Job) -> SampleSet:
    while True:
        try:
            return job.result(timeout_s=WAIT_S)
        except JobTimeoutError:
            continue


def run_all(session: Session, n_jobs: int) -> tuple[dict[int, np.ndarray], list[float]]:
    """Amplitudes by seed of those jobs that came back, and how long each job took."""
    found: dict[int, np.ndarray] = {}
    seconds: list[float] = []

    def sample(seed: int) -> None:
        began = time.perf_counter()
        try:
            samples = patiently(session.submit(PAIR, n_runs=2, seed=seed))
            found[seed] = np.asarray(samples.amplitudes)
        except CimError as error:
            print(f"  job {seed} is lost: {error}")
        seconds.append(time.perf_counter() - began)

    with ThreadPoolExecutor(N_THREADS) as pool:
        list(pool.map(sample, range(n_jobs)))
    return found, seconds


def measure(
    trouble: Trouble, n_jobs: int, expected: dict[int, np.ndarray], *, journal: bool
) -> None:
    driver, counts = Counting(), Counter[str]()
    with ExitStack() as stack:
        server = endpoint = stack.enter_context(serving(driver, journal=journal))
        with open_device(server) as session:
            session.load(PAIR)
        proxies = []
        if trouble.messages is not None:
            faults = trouble.messages
            proxy = MessageProxy(endpoint, to_server=faults, to_client=faults, seed=1)
            proxies.append(stack.enter_context(proxy))
            endpoint = proxies[-1].endpoint
        if trouble.reset_every is not None:
            toxics = [ResetEvery(segments=trouble.reset_every)]
            proxy = TcpProxy(endpoint, upstream=toxics, downstream=toxics)
            proxies.append(stack.enter_context(proxy))
            endpoint = proxies[-1].endpoint
        retries = Retries(retry_after_s=trouble.retry_after_s)
        session = stack.enter_context(open_device(endpoint, retries=retries))
        began = time.perf_counter()
        found, seconds = run_all(session, n_jobs)
        took_s = time.perf_counter() - began
        for proxy in proxies:
            counts += proxy.counts
    wrong = sum(not np.array_equal(found[seed], expected[seed]) for seed in found)
    twice = sum(times > 1 for times in driver.n_run.values())
    middle, late, worst = (1e3 * float(np.quantile(seconds, q)) for q in (0.5, 0.99, 1.0))
    print(f"{trouble.name}: {n_jobs} jobs, {took_s:.1f} s")
    print(f"  lost {n_jobs - len(found)}, run twice {twice}, wrong {wrong}")
    print(f"  a job: median {middle:.1f} ms, 99 % {late:.0f} ms, longest {worst:.0f} ms")
    print(f"  {dict(counts)}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=10_000)
    parser.add_argument("--journal", action="store_true", help="with a journal on disk")
    parser.add_argument("--worst", action="store_true", help="only the last of the troubles")
    options = parser.parse_args()
    n_jobs = options.jobs
    with open_device(Counting()) as session:
        expected, _ = run_all(session, n_jobs)
    for trouble in TROUBLES[-1:] if options.worst else TROUBLES:
        measure(trouble, n_jobs, expected, journal=options.journal)


if __name__ == "__main__":
    main()
