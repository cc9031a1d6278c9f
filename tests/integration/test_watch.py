"""Watching a real server in a process of its own: its log and its metrics."""

from __future__ import annotations

import json
import signal
import time
from urllib.request import urlopen

import pytest

from cim_hal import DeviceError, IsingModel, open_device

PAIR = IsingModel.from_couplings([[0, 1], [1, 0]])


@pytest.fixture
def serve(cim_hal):
    """Starts a server; returns its process and endpoint."""

    def start(*arguments: str):
        process = cim_hal("serve", *arguments)
        return process, process.stdout.readline().split()[-1]

    return start


def _lines_about(job: str, log: str) -> list[str]:
    return [line for line in log.splitlines() if job in line]


def test_the_life_of_a_job_can_be_followed_by_its_id(serve):
    process, endpoint = serve("cim_machines:Faulty", "--log-format", "json", "--log-level", "debug")
    with open_device(endpoint) as device:
        good, bad = device.submit(PAIR, seed=9), device.submit(PAIR, seed=0)
        good.result()
        with pytest.raises(DeviceError):
            bad.result()
    process.send_signal(signal.SIGTERM)
    _, log = process.communicate(timeout=20)
    for job, end in ((good, "done"), (bad, "failed")):
        lines = [json.loads(line) for line in _lines_about(job.id, log)]
        assert {line["job"] for line in lines} == {job.id}
        events = [line["event"] for line in lines if "event" in line]
        assert events == ["job", "job started", "job ended"]
        ended = next(line for line in lines if line.get("event") == "job ended")
        assert ended["state"] == end
        assert "job.wait" in [line["message"] for line in lines if "message" in line]
        accepted = next(line for line in lines if line.get("event") == "job")
        assert (accepted["user"], len(accepted["session"])) == ("anonymous", 8)
        assert bytes.fromhex(accepted["peer"])
    failed = next(line for line in _lines_about(bad.id, log) if "Traceback" in line)
    assert "the laser is off" in failed  # as the driver's own process saw it


def test_the_same_for_people(serve):
    process, endpoint = serve("cim_machines:Annealer", "--log-level", "info")
    with open_device(endpoint) as device:
        job = device.submit(PAIR, n_runs=3)
        job.result()
    process.send_signal(signal.SIGTERM)
    _, log = process.communicate(timeout=20)
    accepted, started, ended = _lines_about(job.id, log)
    assert " INFO job peer=" in accepted
    assert "n_runs=3" in accepted
    assert " INFO job started " in started
    assert "state=done" in ended


def test_prometheus_finds_what_the_client_did(serve):
    process, endpoint = serve("cim_machines:Annealer", "--metrics", "127.0.0.1:0")
    url = process.stderr.readline().split()[-1]
    with open_device(endpoint) as device:
        device.sample(PAIR, n_runs=3)
        counted = device.metrics()
    assert counted.value("runs_total") == 3.0
    assert counted.value("bytes_total", direction="in") > 0
    for name in ("server", "driver"):
        assert counted.value("memory_bytes", process=name) > 10e6
    for _ in range(100):
        with urlopen(url, timeout=10) as answer:
            text = answer.read().decode()
        if "cim_hal_runs_total 3.0" in text:
            break
        time.sleep(0.05)  # the server posts twice a second
    assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    assert "cim_hal_runs_total 3.0" in text
    assert 'cim_hal_requests_total{outcome="ok",type="sample"} 1.0' in text
    process.send_signal(signal.SIGTERM)
    assert process.communicate(timeout=20)[1] == ""


def test_metrics_are_not_for_other_machines_unless_that_is_said(run):
    status, out, err = run("serve", "cim_machines:Annealer", "--metrics", "0.0.0.0:0")
    assert (status, out, len(err.splitlines())) == (2, "", 1)
    assert "open to other machines" in err
