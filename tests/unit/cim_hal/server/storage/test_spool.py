"""Couplings and results as files beside a journal: kept, evicted, damaged, left over."""

from __future__ import annotations

import numpy as np
import pytest
from cim_wire import CONTENT, REF, sample_request

from cim_hal import LoweringReport, PumpSchedule, Trace
from cim_hal.errors import (
    UnknownReferenceError,
)
from cim_hal.protocol.jobs.records import (
    Accepted,
    Ended,
    Started,
)
from cim_hal.protocol.jobs.state import JobState
from cim_hal.protocol.jobs.table import body_digest, job_id
from cim_hal.protocol.wire.messages import CouplingRef
from cim_hal.protocol.wire.results import Result
from cim_hal.protocol.wire.roles import Role, User
from cim_hal.server.storage.journal import DiskJournal

ALICE = User("alice", Role.OPERATOR)


REPORT = LoweringReport(
    bits=8, step=0.1, levels_used=3, max_error=0.0, rms_error=0.0, energy_error_bound=0.0,
    field_spin=False, gauge=True, machine_spins=2,
)  # fmt: skip


SCHEDULE = PumpSchedule((0.5, 1.0 / 3.0), 7)


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "state"


def _accepted(key: int = 1, **changes) -> Accepted:
    request = sample_request(key, **changes)
    job = job_id("alice", request.key)
    return Accepted(job, ALICE, request, body_digest(request), SCHEDULE, REPORT, 10.0 + key)


def _measured(n_runs: int = 3, *, trace: bool = False) -> Result:
    rng = np.random.default_rng(n_runs)
    spins = rng.integers(0, 4, (n_runs, 1), dtype=np.uint8)
    amplitudes = rng.normal(size=(n_runs, 2)).astype(np.float32)
    frames = Trace(np.array([1, 7]), np.array([0.5, 1.0]), np.ones((2, 1, 2), np.float32))
    return Result(spins, amplitudes, 2, 0.25, frames if trace else None, {"relocks": 3}, "c7")


def _load(folder):
    journal = DiskJournal(folder)
    try:
        return journal.load("bench")
    finally:
        journal.close()


def _filled(folder, *records, device="bench"):
    journal = DiskJournal(folder)
    journal.load(device)
    journal.keep_couplings(REF.digest, CONTENT)
    for record in records:
        journal.write(record)
    return journal


@pytest.mark.parametrize("trace", [False, True])
def test_a_result_comes_back_bit_for_bit(folder, trace):
    record, result = _accepted(), _measured(trace=trace)
    journal = _filled(folder, record, Started(record.job))
    kept = journal.keep_result(record.job, result)
    journal.write(Ended(record.job, JobState.DONE, None, kept, 50.0))
    journal.close()
    (saved,) = _load(folder)
    for found in (kept, saved.result):
        np.testing.assert_array_equal(found.spins, result.spins)
        np.testing.assert_array_equal(found.amplitudes, result.amplitudes)
        assert (found.n_spins, found.device_s, found.notes) == (2, 0.25, {"relocks": 3})
        assert found.calibration == "c7"
        assert (found.trace is not None) == trace
        assert not found.spins.flags.writeable


def test_couplings_are_kept_by_content_and_make_room_for_others(folder):
    journal = DiskJournal(folder, max_bytes=1)
    journal.load("bench")
    journal.keep_couplings(REF.digest, CONTENT)
    journal.write(_accepted())
    others = [f"sha256:{digit * 64}" for digit in "12"]
    for digest in others:
        journal.keep_couplings(digest, CONTENT)
    assert journal.couplings(REF.digest).digest == REF.digest  # a job waits for them
    assert journal.couplings(others[1]).digest == REF.digest  # the newest stays
    with pytest.raises(UnknownReferenceError):
        journal.couplings(others[0])
    unknown = _accepted(3, coupling=CouplingRef(digest=others[0]))
    with pytest.raises(UnknownReferenceError, match="upload them again"):
        journal.write(unknown)
    journal.close()


@pytest.mark.parametrize("damage", ["gone", "cut", "bit", "header", "huge"])
def test_a_damaged_result_is_gone_and_its_key_is_not(folder, damage):
    record = _accepted()
    journal = _filled(folder, record)
    kept = journal.keep_result(record.job, _measured())
    journal.write(Ended(record.job, JobState.DONE, None, kept, 50.0))
    journal.close()
    path = folder / "results" / f"{record.job}.cim"
    raw = bytearray(path.read_bytes())
    if damage == "gone":
        path.unlink()
    else:
        if damage == "cut":
            del raw[-1:]
        elif damage == "bit":
            raw[-1] ^= 1
        elif damage == "header":
            raw[20] ^= 255
        else:
            raw[8:12] = b"\xff\xff\xff\xff"
        path.unlink()
        path.write_bytes(raw)
    (saved,) = _load(folder)
    assert (saved.job, saved.state, saved.accepted) == (record.job, JobState.DONE, None)


def test_leftovers_of_a_crash_are_cleared_away(folder):
    journal = _filled(folder, _accepted())
    journal.keep_result("f" * 32, _measured())  # written, and its record was not
    (folder / "results" / "x.cim.part").touch()
    journal.close()
    _load(folder)
    assert list((folder / "results").iterdir()) == []
