"""A server that kills itself at a chosen record of its journal; run as a program.

``python -m cim_crash ENDPOINT FOLDER WHEN RECORD NUMBER`` kills itself with SIGKILL ``before`` or
``after`` the given one of its records of a kind (``Accepted``, ``Started``, ``Ended``,
``Dropped``) is written; with NUMBER 0 never.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

import numpy as np

from cim_hal import Capabilities, Driver, JobCancelledError, Program, Readout, StopToken
from cim_hal.server.journal import DiskJournal
from cim_hal.server.router import Router


class Witness(Driver):
    """Normal numbers from the seed; appends the seed to the file ``CIM_WITNESS`` at each run."""

    def describe(self) -> Capabilities:
        return Capabilities(
            name="witness",
            max_spins=4000,
            coupling_bits=8,
            reports_amplitudes=True,
            reproducible=True,
            default_round_trips=20,
        )

    def run(self, program: Program, stop: StopToken) -> Readout:
        with Path(os.environ["CIM_WITNESS"]).open("a", encoding="ascii") as file:
            file.write(f"{program.seed}\n")
        for done in range(program.schedule.round_trips):
            if stop.is_set():
                raise JobCancelledError("stopped")
            stop.progress(done, program.schedule.round_trips)
            time.sleep(0.001)
        shape = (program.n_runs, program.n_spins)
        return Readout(np.random.default_rng(program.seed).standard_normal(shape))


class DeadlyJournal:
    """Kills its process at one record, and is a `DiskJournal` otherwise."""

    def __init__(self, journal: DiskJournal, when: str, kind: str, number: int) -> None:
        self._journal = journal
        self._when = when
        self._kind = kind
        self._left = number
        self.keys = journal.keys

    def __getattr__(self, name: str):
        return getattr(self._journal, name)

    def write(self, record) -> None:
        is_it = type(record).__name__ == self._kind
        self._left -= is_it
        deadly = is_it and self._left == 0
        if deadly and self._when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        self._journal.write(record)
        if deadly:
            os.kill(os.getpid(), signal.SIGKILL)


def main() -> None:
    endpoint, folder, when, kind, number = sys.argv[1:]
    journal = DeadlyJournal(DiskJournal(Path(folder)), when, kind, int(number))
    with Router(Witness(), endpoint, journal=journal) as router:
        signal.signal(signal.SIGTERM, lambda *_: router.stop())
        print(f"ready: witness at {router.endpoint}", flush=True)
        router.serve()


if __name__ == "__main__":
    main()
