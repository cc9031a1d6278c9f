"""Servers that are told to end: what ends in time is kept, what has not begun waits."""

from __future__ import annotations

import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from driver_processes import PAIR, driver_of, is_alive, wait_for

from cim_hal import PumpSchedule, open_device
from cim_hal.client.options import Retries
from cim_hal.errors import DeviceRestartedError, UnavailableError

TARGET = "owned_machines:Owned"


@pytest.fixture
def entered(tmp_path, monkeypatch):
    """The seeds of the runs that began."""
    path = tmp_path / "witness"
    monkeypatch.setenv("CIM_WITNESS", str(path))
    lines = lambda: [line.split() for line in path.read_text().splitlines()]  # noqa: E731
    return lambda: [int(words[2]) for words in lines() if words[0] == "enter"]


@pytest.fixture
def serve(cim_hal, tmp_path):
    """Starts a server, always with the same journal; returns its process and endpoint."""

    def start(*options):
        server = cim_hal("serve", TARGET, "--state", str(tmp_path / "journal"), *options)
        return server, server.stdout.readline().split()[-1]

    return start


def lasting(seconds: float) -> PumpSchedule:
    return PumpSchedule.constant(1.0, round_trips=int(1000 * seconds))


def submit_for_ever(device) -> None:
    while True:
        device.submit(PAIR, lasting(0.01), seed=2)


def end(server, number=signal.SIGTERM) -> float:
    """Tell a server to end; return the seconds that it took."""
    began = time.monotonic()
    server.send_signal(number)
    assert server.wait(100.0) == 0
    return time.monotonic() - began


@pytest.mark.parametrize(
    "number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow)]
)
def test_a_run_that_ends_soon_keeps_its_result_and_the_rest_waits(serve, entered, number):
    server, endpoint = serve()
    with open_device(endpoint, retries=Retries(limit=0)) as device:
        running = device.submit(PAIR, lasting(1.0), seed=1, keep=True)
        waiting = [device.submit(PAIR, lasting(0.01), seed=seed, keep=True) for seed in (2, 3)]
        wait_for(lambda: entered() == [1])
        server.send_signal(number)
        wait_for(lambda: server.poll() is not None)
    assert server.returncode == 0
    assert entered() == [1]
    _, endpoint = serve()
    with open_device(endpoint) as device:
        for job in (running, *waiting):
            device.job(job.id, PAIR).result(60.0)
    assert entered() == [1, 2, 3]


def test_a_server_that_is_about_to_end_takes_no_new_jobs(serve, entered):
    server, endpoint = serve()
    with open_device(endpoint, retries=Retries(limit=0)) as device:
        device.submit(PAIR, lasting(4.0), seed=1)
        wait_for(lambda: entered() == [1])
        server.send_signal(signal.SIGTERM)
        with pytest.raises(UnavailableError, match="about to end") as caught:
            submit_for_ever(device)
        assert caught.value.retryable
        server.send_signal(signal.SIGTERM)  # again: at once
        assert server.wait(50.0) == 130


@pytest.mark.slow
def test_drain_finishes_the_queue(serve, entered):
    server, endpoint = serve("--drain", "60")
    with open_device(endpoint) as device:
        jobs = [device.submit(PAIR, lasting(0.5), seed=seed, keep=True) for seed in range(6)]
        wait_for(lambda: entered() == [0])
    end(server)
    assert entered() == [0, 1, 2, 3, 4, 5]
    _, endpoint = serve()
    with open_device(endpoint) as device:
        assert [info.state for info in device.jobs()] == ["done"] * 6
        assert {info.job for info in device.jobs()} == {job.id for job in jobs}


@pytest.mark.slow
def test_a_run_that_ends_too_late_is_not_run_again(serve, entered):
    server, endpoint = serve("--driver-grace", "1")
    with open_device(endpoint) as device:
        running = device.submit(PAIR, seed=2060, keep=True)  # sleeps a minute, heeds no stop
        wait_for(lambda: entered() == [2060])
    assert end(server) < 50.0  # 7 s on a machine that is not busy
    _, endpoint = serve()
    with open_device(endpoint) as device, pytest.raises(DeviceRestartedError):
        device.job(running.id, PAIR).result(30.0)


@pytest.mark.slow
def test_a_job_whose_driver_is_being_restarted_waits_for_the_next_server(serve, entered):
    server, endpoint = serve()
    with open_device(endpoint) as device:
        device.sample(PAIR, lasting(0.01), seed=1)
        driver = driver_of(driver_of(server.pid))
        os.kill(driver, signal.SIGKILL)
        wait_for(lambda: not is_alive(driver))
        job = device.submit(PAIR, lasting(0.01), seed=2, keep=True)
        server.send_signal(signal.SIGTERM)
        assert server.wait(100.0) == 0
    done_already = 2 in entered()
    _, endpoint = serve()
    with open_device(endpoint) as device:
        device.job(job.id, PAIR).result(30.0)
    assert entered() == [1, 2], done_already


@pytest.mark.slow
@pytest.mark.usefixtures("entered")
def test_a_calibration_that_ends_soon_is_waited_for(serve, tmp_path):
    server, endpoint = serve("--calibrations", str(tmp_path / "calibrations"))
    with open_device(endpoint) as device, ThreadPoolExecutor() as threads:
        calibrating = threads.submit(device.calibrate)
        wait_for(lambda: "calibrate" in (tmp_path / "witness").read_text())
        end(server)
        calibrating.exception(30.0)  # the record is asked for in another message
    _, endpoint = serve("--calibrations", str(tmp_path / "calibrations"))
    with open_device(endpoint) as device:
        assert device.calibration().calibration.valid_s == 60.0
