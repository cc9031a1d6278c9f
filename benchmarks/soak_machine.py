"""A machine whose every answer is known beforehand: for the soak, which checks them all."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from cim_hal import (
    Capabilities,
    Driver,
    JobCancelledError,
    Program,
    Readout,
    StopToken,
    Telemetry,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

__all__ = ["Soak", "expected"]

PAUSE_S = 0.002  # of each run: time in which others can come and go


class Soak(Driver):
    """Whole numbers made of the couplings and the seed, so exact on any machine.

    While the file ``SOAK_PLUG`` is there it is unplugged. It starts a helper process, as drivers of
    vendors do, and writes the seed of each run to the file ``SOAK_WITNESS``, with ``BOTH`` where
    another driver runs at the same time.
    """

    def __init__(self) -> None:
        self._plug, self._witness = (os.environ.get(n) for n in ("SOAK_PLUG", "SOAK_WITNESS"))
        self._helper: subprocess.Popen[bytes] | None = None
        if self._witness is not None:
            self._check_plug()
            helper = [sys.executable, "-c", "import time; time.sleep(1e6)"]
            self._helper = subprocess.Popen(helper)

    def describe(self) -> Capabilities:  # noqa: D102  see Driver
        return Capabilities(
            name="soak",
            max_spins=2000,
            coupling_bits=8,
            reports_amplitudes=True,
            reproducible=True,
            default_round_trips=10,
        )

    def run(self, program: Program, stop: StopToken) -> Readout:  # noqa: D102
        if stop.is_set():
            raise JobCancelledError("stopped before the run")
        self._check_plug()
        with self._witnessed(program.seed):
            time.sleep(PAUSE_S)
        return Readout(expected(program.dense_coupling(), program.seed, program.n_runs))

    def status(self) -> Telemetry:  # noqa: D102
        self._check_plug()
        return Telemetry(readings=())

    def close(self) -> None:  # noqa: D102
        if self._helper is not None:
            self._helper.kill()
            self._helper.wait()

    def _check_plug(self) -> None:
        if self._plug is not None and Path(self._plug).exists():
            raise ConnectionError("the machine is unplugged")

    @contextmanager
    def _witnessed(self, seed: int) -> Iterator[None]:
        if self._witness is None:
            yield
            return
        with Path(self._witness).open("a") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                file.write("BOTH\n")
            file.write(f"{seed}\n")
            file.flush()
            yield


def expected(J: NDArray[np.generic], seed: int, n_runs: int) -> NDArray[np.float32]:
    """Return the amplitudes (runs, n) of a job; J has the entries -1, 0 and 1."""
    starts = np.random.default_rng(seed).integers(-3, 4, (n_runs, len(J)))
    # below 2^24 in size, so exact in float32 too; the half keeps signs from being zero
    return (starts @ J.astype(np.int64) + 0.5).astype(np.float32)
