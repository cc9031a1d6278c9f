"""How late a far client knows of a change: told unasked, and by a long poll renewed each time.

    python benchmarks/bench_changes.py [--latency 0.2] [--pace 0.1] [--changes 60]

A machine finishes a run every `--pace` seconds. One client is near; the other is behind a link of
`--latency` seconds each way. Lateness is the time from the near client's knowing of a run to the
far client's.
"""

from __future__ import annotations

import argparse
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np

from cim_hal import Capabilities, Driver, IsingModel, Program, Readout, StopToken, open_device
from cim_hal.client.options import Retries
from cim_hal.client.requests import RequestClient
from cim_hal.protocol.jobs.state import TERMINAL
from cim_hal.protocol.wire.messages import JobStatus, WaitJob
from cim_hal.server.router import Router
from cim_hal.testing import Latency, TcpProxy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cim_hal import Session
    from cim_hal.client import Job

PAIR = IsingModel.from_couplings([[0, 1], [1, 0]])


class OneByOne(Driver):
    """A run each `pace_s` seconds, handed in at once."""

    def __init__(self, pace_s: float) -> None:
        self._pace_s = pace_s

    def describe(self) -> Capabilities:  # noqa: D102  see Driver
        return Capabilities(name="one-by-one", max_spins=8, coupling_bits=8)

    def run(self, program: Program, stop: StopToken) -> Readout:  # noqa: D102
        spins = np.ones((program.n_runs, program.n_spins), dtype=np.int8)
        for number in range(program.n_runs):
            time.sleep(self._pace_s)
            stop.deliver(spins[number : number + 1])
        return Readout(spins)


def told(_session: Session, job: Job) -> Iterator[int]:
    """Yield how many runs there are, as events tell it."""
    return (status.ready for status in job.changes())


def asked(session: Session, job: Job) -> Iterator[int]:
    """Yield the same, from a long poll that is renewed at each change."""
    client, seq = RequestClient(timeout_s=5.0, retries=Retries()), 1
    while True:
        wait = WaitJob(job=job.id, timeout_s=10.0, since=seq)
        status = session._run(client.ask(wait, JobStatus, poll_s=10.0))  # noqa: SLF001
        seq = status.seq
        yield status.ready
        if status.state in TERMINAL:
            return


@contextmanager
def served(driver: Driver) -> Iterator[str]:
    """Serve a driver in a thread."""
    with Router(driver) as router:
        thread = threading.Thread(target=router.serve)
        thread.start()
        try:
            yield router.endpoint
        finally:
            router.stop()
            thread.join()


def lateness(
    way: Callable[[Session, Job], Iterator[int]], options: argparse.Namespace
) -> tuple[list[float], int, int]:
    """Return the seconds for each change, and how many changes were heard far and near."""
    slow = Latency(latency_s=options.latency)
    with (
        served(OneByOne(options.pace)) as endpoint,
        TcpProxy(endpoint, upstream=[slow], downstream=[slow]) as link,
        open_device(link.endpoint) as far,
        open_device(endpoint) as near,
    ):
        job = far.submit(PAIR, n_runs=options.changes)
        heard: tuple[dict[int, float], dict[int, float]] = ({}, {})

        def watch(times: dict[int, float], counts: Iterator[int]) -> None:
            for count in counts:
                times.setdefault(count, time.monotonic())

        threads = [
            threading.Thread(target=watch, args=(heard[0], way(far, job))),
            threading.Thread(target=watch, args=(heard[1], told(near, near.job(job.id)))),
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    there, here = heard
    # Less the first two seconds, in which the far client was still asking where the job is.
    late = [
        min(time for more, time in there.items() if more >= count) - at
        for count, at in here.items()
        if count * options.pace > 2.0
    ]
    return late, len(there), len(here)


def main() -> None:
    """Measure both ways and print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--latency", type=float, default=0.2)
    parser.add_argument("--pace", type=float, default=0.1)
    parser.add_argument("--changes", type=int, default=60)
    options = parser.parse_args()
    for name, way in (("long poll", asked), ("events", told)):
        late, n_far, n_near = lateness(way, options)
        print(
            f"{name}: median {np.median(late):.3f} s, 90 % within {np.quantile(late, 0.9):.3f} s, "
            f"{n_far} of {n_near} changes heard"
        )


if __name__ == "__main__":
    main()
