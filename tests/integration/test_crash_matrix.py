"""Server, driver and client killed at each moment of a job: nothing lost, nothing run twice."""

from __future__ import annotations

import signal
import subprocess
import sys

import numpy as np
import pytest
from cim_crash import BIG_RUNS, Witness, big_model
from crashing import N_JOBS

from cim_hal import IsingModel, open_device
from cim_hal.client.options import new_key
from cim_hal.errors import DeviceRestartedError, DriverFaultError
from cim_hal.protocol.jobs.state import JobState
from cim_hal.protocol.jobs.table import job_id

PAIR = IsingModel.from_couplings([[0, 1], [1, 0]])
BIG = {"n_runs": BIG_RUNS, "seed": 5}
LETHAL = 2  # seed of the job that is run when the server or the driver dies, and its number

slow = pytest.mark.slow


def _moments(kinds, *quick):
    """Before and after each kind; slow, but for a few."""
    return [
        pytest.param(when, kind, id=f"{when} {kind}", marks=[] if (when, kind) in quick else [slow])
        for kind in kinds
        for when in ("before", "after")
    ]


RECORDS = ("Accepted", "Started", "Result", "Ended", "Dropped")
IN_RUN = pytest.param("in", "run", marks=slow)
# The start of the job was written when the server died, and no end.
LEAVE_IT_OPEN = {
    ("after", "Started"),
    ("in", "run"),
    ("before", "Result"),
    ("after", "Result"),
    ("before", "Ended"),
}


def _start(crashing, when, kind, victim):
    if when == "in":
        crashing.start(victim=victim, fatal_seed=LETHAL)
    else:
        crashing.start(when, kind, LETHAL + 1, victim=victim)


def _run_all(session, keys, expected):
    """Run a job for each key, check what comes, and return the errors by seed."""
    errors = {}
    for seed, key in enumerate(keys):
        job = session.submit(PAIR, n_runs=2, seed=seed, key=key)
        try:
            np.testing.assert_array_equal(job.result(60.0).amplitudes, expected[seed])
            job.acknowledge()
        except (DeviceRestartedError, DriverFaultError) as error:
            errors[seed] = error
    return errors


def _submit_again(session, keys):
    """Submit all once more, as a late copy does, and return the states they are in."""
    jobs = [session.submit(PAIR, n_runs=2, seed=seed, key=key) for seed, key in enumerate(keys)]
    assert [job.id for job in jobs] == [job_id("anonymous", key) for key in keys]
    return [job.wait(10.0) for job in jobs]


def _check_ends(crashing, keys, states, failed, *, never_ran=()):
    """Check that each job ran once and has one end, now and after another restart."""
    runs = dict.fromkeys(set(range(N_JOBS)) - set(never_ran), 1)
    ends = [JobState.FAILED if seed in failed else JobState.DONE for seed in range(N_JOBS)]
    assert states == ends
    assert crashing.has_run() == runs
    ids = [job_id("anonymous", key) for key in keys]
    assert crashing.kept() == dict(zip(ids, ends, strict=True))
    crashing.start()
    with open_device(crashing.endpoint) as session:
        assert _submit_again(session, keys) == ends
    assert crashing.has_run() == runs


@pytest.mark.parametrize(("when", "kind"), [*_moments(RECORDS, ("after", "Started")), IN_RUN])
def test_a_server_killed_at_any_moment_of_a_job(crashing, expected, when, kind):
    _start(crashing, when, kind, "server")
    keys = [new_key() for _ in range(N_JOBS)]
    with crashing.resurrected(), open_device(crashing.endpoint, timeout_s=30.0) as session:
        errors = _run_all(session, keys, expected)
        states = _submit_again(session, keys)
    assert {seed: error.code for seed, error in errors.items()} == (
        {LETHAL: "device.restarted"} if (when, kind) in LEAVE_IT_OPEN else {}
    )
    # Nobody can know that it was not begun yet, so it is not run again.
    never_ran = [LETHAL] if (when, kind) == ("after", "Started") else []
    _check_ends(crashing, keys, states, errors, never_ran=never_ran)


@pytest.mark.parametrize(
    ("when", "kind"), [*_moments(RECORDS), pytest.param("in", "run", id="in run")]
)
def test_a_driver_killed_at_any_moment_of_a_job(crashing, expected, when, kind):
    """Only the job that it ran is lost; before its start was seen it is given to the next one."""
    _start(crashing, when, kind, "driver")
    keys = [new_key() for _ in range(N_JOBS)]
    with open_device(crashing.endpoint, timeout_s=30.0) as session:
        errors = _run_all(session, keys, expected)
        states = _submit_again(session, keys)
        driver = session.telemetry().driver
    assert {seed: error.details["signal"] for seed, error in errors.items()} == (
        {LETHAL: "SIGKILL"} if when == "in" else {}
    )
    assert driver.restarts == 1
    _check_ends(crashing, keys, states, errors)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """Amplitudes of the big model, where nothing fails."""
    with pytest.MonkeyPatch.context() as patch, open_device(Witness()) as session:
        patch.setenv("CIM_WITNESS", str(tmp_path_factory.mktemp("undisturbed") / "witness"))
        return session.sample(big_model(), **BIG).amplitudes


REQUESTS = {
    "BeginCouplings": 1,
    "CouplingChunk": 3,
    "CommitCouplings": 1,
    "Couplings": 1,
    "Sample": 1,
    "WaitJob": 1,
    "FetchResult": 1,  # the first rows came with the answer to the wait
    "AckJob": 1,
}


@pytest.mark.parametrize(
    ("when", "kind"),
    _moments(REQUESTS, ("after", "CouplingChunk"), ("before", "FetchResult")),
)
def test_a_server_killed_in_mid_upload_or_mid_result(crashing, undisturbed, when, kind):
    crashing.start(when, kind, REQUESTS[kind])
    key, model = new_key(), big_model()
    with crashing.resurrected(), open_device(crashing.endpoint, timeout_s=30.0) as session:
        job = session.submit(model, **BIG, key=key)
        was_running = False
        try:
            np.testing.assert_array_equal(job.result(60.0).amplitudes, undisturbed)
        except DeviceRestartedError:
            was_running = True
        job.acknowledge()
    assert not was_running or kind in {"Sample", "WaitJob"}
    end = JobState.FAILED if was_running else JobState.DONE
    ran = crashing.has_run()
    assert ran == {5: 1} or (was_running and not ran)
    assert crashing.kept() == {job.id: end}


SENT = {"BeginCouplings": 1, "CouplingChunk": 3, "CommitCouplings": 1, "Sample": 1, "AckJob": 1}
TAKEN = {"ChunkTaken": 2, "CouplingsLoaded": 1, "JobStatus": 1, "ResultBatch": 1}


@slow
@pytest.mark.parametrize(
    "moment",
    [
        pytest.param((when, kind, str(number)), id=f"{when} {kind}")
        for when, kinds in (("after", SENT), ("before", TAKEN))
        for kind, number in kinds.items()
    ],
)
def test_a_client_killed_in_mid_upload_or_mid_result(crashing, undisturbed, moment):
    """Another one that submits the same with the same key gets the same job, as by its id."""
    crashing.start()
    key, model = new_key(), big_model()
    command = [sys.executable, "-m", "cim_crash", "use", crashing.endpoint, key, *moment]
    client = subprocess.run(command, check=False, stdout=subprocess.PIPE, text=True)
    assert client.returncode == -signal.SIGKILL
    with open_device(crashing.endpoint) as session:
        job = session.submit(model, **BIG, key=key)
        assert client.stdout.strip() in {"", job.id}
        if moment[1] != "AckJob":
            np.testing.assert_array_equal(job.result(30.0).amplitudes, undisturbed)
            np.testing.assert_array_equal(
                session.job(job.id, model).result().amplitudes, undisturbed
            )
            job.acknowledge()
        assert job.wait(10.0) is JobState.DONE
    assert crashing.has_run() == {5: 1}
    assert crashing.kept() == {job_id("anonymous", key): JobState.DONE}
