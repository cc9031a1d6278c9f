"""A journal on disk and what it is filled with."""

from __future__ import annotations

import numpy as np
from cim_wire import CONTENT, REF, sample_request

from cim_hal import LoweringReport, PumpSchedule, Trace
from cim_hal.protocol.jobs.records import Accepted, Record
from cim_hal.protocol.jobs.table import body_digest, job_id
from cim_hal.protocol.wire.results import Result
from cim_hal.protocol.wire.roles import Role, User
from cim_hal.server.storage.journal import DiskJournal

ALICE = User("alice", Role.OPERATOR)
REPORT = LoweringReport(
    bits=8, step=0.1, levels_used=3, max_error=0.0, rms_error=0.0, energy_error_bound=0.0,
    field_spin=False, gauge=True, machine_spins=2,
)  # fmt: skip


SCHEDULE = PumpSchedule((0.5, 1.0 / 3.0), 7)


def accepted(key: int = 1, **changes) -> Accepted:
    """Return the record of a job that was taken."""
    request = sample_request(key, **changes)
    job = job_id("alice", request.key)
    return Accepted(job, ALICE, request, body_digest(request), SCHEDULE, REPORT, 10.0 + key)


def measured(n_runs: int = 3, *, trace: bool = False) -> Result:
    """Return a result of two spins, with a trace or without."""
    rng = np.random.default_rng(n_runs)
    spins = rng.integers(0, 4, (n_runs, 1), dtype=np.uint8)
    amplitudes = rng.normal(size=(n_runs, 2)).astype(np.float32)
    frames = Trace(np.array([1, 7]), np.array([0.5, 1.0]), np.ones((2, 1, 2), np.float32))
    return Result(spins, amplitudes, 2, 0.25, frames if trace else None, {"relocks": 3}, "c7")


def load_journal(folder):
    """Return the jobs that a journal holds."""
    journal = DiskJournal(folder)
    try:
        return journal.load("bench")
    finally:
        journal.close()


def filled_journal(folder, *records, device="bench"):
    """Return an open journal with couplings and these records."""
    journal = DiskJournal(folder)
    journal.load(device)
    journal.keep_couplings(REF.digest, CONTENT)
    assert journal.write(records) == [None] * len(records)
    return journal


def write(journal: DiskJournal, record: Record) -> None:
    """Write one record; what went wrong is raised."""
    (error,) = journal.write([record])
    if error is not None:
        raise error
