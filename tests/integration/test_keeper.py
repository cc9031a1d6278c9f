"""Nothing that a driver started outlives it, however it ends."""

from __future__ import annotations

import os
import signal
import time

import pytest
from driver_processes import PAIR, driver_of, is_alive, wait_for

from cim_hal import open_device
from cim_hal.errors import DriverFaultError

TARGET = "owned_machines:Owned"


@pytest.fixture
def helpers(tmp_path, monkeypatch):
    """The helper processes that drivers started so far."""
    path = tmp_path / "witness"
    monkeypatch.setenv("CIM_WITNESS", str(path))
    monkeypatch.setenv("CIM_HELPERS", "1")
    lines = lambda: [line.split() for line in path.read_text().splitlines()]  # noqa: E731
    return lambda: [int(words[1]) for words in lines() if words[0] == "helper"]


@pytest.mark.parametrize(
    ("number", "whose"),
    [
        (signal.SIGSEGV, "driver"),
        pytest.param(signal.SIGKILL, "driver", marks=pytest.mark.slow),
        pytest.param(signal.SIGKILL, "keeper", marks=pytest.mark.slow),
        pytest.param(signal.SIGSEGV, "keeper", marks=pytest.mark.slow),
    ],
)
def test_helpers_end_with_a_driver_that_crashed_and_the_next_job_runs(
    cim_hal, helpers, tmp_path, number, whose
):
    server = cim_hal("serve", TARGET, "--no-journal")
    endpoint = server.stdout.readline().split()[-1]
    keeper = driver_of(server.pid)
    with open_device(endpoint, timeout_s=60.0) as device:
        device.sample(PAIR, seed=1)
        first = helpers()
        assert len(first) == 2
        assert all(map(is_alive, first))
        job = device.submit(PAIR, seed=2060)
        wait_for(lambda: "2060" in (tmp_path / "witness").read_text())
        os.kill(keeper if whose == "keeper" else driver_of(keeper), number)
        began = time.monotonic()
        with pytest.raises(DriverFaultError) as caught:
            job.result(60.0)
        assert caught.value.details["signal"] == number.name
        device.sample(PAIR, seed=1)
        assert time.monotonic() - began < 50.0  # 2 s on a machine that is not busy
        # The one without its parent's environment is found by its keeper alone.
        left = [pid for pid in first if is_alive(pid)]
        assert left == ([] if whose == "driver" else left[-1:])
        for pid in left:
            os.kill(pid, signal.SIGKILL)
    server.send_signal(signal.SIGTERM)
    assert server.wait(50.0) == 0
    assert not any(map(is_alive, helpers()))


def test_helpers_end_with_a_killed_server(cim_hal, helpers):
    server = cim_hal("serve", TARGET, "--no-journal")
    server.stdout.readline()
    keeper = driver_of(server.pid)
    server.kill()
    wait_for(lambda: not is_alive(keeper))
    assert len(helpers()) == 2
    assert not any(map(is_alive, helpers()))
