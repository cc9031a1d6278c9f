"""Kills of server and driver at random moments: no job twice, none lost, never two drivers at once.

Run with ``python benchmarks/bench_kills.py --kills 300``; ``--slow-disk 1.0`` makes each fsync of
the server a second longer (needs a C compiler), ``--helpers`` gives the driver two helper
processes, ``--hold 20`` lets one run in eight hold the interpreter in native code for 20 s. Clients
submit jobs with keys and submit them again when a server is gone. The driver is the witness: it
appends when it is opened, enters and leaves a run.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np

SUPPORT = Path(__file__).parents[1] / "tests" / "support"
sys.path.insert(0, str(SUPPORT))

from slow_disk import compiled  # noqa: E402

from cim_hal import CimError, IsingModel, JobError, PumpSchedule, open_device  # noqa: E402
from cim_hal.errors import DeviceError, DeviceRestartedError, DriverFaultError  # noqa: E402
from cim_hal.ownership import Process  # noqa: E402

PAIR = IsingModel.from_couplings([[0, 1], [1, 0]])
SHORT = PumpSchedule.constant(1.0, round_trips=30)  # milliseconds
N_CLIENTS = 4
LOST_S = 180.0  # of one server without an answer


class ServerUnderKills:
    """One server at a time, its clients, and what was seen."""

    def __init__(self, folder: Path, options: argparse.Namespace) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.endpoint = f"tcp://127.0.0.1:{free.getsockname()[1]}"
        self.folder, self.options = folder, options
        self.witness = folder / "witness"
        self.witness.touch()
        self.is_over = threading.Event()
        self.outcomes = Counter[str]()
        self.restart_s: list[float] = []
        self.together: set[tuple[int, ...]] = set()  # drivers seen alive at the same time
        self.helpers_left: set[int] = set()
        self._seeds = count(1)
        self._env = os.environ | {
            "PYTHONPATH": str(SUPPORT),
            "XDG_STATE_HOME": str(folder / "state"),
            "CIM_HAL_LOCKS": str(folder),
            "CIM_WITNESS": str(self.witness),
        }
        self._env["CIM_HOLD_S"] = str(options.hold)
        if options.helpers:
            self._env["CIM_HELPERS"] = "1"
        self.server: subprocess.Popen[str] | None = None
        self.ready_at = math.inf

    def start(self) -> None:
        """Start the server and wait until it is ready."""
        command = [sys.executable, "-m", "cim_hal.cli", "serve", "owned_machines:Owned"]
        command += ["--bind", self.endpoint, "--state", str(self.folder / "journal")]
        command += ["--driver-hang", "60"]
        preload = {"LD_PRELOAD": str(self._shim())} if self.options.slow_disk else {}
        began = time.monotonic()
        self.server = subprocess.Popen(
            command, env=self._env | preload, stdout=subprocess.PIPE, text=True
        )
        assert self.server.stdout is not None
        assert self.server.stdout.readline().startswith("ready"), "the server did not start"
        self.ready_at = time.monotonic()
        self.restart_s.append(self.ready_at - began)

    def _shim(self) -> Path:
        self._env["CIM_FSYNC_S"] = str(self.options.slow_disk)
        return compiled(self.folder)

    def lines(self) -> list[list[str]]:
        """Return what the drivers wrote."""
        return [line.split() for line in self.witness.read_text().splitlines()]

    def drivers(self) -> list[int]:
        """Return the drivers, in the order in which they were made."""
        return [int(words[1]) for words in self.lines() if words[0] == "open"]

    # ---- threads ------------------------------------------------------------------------------

    def watch(self) -> None:
        """Look for two drivers that are alive at once."""
        known: dict[int, Process | None] = {}
        while not self.is_over.wait(0.05):
            for pid in self.drivers():
                known.setdefault(pid, Process.of(pid))
            alive = tuple(pid for pid, process in known.items() if process and process.is_alive)
            if len(alive) > 1:
                self.together.add(alive)

    def submit(self) -> None:
        """Submit one job after the other, each until something definite became of it."""
        while not self.is_over.is_set():
            number = next(self._seeds)
            is_held = self.options.hold and number % 8 == 0
            seed = (10_000 + number) * 1000 + 100 * bool(is_held)
            self.outcomes[self.outcome(seed, secrets.token_hex(16))] += 1

    def outcome(self, seed: int, key: str) -> str:
        """Return what became of a job, which is submitted until that is known.

        It is lost where a server that lives long enough to answer does not.
        """
        began = time.monotonic()
        while time.monotonic() < max(began, self.ready_at) + LOST_S:
            try:
                with open_device(self.endpoint, timeout_s=20.0) as device:
                    job = device.submit(PAIR, SHORT, n_runs=2, seed=seed, key=key, keep=True)
                    amplitudes = np.asarray(job.result(60.0).amplitudes)
                    expected = np.random.default_rng(seed).standard_normal((2, 2))
                    # a sample set has its best run first
                    is_right = sorted(amplitudes.tolist()) == sorted(
                        expected.astype(np.float32).tolist()
                    )
                    return "done" if is_right else "WRONG"
            except (DeviceRestartedError, DriverFaultError) as error:
                return error.code
            except (CimError, JobError, DeviceError):
                time.sleep(0.1)
        return "LOST"


def kill_one(bench: ServerUnderKills, rng: random.Random) -> str:
    """Kill the server, and start the next one; or the driver that is alive."""
    time.sleep(rng.uniform(0.0, bench.options.pause))
    assert bench.server is not None
    whom = rng.choice(["server", "driver"])
    if whom == "driver":
        with suppress(ProcessLookupError, IndexError):
            os.kill(bench.drivers()[-1], signal.SIGKILL)
        return whom
    bench.ready_at = math.inf
    bench.server.kill()
    bench.server.wait()
    bench.start()
    return whom


def run(options: argparse.Namespace) -> dict[str, Any]:
    rng = random.Random(options.seed)
    with tempfile.TemporaryDirectory() as folder:
        bench = ServerUnderKills(Path(folder), options)
        began = time.monotonic()
        bench.start()
        threads = [threading.Thread(target=bench.submit) for _ in range(N_CLIENTS)]
        threads.append(threading.Thread(target=bench.watch))
        for thread in threads:
            thread.start()
        kills = Counter[str]()
        try:
            while kills.total() < options.kills:
                if time.monotonic() - began > options.minutes * 60:
                    break
                kills[kill_one(bench, rng)] += 1
        finally:
            bench.is_over.set()
            for thread in threads:
                thread.join()
            assert bench.server is not None
            bench.server.send_signal(signal.SIGTERM)
            bench.server.wait(60)
        return report(bench, kills, time.monotonic() - began)


def is_helper(pid: int) -> bool:
    """Whether a helper goes on: its number may be another process's by now."""
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False
    return b"sleep" in command


def report(bench: ServerUnderKills, kills: Counter[str], seconds: float) -> dict[str, Any]:
    lines = bench.lines()
    runs = Counter(words[2] for words in lines if words[0] == "enter")
    helpers = [int(words[1]) for words in lines if words[0] == "helper"]
    left = [pid for pid in helpers if is_helper(pid)]
    return {
        "kills": dict(kills),
        "seconds": round(seconds),
        "jobs": sum(bench.outcomes.values()),
        "outcomes": dict(bench.outcomes),
        "lost": bench.outcomes["LOST"],
        "wrong": bench.outcomes["WRONG"],
        "run twice": sum(n > 1 for n in runs.values()),
        "drivers": len(bench.drivers()),
        "drivers at once": len(bench.together) + n_late(lines),
        "helpers": len(helpers),
        "helpers left": len(left),
        "longest start, s": round(max(bench.restart_s), 1),
    }


def n_late(lines: list[list[str]]) -> int:
    """Return the runs that a driver entered or left after the next driver was opened."""
    opened: list[str] = []
    late = 0
    for what, pid, *_ in lines:
        if what == "open":
            opened.append(pid)
        elif what in {"enter", "leave"} and opened and pid != opened[-1]:
            late += 1
    return late


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=300)
    parser.add_argument("--minutes", type=float, default=60.0, help="stop after that time")
    parser.add_argument("--slow-disk", type=float, default=0.0, metavar="SECONDS")
    parser.add_argument("--helpers", action="store_true")
    parser.add_argument("--hold", type=int, default=0, metavar="SECONDS")
    parser.add_argument("--pause", type=float, default=2.0, help="longest time between two kills")
    parser.add_argument("--seed", type=int, default=1)
    found = run(parser.parse_args())
    print(json.dumps(found, indent=1))
    bad = ("lost", "wrong", "run twice", "drivers at once", "helpers left")
    return int(any(found[name] for name in bad))


if __name__ == "__main__":
    sys.exit(main())
