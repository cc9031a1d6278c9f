"""A journal that is damaged in any file: refused or one job's error, and put right by a command."""

from __future__ import annotations

import json
import sqlite3

import numpy as np
import pytest
from click.testing import CliRunner
from journals import accepted, filled_journal, load_journal, measured, write

from cim_hal.cli.app import program
from cim_hal.errors import CimError, JournalError
from cim_hal.protocol.jobs.records import Ended, Started
from cim_hal.protocol.jobs.state import JobState

SMALL, LARGE, QUEUED = (accepted(key) for key in (1, 2, 3))
DAMAGES = {
    "empty": lambda _raw: b"",
    "truncated": lambda raw: raw[: len(raw) // 2],
    "one byte": lambda raw: raw[:-9] + bytes([raw[-9] ^ 1]) + raw[-8:],
    "first bytes": lambda raw: b"\0" * 16 + raw[16:],
    "absent": None,
}
FILES = ["journal.sqlite3", f"results/{LARGE.job}.cim", "couplings/*.cim"]


@pytest.fixture
def folder(tmp_path):
    """The folder of a server that has ended: a job with a small result, one with a large one."""
    folder = tmp_path / "state"
    journal = filled_journal(folder, SMALL, LARGE, QUEUED)
    for record, n_runs in ((SMALL, 3), (LARGE, 50_000)):
        write(journal, Started(record.job))
        kept = journal.keep_result(record.job, measured(n_runs))
        write(journal, Ended(record.job, JobState.DONE, None, kept, 50.0))
    journal.close()
    return folder


def damage(folder, pattern, how):
    (path,) = folder.glob(pattern)
    raw = path.read_bytes()
    path.unlink()
    if how is not None:
        path.write_bytes(how(raw))
    return raw


def contents(folder):
    return sorted(path.read_bytes() for path in folder.rglob("*") if path.is_file())


def run(*arguments):
    return CliRunner().invoke(program, ["journal", *map(str, arguments)], prog_name="cim-hal")


@pytest.mark.parametrize("how", DAMAGES)
@pytest.mark.parametrize("pattern", FILES)
def test_damage_is_told_nothing_is_deleted_and_a_repair_lets_the_server_start(folder, pattern, how):
    damage(folder, pattern, DAMAGES[how])
    before = contents(folder)
    if pattern == "journal.sqlite3" and how != "one byte":
        with pytest.raises(JournalError, match="cim-hal journal repair"):
            load_journal(folder)
    elif pattern != "journal.sqlite3":  # one job is touched, or none before its rows are read
        jobs = {saved.job: saved for saved in load_journal(folder)}
        assert set(jobs) == {SMALL.job, LARGE.job, QUEUED.job}
        assert jobs[SMALL.job].state is JobState.DONE
    assert contents(folder) == before or pattern == "journal.sqlite3"
    found = run("check", folder, "--json")
    n_problems = len(json.loads(found.stdout)["problems"])
    if how == "absent" and pattern.startswith("couplings"):
        assert n_problems == 0  # they are sent again
        return
    if pattern != "journal.sqlite3" or how != "one byte":  # of which it may be a free one
        assert (found.exit_code, n_problems > 0) == (1, True)
    repaired = run("repair", folder, "--json")
    assert repaired.exit_code == 0
    assert run("check", folder).exit_code == 0
    load_journal(folder)
    kept = contents(folder)
    for raw in before:
        assert raw in kept or pattern == "journal.sqlite3"


def test_a_result_that_is_damaged_while_it_is_served_is_an_error_and_never_zeros(folder):
    for how in ("truncated", "one byte", "absent"):
        whole = load_journal(folder)[1].result
        raw = damage(folder, FILES[1], DAMAGES[how])
        with pytest.raises(CimError, match="damaged on the disk of the server") as caught:
            np.asarray(whole.amplitudes)
        assert caught.value.code == "job.lost"
        (folder / FILES[1]).write_bytes(raw)
    np.testing.assert_array_equal(whole.spins[5:9], measured(50_000).spins[5:9])


def test_a_key_of_a_damaged_record_does_not_run_again_after_a_repair(folder):
    with sqlite3.connect(folder / FILES[0]) as db:
        db.execute("UPDATE jobs SET request = '{' WHERE number = 3")
    db.close()
    assert f"damaged: job {QUEUED.job}" in run("check", folder).stdout
    assert "set aside:" in run("repair", folder).stdout
    assert run("check", folder).exit_code == 0
    *_, last = load_journal(folder)
    assert (last.job, last.digest) == (QUEUED.job, QUEUED.digest)
    assert (last.state, last.error.code) == (JobState.FAILED, "job.lost")


def test_jobs_are_read_around_a_damaged_page_though_it_is_the_last(tmp_path):
    journal = filled_journal(tmp_path / "state", *map(accepted, range(200)))
    journal.close()
    path = tmp_path / "state" / FILES[0]
    with sqlite3.connect(path) as db:
        (size,) = db.execute("PRAGMA page_size").fetchone()
    db.close()
    whole = bytearray(path.read_bytes())
    last = whole.rindex(accepted(199).request.key.encode()) // size
    whole[last * size : last * size + 8] = b"\xff" * 8
    path.write_bytes(whole)
    assert run("export", tmp_path / "state", tmp_path / "out").exit_code == 0
    assert 150 < len(json.loads((tmp_path / "out" / "jobs.json").read_text())) < 200


def test_an_export_has_the_jobs_and_their_results(folder, tmp_path):
    assert run("export", folder, tmp_path / "out").exit_code == 0
    jobs = json.loads((tmp_path / "out" / "jobs.json").read_text())
    assert [job["state"] for job in jobs] == ["done", "done", "queued"]
    for record, n_runs in ((SMALL, 3), (LARGE, 50_000)):
        with np.load(tmp_path / "out" / f"{record.job}.npz") as arrays:
            np.testing.assert_array_equal(arrays["amplitudes"], measured(n_runs).amplitudes)
            assert arrays["spins"].shape == (n_runs, 2)


def test_a_journal_that_is_in_use_and_a_folder_that_is_none_are_refused(folder, tmp_path):
    journal = filled_journal(tmp_path / "used")
    for what in ("check", "repair"):
        found = run(what, tmp_path / "used")
        assert isinstance(found.exception, JournalError)
        assert "another server uses" in str(found.exception)
        assert isinstance(run(what, tmp_path).exception, JournalError)
    journal.close()
    assert list(tmp_path.glob("*/set-aside*")) == []
