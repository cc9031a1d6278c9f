"""A server that may be killed and started again, as a test has it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING

from cim_hal.protocol.jobs.state import TERMINAL, JobState
from cim_hal.server.storage.journal import SMALL_BYTES, DiskJournal

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

N_JOBS = 4


class Crashing:
    """A server at one endpoint, started as often as need be on the same folder."""

    def __init__(self, folder: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.endpoint = f"tcp://127.0.0.1:{free.getsockname()[1]}"
        self.folder = folder / "state"
        self.witness = folder / "witness"
        self.process: subprocess.Popen[str] | None = None

    def start(
        self,
        when: str = "never",
        kind: str = "Accepted",
        number: int = 0,
        *,
        victim: str = "server",
        fatal_seed: int | None = None,
    ) -> None:
        """Start it; see `cim_crash` for the moment of a death."""
        command = [sys.executable, "-m", "cim_crash", "serve", self.endpoint, str(self.folder)]
        self.process = subprocess.Popen(
            [*command, victim, when, kind, str(number)],
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"CIM_WITNESS": str(self.witness), "CIM_FATAL_SEED": str(fatal_seed)},
        )
        assert self.process.stdout.readline().startswith("ready")

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process.stdout.close()

    @contextmanager
    def resurrected(self) -> Iterator[None]:
        """Start it again once it has died, which it does within the context."""

        def watch() -> None:
            self.process.wait()
            self.process.stdout.close()
            self.start()

        watcher = threading.Thread(target=watch)
        watcher.start()
        yield
        watcher.join(timeout=60.0)
        assert not watcher.is_alive()

    def has_run(self) -> Counter[int]:
        """How often each seed was run."""
        text = self.witness.read_text() if self.witness.exists() else ""
        return Counter(int(line) for line in text.split())

    def kept(self) -> dict[str, JobState]:
        """Kill the server; return how its jobs ended, once all that lies on the disk is checked.

        Every job has ended, every result that was not acknowledged is whole, and none is there
        that belongs to nothing.
        """
        self.kill()
        journal = DiskJournal(self.folder)
        jobs = journal.load("witness")
        journal.close()
        assert all(job.state in TERMINAL for job in jobs)
        done = {job.job for job in jobs if job.state is JobState.DONE and job.accepted is not None}
        assert {job.job for job in jobs if job.result is not None} == done
        large = {job.job for job in jobs if job.result and job.result.n_bytes > SMALL_BYTES}
        assert {path.stem for path in (self.folder / "results").iterdir()} == large
        return {job.job: job.state for job in jobs}
