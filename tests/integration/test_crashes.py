"""Servers and clients killed where it hurts, with real processes: nothing lost, nothing twice."""

from __future__ import annotations

import os
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
import pytest
from cim_crash import Witness

from cim_hal import IsingModel, PumpSchedule, TransportError, open_device
from cim_hal.client.requests import new_key
from cim_hal.errors import DeviceRestartedError, StorageError
from cim_hal.protocol.state import JobState

if TYPE_CHECKING:
    from pathlib import Path

PAIR = IsingModel.from_couplings([[0, 1], [1, 0]])
LONG = PumpSchedule.constant(1.0, round_trips=60_000)
N_JOBS = 4


class Crashing:
    """A server at one endpoint, started as often as need be on the same folder."""

    def __init__(self, folder: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.endpoint = f"tcp://127.0.0.1:{free.getsockname()[1]}"
        self.folder = folder / "state"
        self.witness = folder / "witness"
        self.process: subprocess.Popen[str] | None = None

    def start(self, when: str = "never", kind: str = "Accepted", number: int = 0) -> None:
        command = [sys.executable, "-m", "cim_crash", self.endpoint, str(self.folder)]
        self.process = subprocess.Popen(
            [*command, when, kind, str(number)],
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"CIM_WITNESS": str(self.witness)},
        )
        assert self.process.stdout.readline().startswith("ready")

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process.stdout.close()

    def has_run(self) -> Counter[int]:
        text = self.witness.read_text() if self.witness.exists() else ""
        return Counter(int(line) for line in text.split())


@pytest.fixture
def server(tmp_path):
    crashing = Crashing(tmp_path)
    yield crashing
    crashing.kill()


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    """What the jobs give where nothing fails."""
    before = os.environ.get("CIM_WITNESS")
    os.environ["CIM_WITNESS"] = str(tmp_path_factory.mktemp("expected") / "witness")
    try:
        with open_device(Witness()) as session:
            return {n: session.sample(PAIR, n_runs=2, seed=n).amplitudes for n in range(N_JOBS)}
    finally:
        os.environ.pop("CIM_WITNESS") if before is None else None


@contextmanager
def _resurrected(server: Crashing):
    """Start the server again once it has died."""

    def watch() -> None:
        server.process.wait()
        server.process.stdout.close()
        server.start()

    watcher = threading.Thread(target=watch)
    watcher.start()
    yield
    watcher.join(timeout=60.0)


SLOW = [
    pytest.param(when, kind, marks=pytest.mark.slow, id=f"{when} {kind}")
    for when in ("before", "after")
    for kind in ("Accepted", "Started", "Ended", "Dropped")
    if (when, kind) != ("after", "Started")
]


@pytest.mark.parametrize(
    ("when", "kind"), [pytest.param("after", "Started", id="after Started"), *SLOW]
)
def test_a_server_killed_at_any_record_loses_nothing_and_runs_nothing_twice(
    server, expected, when, kind
):
    server.start(when, kind, 2)
    keys = [new_key() for _ in range(N_JOBS)]
    found, restarted = {}, []
    with _resurrected(server), open_device(server.endpoint, timeout_s=30.0) as session:
        for seed, key in enumerate(keys):
            job = session.submit(PAIR, n_runs=2, seed=seed, key=key)
            try:
                found[seed] = job.result(60.0).amplitudes
                job.acknowledge()
            except DeviceRestartedError:
                restarted.append(seed)
        # A late duplicate of every submission: no job runs again.
        again = [session.submit(PAIR, n_runs=2, seed=s, key=key) for s, key in enumerate(keys)]
        states = [job.wait(10.0) for job in again]
    ran = server.has_run()
    assert max(ran.values()) == 1
    for seed, amplitudes in found.items():
        np.testing.assert_array_equal(amplitudes, expected[seed])
    for seed, state in enumerate(states):
        assert state is (JobState.FAILED if seed in restarted else JobState.DONE)
    # Only the job whose start was written when the server died may have failed.
    may_fail = (kind, when) in {("Started", "after"), ("Ended", "before")}
    assert len(restarted) == may_fail
    assert set(found) | set(restarted) == set(range(N_JOBS))


def test_jobs_that_wait_run_after_a_restart_for_whoever_asks(server, expected):
    server.start()
    with open_device(server.endpoint) as session:
        running = session.submit(PAIR, LONG, seed=99)
        waiting = [session.submit(PAIR, n_runs=2, seed=seed) for seed in range(N_JOBS)]
        instance = session._conversation.dialogue.welcome.instance
        while running.state is not JobState.RUNNING:
            time.sleep(0.01)
        server.kill()
        server.start()
        for seed, job in enumerate(waiting):  # the session goes on by itself
            np.testing.assert_array_equal(job.result(30.0).amplitudes, expected[seed])
        assert session._conversation.dialogue.welcome.instance != instance
        with pytest.raises(DeviceRestartedError):
            running.result(5.0)
    with open_device(server.endpoint) as other:
        infos = other.jobs()
        assert [info.state for info in infos] == ["failed"] + ["done"] * N_JOBS
        job = other.job(waiting[2].id, PAIR)
        np.testing.assert_array_equal(job.result().amplitudes, expected[2])
    assert server.has_run() == dict.fromkeys([99, *range(N_JOBS)], 1)


CLIENT = """
import sys
from cim_hal import IsingModel, open_device
from cim_hal.client.requests import new_key
pair = IsingModel.from_couplings([[0, 1], [1, 0]])
session = open_device(sys.argv[1])
job = session.submit(pair, n_runs=2, seed=0, key=sys.argv[2])
print(job.id, flush=True)
job.result()
sys.stdin.read()
"""


@pytest.mark.slow
@pytest.mark.parametrize("by_id", [True, False])
def test_the_job_of_a_client_that_was_killed_is_found_by_id_and_by_key(server, expected, by_id):
    server.start()
    key = new_key()
    client = subprocess.Popen(
        [sys.executable, "-c", CLIENT, server.endpoint, key], stdout=subprocess.PIPE, text=True
    )
    with client:
        job_id = client.stdout.readline().strip()
        client.kill()  # mid-wait
    with open_device(server.endpoint) as session:
        request = {"n_runs": 2, "seed": 0, "key": key}
        job = session.job(job_id, PAIR) if by_id else session.submit(PAIR, **request)
        assert job.id == job_id
        np.testing.assert_array_equal(job.result(30.0).amplitudes, expected[0])
    assert server.has_run() == {0: 1}


@pytest.mark.slow
def test_a_server_killed_in_mid_upload_and_mid_result_is_none_the_wiser(server, tmp_path):
    upper = np.triu(np.random.default_rng(0).normal(size=(1000, 1000)), 1)
    model = IsingModel.from_couplings(upper + upper.T)
    server.start()
    with open_device(server.endpoint, timeout_s=30.0) as session:
        killer = threading.Timer(0.05, server.process.kill)
        with _resurrected(server):
            killer.start()
            job = session.submit(model, n_runs=300, seed=5)
            first = job.result(60.0)
        killer.join()
        killer = threading.Timer(0.002, server.process.kill)
        with _resurrected(server):
            killer.start()
            again = session.job(job.id, model).result(60.0)
        killer.join()
        np.testing.assert_array_equal(first.amplitudes, again.amplitudes)
    assert server.has_run() == {5: 1}


def test_a_full_disk_is_a_clear_error_and_the_service_resumes(server, expected):
    """The limit on the size of files stands for a full disk: writes fail, reads do not."""
    server.start()
    pid = server.process.pid
    with open_device(server.endpoint) as session:
        np.testing.assert_array_equal(
            session.sample(PAIR, n_runs=2, seed=0).amplitudes, expected[0]
        )
        _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (1, hard))
        with pytest.raises(StorageError, match="cannot write to its disk"):
            session.submit(PAIR, n_runs=2, seed=1, timeout_s=1.0)
        assert session.describe().busy is False
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (hard, hard))
        found = session.sample(PAIR, n_runs=2, seed=1)
        np.testing.assert_array_equal(found.amplitudes, expected[1])


@pytest.mark.slow
def test_no_file_descriptors_left_is_no_end_of_the_service(server, expected):
    server.start()
    pid = server.process.pid
    with open_device(server.endpoint, timeout_s=10.0) as session:
        session.load(PAIR)
        soft, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (3, hard))  # none more can be opened
        job = session.submit(PAIR, n_runs=2, seed=0)
        with pytest.raises(TransportError):
            open_device(server.endpoint, timeout_s=0.5)
        assert session.describe().capabilities.name == "witness"
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (soft, hard))
        job.wait(20.0)
        np.testing.assert_array_equal(
            session.sample(PAIR, n_runs=2, seed=1).amplitudes, expected[1]
        )
    with open_device(server.endpoint) as another:
        assert another.describe().capabilities.name == "witness"


@pytest.mark.slow
def test_a_server_that_is_told_to_end_keeps_what_waits(server, expected):
    server.start()
    with open_device(server.endpoint) as session:
        session.submit(PAIR, LONG, seed=99)
        waiting = session.submit(PAIR, n_runs=2, seed=1)
    server.process.send_signal(signal.SIGTERM)
    assert server.process.wait(20.0) == 0
    server.process.stdout.close()
    server.start()
    with open_device(server.endpoint) as session:
        job = session.job(waiting.id, PAIR)
        np.testing.assert_array_equal(job.result(30.0).amplitudes, expected[1])
