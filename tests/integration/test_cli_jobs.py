"""``cim-hal jobs``: what another process submitted is listed, waited for, fetched and let go of."""

from __future__ import annotations

import json
import subprocess
import sys
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pytest
from cim_machines import Annealer, Patient

from cim_hal import IsingModel, open_device
from cim_hal.model.files import read_model

if TYPE_CHECKING:
    from collections.abc import Callable

RING = "4 4\n1 2 1\n2 3 1\n3 4 1\n4 1 1\n"
PAIR = IsingModel.from_couplings([[0, 1], [1, 0]])
NOBODY = "0" * 32


@pytest.fixture
def jobs(run) -> Callable[..., tuple[int, str, str]]:
    """Runs the command on a server: exit status, what it printed, its complaint."""
    return partial(run, "jobs")


def _facts(answer: tuple[int, str, str]) -> list[dict]:
    status, out, err = answer
    assert (status, err) == (0, "")
    return json.loads(out)


@pytest.fixture
def busy(serving):
    """A server that runs one job and has another one wait: its endpoint, and their ids."""
    with serving(Patient()) as endpoint, open_device(endpoint) as session:
        running = session.submit(PAIR, n_runs=2, seed=1)
        waiting = session.submit(PAIR, n_runs=3, seed=2)
        yield endpoint, running.id, waiting.id


def test_list_shows_what_runs_and_what_waits(jobs, busy):
    endpoint, running, waiting = busy
    first, second = _facts(jobs(endpoint, "list", "--json"))
    assert (first["job"], first["state"], first["n_runs"]) == (running, "running", 2)
    assert (second["job"], second["state"], second["n_runs"]) == (waiting, "queued", 3)
    assert (second["owner"], second["keep"], second["reason"]) == ("anonymous", True, "")
    (only,) = _facts(jobs(endpoint, "list", "--state", "queued", "--json"))
    assert only["job"] == waiting
    assert len(_facts(jobs(endpoint, "list", "--owner", "anonymous", "--json"))) == 2
    assert _facts(jobs(endpoint, "list", "--owner", "alice", "--json")) == []
    _, out, _ = jobs(endpoint, "list")
    assert [word in out for word in (running[:12], waiting[:12], "running", "queued")] == [True] * 4


def test_show_and_wait_find_jobs_by_their_beginnings_and_tell_their_states(jobs, busy):
    endpoint, running, waiting = busy
    shown = _facts(jobs(endpoint, "show", running[:8], waiting, "--json"))
    assert [info["state"] for info in shown] == ["running", "queued"]
    (waited,) = _facts(jobs(endpoint, "wait", running[:8], "--timeout", "0.1", "--json"))
    assert waited["state"] == "running"


def test_cancel_ends_jobs_and_says_so(jobs, busy):
    endpoint, running, waiting = busy
    (ended,) = _facts(jobs(endpoint, "cancel", waiting, "--json"))
    assert (ended["state"], ended["reason"]) == ("cancelled", "job.cancelled")
    assert jobs(endpoint, "cancel", running[:8])[0] == 0
    (ended,) = _facts(jobs(endpoint, "wait", running, "--json"))
    assert (ended["state"], ended["reason"]) == ("cancelled", "job.cancelled")
    _, out, _ = jobs(endpoint, "list")
    assert out.count("job.cancelled") == 2


def test_a_result_is_fetched_let_go_of_and_gone(serving, jobs, tmp_path):
    graph, archive = tmp_path / "ring.txt", tmp_path / "samples.npz"
    graph.write_text(RING)
    model = read_model(graph).model
    with serving(Annealer()) as endpoint:
        with open_device(endpoint) as session:
            job = session.submit(model, n_runs=5, seed=3)
            expected = job.result()
        asked = ["result", job.id[:6], "--model", str(graph)]
        status, out, err = jobs(endpoint, *asked, "--out", str(archive), "--json")
        facts = json.loads(out)
        assert (status, err, facts["job"], facts["n_runs"]) == (0, "", job.id, 5)
        assert facts["energies"] == expected.energies.tolist()
        assert facts["record"]["device"] == "annealer"
        np.testing.assert_array_equal(np.load(archive)["spins"], expected.spins)
        assert jobs(endpoint, *asked)[1] == f"5 runs, best energy {expected.best_energy:g}\n"
        gone = {"job": job.id, "state": "done", "gone": True}
        assert _facts(jobs(endpoint, "ack", job.id[:6], "--json")) == [gone]
        assert _facts(jobs(endpoint, "list", "--json")) == []
        assert _facts(jobs(endpoint, "show", job.id, "--json")) == [gone]
        assert jobs(endpoint, "ack", job.id)[1] == f"{job.id}: done, its result is gone\n"
        status, _, err = jobs(endpoint, "result", job.id, "--model", str(graph))
        assert status == 1
        assert "the result was acknowledged, or has expired" in err


@pytest.mark.parametrize(
    ("arguments", "status", "sentence"),
    [
        (["list", "3f2a"], 2, "list takes no JOB"),
        (["wait"], 2, "wait needs a JOB"),
        (["result", "3f2a"], 2, "result needs one JOB and the --model that was submitted"),
        (["result", "a", "b", "--model", __file__], 2, "result needs one JOB"),
        (["show", "x"], 2, "0 of your jobs on the server begin with x"),
        (["cancel", ""], 2, "2 of your jobs on the server begin with"),
        (["cancel", NOBODY], 1, "the server does not know that job"),
        (["list", "--state", "asleep"], 2, "'asleep' is not one of"),
        (["show", "3f2a", "--state", "done"], 2, "--state is for list"),
        (["cancel", "3f2a", "--owner", "me"], 2, "--owner is for list"),
        (["list", "--out", "x.npz"], 2, "--out is for result"),
        (["ack", "3f2a", "--timeout", "1"], 2, "--timeout is for wait and result"),
        (["explode"], 2, "'explode' is not one of"),
    ],
)
def test_what_is_wrong_is_one_line_and_an_exit_status(jobs, busy, arguments, status, sentence):
    found, out, err = jobs(busy[0], *arguments)
    assert (found, out, err.count("\n")) == (status, "", 1)
    assert sentence in err


def test_a_result_that_is_not_there_in_time_is_an_error_and_the_job_goes_on(jobs, busy, tmp_path):
    endpoint, running, _ = busy
    pair, ring = tmp_path / "pair.npz", tmp_path / "ring.txt"
    np.savez(pair, J=PAIR.J)
    ring.write_text(RING)
    status, out, err = jobs(endpoint, "result", running, "--model", str(pair), "--timeout", "0.1")
    assert (status, out) == (1, "")
    assert "the job is still running after 0.1 s" in err
    assert _facts(jobs(endpoint, "show", running, "--json"))[0]["state"] == "running"
    status, out, err = jobs(endpoint, "result", running, "--model", str(ring))
    assert (status, out) == (2, "")
    assert "pass the model that was submitted" in err


SUBMIT = """
import sys
from cim_hal import IsingModel, open_device
with open_device(sys.argv[1]) as session:
    print(session.submit(IsingModel.from_couplings([[0, 1], [1, 0]]), n_runs=4, seed=5).id)
"""


@pytest.mark.slow
def test_a_job_of_a_process_that_is_gone_is_found_after_a_restart_of_the_server(cim_hal, jobs):
    server = cim_hal("serve", "cim_machines:Annealer")
    endpoint = server.stdout.readline().split()[-1]
    command = [sys.executable, "-c", SUBMIT, endpoint]
    job = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    assert _facts(jobs(endpoint, "wait", job[:8], "--json"))[0]["state"] == "done"
    server.terminate()
    assert server.wait(20) == 0
    server = cim_hal("serve", "cim_machines:Annealer", "--bind", endpoint)
    assert server.stdout.readline().split()[-1] == endpoint
    (info,) = _facts(jobs(endpoint, "list", "--json"))
    assert (info["job"], info["state"], info["n_runs"]) == (job, "done", 4)
