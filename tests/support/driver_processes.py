"""Drivers of `perilous_machines` in processes of their own, and what can be seen of them."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from cim_hal import IsingModel, PumpSchedule
from cim_hal.errors import DriverFaultError
from cim_hal.server.driver.process import DriverProcess
from cim_hal.server.driver.supervisor import Backoff, DriverOptions

PAIR = IsingModel.from_couplings([[0, 1], [1, 0]])
LONG = PumpSchedule.linear(0.0, 2.0, round_trips=100_000)
QUICK = DriverOptions(grace_s=0.5, backoff=Backoff(0.01, 0.1, broken_after=3))


def driver_process(name: str, **options) -> DriverProcess:
    """Return a driver in a process that is soon given up and soon started anew."""
    chosen = DriverOptions(**({"grace_s": 0.5, "backoff": QUICK.backoff} | options))
    return DriverProcess(f"perilous_machines:{name}", options=chosen)


def fault_of(device, seed: int) -> DriverFaultError:
    """Return the fault with which a sample ends."""
    with pytest.raises(DriverFaultError) as caught:
        device.sample(PAIR, seed=seed)
    return caught.value


def n_runs_of(device) -> int | None:
    """Return what the machine last said of the number of its runs; it does so in their midst."""
    telemetry = device.telemetry().telemetry
    return telemetry and telemetry["runs"].value


def wait_for(condition, seconds: float = 60.0) -> None:
    """Wait until a condition holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def is_alive(pid: int) -> bool:
    """Return whether a process runs; one that has ended and was not waited for does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def driver_of(server: int) -> int:
    """Return the process of the driver of a server."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[1]) == server:
                return int(entry.name)
    raise AssertionError("the server has no child")
