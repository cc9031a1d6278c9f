"""Inside the process of a driver: heartbeats, emergencies, and the end of its server."""

from __future__ import annotations

import re
import time

import pytest
from driver_processes import (
    LONG,
    PAIR,
    driver_of,
    driver_process,
    fault_of,
    is_alive,
    n_runs_of,
    wait_for,
)

from cim_hal import Program, Telemetry, lower, open_device
from cim_hal.protocol.effects import MakeSafe, Run
from cim_hal.server.executor import Executor

GRACE_S = 5.0  # after which a driver that heeds nothing is ended, and its machine made safe anew


@pytest.mark.slow
def test_a_driver_that_holds_the_interpreter_is_a_hang_and_says_where():
    with open_device(driver_process("Perilous", hang_s=3.0)) as device:
        fault = fault_of(device, 5)
        place = r"hung: no sign of life for 3 s, in \S+\.py line \d+ \(_hold_the_gil\)$"
        assert re.search(place, str(fault))
        assert "_hold_the_gil" in fault.details["stderr"]
        assert device.sample(PAIR, seed=0).best_energy == -1.0


def test_in_an_emergency_a_machine_that_heeds_nothing_is_made_safe_at_once(deaths, tmp_path):
    deaths()
    is_safe = tmp_path / "deaths.safe"
    executor = Executor(driver_process("Deaf", grace_s=GRACE_S), lambda: None)
    try:
        program = Program(lower(PAIR, executor.capabilities), LONG, n_runs=1, seed=0)
        executor.perform(Run("job", program))
        wait_for(lambda: any(isinstance(update, Telemetry) for update in executor.updates()))
        is_safe.unlink()
        executor.perform(MakeSafe())
        asked_at = time.monotonic()
        wait_for(is_safe.exists)
        assert time.monotonic() - asked_at < GRACE_S  # 0.2 s, on a machine that is not busy
    finally:
        executor.close()


@pytest.mark.parametrize("is_running", [pytest.param(False, marks=pytest.mark.slow), True])
def test_a_killed_server_leaves_no_orphan_and_the_machine_safe(
    cim_hal, deaths, tmp_path, is_running
):
    deaths()
    server = cim_hal("serve", "perilous_machines:Mortal")
    endpoint = server.stdout.readline().split()[-1]
    driver = driver_of(server.pid)
    with open_device(endpoint) as device:
        if is_running:
            device.submit(PAIR, LONG, n_runs=1000)
            wait_for(lambda: n_runs_of(device) == 1)
        (tmp_path / "deaths.safe").unlink()
        server.kill()
        server.wait()
        wait_for(lambda: not is_alive(driver))
    assert (tmp_path / "deaths.safe").exists()
