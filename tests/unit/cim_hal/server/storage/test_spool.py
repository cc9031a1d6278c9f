"""Couplings and results as files beside a journal: kept, evicted, damaged, left over."""

from __future__ import annotations

import numpy as np
import pytest
from cim_wire import CONTENT, REF
from journals import accepted, filled_journal, load_journal, measured, write

from cim_hal.errors import UnknownReferenceError
from cim_hal.protocol.jobs.records import Ended, Started
from cim_hal.protocol.jobs.state import JobState
from cim_hal.protocol.wire.messages import CouplingRef
from cim_hal.server.storage.journal import DiskJournal


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "state"


LARGE = 5000  # runs whose result lies in a file


@pytest.mark.parametrize("trace", [False, True])
@pytest.mark.parametrize("n_runs", [3, LARGE])
def test_a_result_comes_back_bit_for_bit(folder, n_runs, trace):
    record, result = accepted(), measured(n_runs, trace=trace)
    journal = filled_journal(folder, record, Started(record.job))
    kept = journal.keep_result(record.job, result)
    write(journal, Ended(record.job, JobState.DONE, None, kept, 50.0))
    journal.close()
    (saved,) = load_journal(folder)
    for found in (kept, saved.result):
        np.testing.assert_array_equal(found.spins, result.spins)
        np.testing.assert_array_equal(found.amplitudes, result.amplitudes)
        assert (found.n_spins, found.device_s, found.notes) == (2, 0.25, {"relocks": 3})
        assert found.calibration == "c7"
        assert (found.trace is not None) == trace
    assert (folder / "results" / f"{record.job}.cim").exists() is (n_runs == LARGE)


def test_couplings_are_kept_by_content_and_make_room_for_others(folder):
    journal = DiskJournal(folder, max_bytes=1)
    journal.load("bench")
    journal.keep_couplings(REF.digest, CONTENT)
    write(journal, accepted())
    others = [f"sha256:{digit * 64}" for digit in "12"]
    for digest in others:
        journal.keep_couplings(digest, CONTENT)
    assert journal.couplings(REF.digest).digest == REF.digest  # a job waits for them
    assert journal.couplings(others[1]).digest == REF.digest  # the newest stays
    with pytest.raises(UnknownReferenceError):
        journal.couplings(others[0])
    unknown = accepted(3, coupling=CouplingRef(digest=others[0]))
    with pytest.raises(UnknownReferenceError, match="upload them again"):
        write(journal, unknown)
    journal.close()


@pytest.mark.parametrize("damage", ["gone", "cut", "bit", "header", "huge"])
def test_a_damaged_result_is_gone_and_its_key_is_not(folder, damage):
    record = accepted()
    journal = filled_journal(folder, record)
    kept = journal.keep_result(record.job, measured(LARGE))
    write(journal, Ended(record.job, JobState.DONE, None, kept, 50.0))
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
    (saved,) = load_journal(folder)
    assert (saved.job, saved.state, saved.accepted) == (record.job, JobState.DONE, None)


def test_leftovers_of_a_crash_are_cleared_away(folder):
    journal = filled_journal(folder, accepted())
    journal.keep_result("f" * 32, measured(LARGE))  # written, and its record was not
    (folder / "results" / "x.cim.part").touch()
    journal.close()
    load_journal(folder)
    assert list((folder / "results").iterdir()) == []
