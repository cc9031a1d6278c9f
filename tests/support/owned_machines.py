"""A machine of hardware, as far as locks go, that says who uses it and when; with helpers.

Each run appends ``enter PID SEED`` and ``leave PID SEED`` to the file ``CIM_WITNESS``. The seed
also chooses what a run does: 1000 + s holds the interpreter in native code for s seconds, 2000 + s
sleeps and does not heed a stop, 3000 stops its own process; from 10 million on one that ends in
100 holds the interpreter for ``CIM_HOLD_S`` seconds. With ``CIM_HELPERS`` the driver starts
two helper processes that outlive it if they may, one of them a daemon with nothing of its parent,
and appends ``helper PID``.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time

import numpy as np

from cim_hal import (
    Calibration,
    Capabilities,
    Driver,
    JobCancelledError,
    Program,
    Readout,
    StopToken,
)

DAEMON = """
import os, sys, time
if os.fork(): os._exit(0)
os.setsid()
if os.fork(): os._exit(0)
os.environ.clear()
print(os.getpid(), flush=True)
os.close(1)  # but not stderr
os.execve("/bin/sleep", ["sleep", "600"], {})
"""


def say(*words: object) -> None:
    """Append a line to the witness, in one write."""
    fd = os.open(os.environ["CIM_WITNESS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(fd, (" ".join(map(str, words)) + "\n").encode())
    os.close(fd)


class Owned(Driver):
    """Normal numbers from the seed."""

    def __init__(self) -> None:
        say("open", os.getpid())
        if os.environ.get("CIM_HELPERS"):
            sleeper = subprocess.Popen(["/bin/sleep", "600"])
            daemon = subprocess.run([sys.executable, "-c", DAEMON], stdout=-1, check=True)
            say("helper", sleeper.pid)
            say("helper", int(daemon.stdout))

    def describe(self) -> Capabilities:
        return Capabilities(
            name="owned", max_spins=8, coupling_bits=8, reports_amplitudes=True, reproducible=True
        )

    def run(self, program: Program, stop: StopToken) -> Readout:
        say("enter", os.getpid(), program.seed)
        kind, seconds = divmod(program.seed, 1000)
        match kind:
            case 1:
                ctypes.PyDLL(None).sleep(seconds)
            case 2:
                time.sleep(seconds)
            case _ if kind >= 10_000 and seconds == 100:
                ctypes.PyDLL(None).sleep(int(os.environ["CIM_HOLD_S"]))
            case 3:
                os.kill(os.getpid(), signal.SIGSTOP)
            case _:
                for _ in range(program.schedule.round_trips):
                    if stop.is_set():
                        break
                    time.sleep(0.001)
        say("leave", os.getpid(), program.seed)
        shape = (program.n_runs, program.n_spins)
        return Readout(np.random.default_rng(program.seed).standard_normal(shape))

    def calibrate(self, stop: StopToken) -> Calibration:
        say("calibrate", os.getpid(), 0)
        for _ in range(1000):
            if stop.is_set():
                raise JobCancelledError("stopped")
            time.sleep(0.001)
        return Calibration(valid_s=60.0)

    def safe(self) -> None:
        say("safe", os.getpid())
