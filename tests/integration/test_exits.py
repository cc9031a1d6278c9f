"""A program ends within seconds, however it ends, whatever its threads are waiting for."""

from __future__ import annotations

import signal
import subprocess
import sys

import processes
import pytest

SCRIPT = """
import sys, threading, time
import numpy as np
from cim_hal import IsingModel, PumpSchedule, open_device

work, end, target = sys.argv[1:]
session = open_device(target)
n = 1000 if work == "uploading" else 3
long = PumpSchedule.linear(0, 1, round_trips=60_000)

def model():
    upper = np.triu(np.random.default_rng().normal(size=(n, n)), 1)
    return IsingModel.from_couplings(upper + upper.T)

def run():
    while work == "uploading":
        session.load(model())
    session.sample(model(), long, n_runs=2000)

threading.Thread(target=run, daemon=True).start()
time.sleep(2.0)
print("end", flush=True)
if end == "exception":
    raise ValueError("the script is wrong")
if end == "exit":
    sys.exit(3)
if end != "return":
    time.sleep(600)
"""
ENDS = {"return": 0, "exception": 1, "exit": 3, "SIGTERM": -signal.SIGTERM, "SIGINT": 1}


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize(
    "work",
    [
        pytest.param("sampling", marks=pytest.mark.slow),
        pytest.param("waiting", marks=pytest.mark.slow),
        pytest.param("uploading", marks=pytest.mark.slow),
    ],
)
def test_a_program_ends_while_a_thread_works(cim_hal, work, end):
    target = "emulator"
    if work != "sampling":
        server = cim_hal("serve", "cim_machines:Patient", "--no-journal")
        target = server.stdout.readline().split()[-1]
    script = processes.start(
        [sys.executable, "-c", SCRIPT, work, end, target],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert script.stdout.readline() == "end\n"
        if end.startswith("SIG"):
            script.send_signal(signal.Signals[end])
        script.wait(30.0)  # 1 s on a machine that is not busy
        status = script.returncode
        assert status == ENDS[end] or (end == "SIGINT" and status == -signal.SIGINT)
    finally:
        script.kill()
        script.communicate()
