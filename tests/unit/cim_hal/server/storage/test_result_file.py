"""Results in files: there and back, and damaged."""

from __future__ import annotations

import numpy as np
import pytest
from journals import accepted, filled_journal, load_journal, measured, write

from cim_hal.errors import JobLostError, StorageError
from cim_hal.protocol.jobs.records import Ended, Started
from cim_hal.protocol.jobs.state import JobState


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


@pytest.mark.parametrize("damage", ["gone", "cut", "bit", "header", "huge"])
def test_a_damaged_result_is_an_error_of_its_job_whose_key_stays(folder, damage):
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
    assert (saved.job, saved.digest) == (record.job, record.digest)
    if damage == "bit":  # it is seen when the rows are read
        with pytest.raises(JobLostError, match="block 0 of its file"):
            saved.result.spins[:]
    else:
        assert (saved.state, saved.error.code) == (JobState.FAILED, "job.lost")
        assert "damaged on the disk of the server" in saved.error.message
    assert path.exists() is (damage != "gone")


def test_a_result_that_cannot_be_read_now_is_there_when_it_can(folder):
    record, result = accepted(), measured(LARGE)
    journal = filled_journal(folder, record)
    kept = journal.keep_result(record.job, result)
    path = folder / "results" / f"{record.job}.cim"
    path.rename(path.with_suffix(".away"))
    path.mkdir()  # root may read whatever its mode says
    with pytest.raises(StorageError, match="cannot read the result of the job now: Is a") as caught:
        kept.spins[:]
    assert caught.value.retryable
    path.rmdir()
    with pytest.raises(JobLostError, match="is gone"):
        kept.spins[:]
    path.with_suffix(".away").rename(path)
    np.testing.assert_array_equal(kept.spins[:], result.spins)
    journal.close()
