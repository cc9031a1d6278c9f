"""The process of a driver: how it ends, what is said of its end, and what is left of it."""

from __future__ import annotations

import os
import re
import signal
import threading
from pathlib import Path

import pytest
from driver_processes import PAIR, driver_of, driver_process, fault_of, is_alive, wait_for

from cim_hal import open_device


def test_a_crash_is_a_fault_with_signal_or_status_and_the_next_job_runs():
    with open_device(driver_process("Perilous")) as device:
        fault = fault_of(device, 1)
        assert fault.details["signal"] == "SIGSEGV"
        assert "Segmentation fault" in fault.details["stderr"]
        assert re.search(r"SIGSEGV, in \S+\.py line \d+ \(_segfault\) \(its last", str(fault))
        assert "_segfault" in fault.details["stderr"]  # all calls
        fault = fault_of(device, 2)
        assert fault.details["exit_status"] == 3
        assert "burnt a hole" in str(fault)
        assert device.sample(PAIR, seed=3).best_energy == -1.0  # prints 440 kB of garbage
        assert device.telemetry().driver.restarts == 2


@pytest.mark.slow
def test_a_driver_that_breaks_the_link_is_ended():
    with open_device(driver_process("Perilous")) as device:
        assert "did not keep to the format" in str(fault_of(device, 6))
        assert "closed its connection" in str(fault_of(device, 7))
        assert device.sample(PAIR, seed=0).best_energy == -1.0


def test_a_server_goes_on_after_its_driver_was_killed_and_ends_it_with_itself(cim_hal, deaths):
    deaths()
    server = cim_hal("serve", "perilous_machines:Mortal")
    endpoint = server.stdout.readline().split()[-1]
    with open_device(endpoint) as device:
        device.sample(PAIR)
        killed = driver_of(server.pid)
        os.kill(killed, signal.SIGKILL)
        wait_for(lambda: not Path(f"/proc/{killed}").exists())  # the server knows of it then
        assert device.sample(PAIR).best_energy == -1.0
    driver = driver_of(server.pid)
    server.send_signal(signal.SIGTERM)
    _, err = server.communicate(timeout=20)
    assert server.returncode == 0
    assert "the process of the driver was ended by SIGKILL" in err
    assert not is_alive(driver)


@pytest.mark.slow
def test_a_server_may_have_its_driver_in_its_own_process(cim_hal):
    server = cim_hal("serve", "cim_machines:Annealer", "--in-process")
    endpoint = server.stdout.readline().split()[-1]
    with open_device(endpoint) as device:
        assert device.sample(PAIR).best_energy == -1.0
    with pytest.raises(AssertionError, match="no child"):
        driver_of(server.pid)


@pytest.mark.slow
def test_restarts_leave_files_and_threads_as_they_were():
    """``benchmarks/soak_driver.py`` does so a thousand times, and looks at memory too."""

    def state() -> tuple[int, int]:
        device.sample(PAIR, seed=0)  # so that no process is being started
        return len(list(Path("/proc/self/fd").iterdir())), threading.active_count()

    with open_device(driver_process("Perilous")) as device:
        before = state()
        for _ in range(8):
            fault_of(device, 2)
        assert state() == before
