from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import processes
import pytest
from cassettes import sample
from cim_crash import Witness
from cim_machines import Annealer
from crashing import N_JOBS, Crashing

from cim_hal import IsingModel, console, open_device
from cim_hal.cassette import Recorder
from cim_hal.cli.app import program
from cim_hal.server.router import Router

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import numpy as np

    from cim_hal import Driver

SUPPORT = Path(__file__).parents[1] / "support"


@contextmanager
def serving(driver: Driver, **options) -> Iterator[str]:
    """A server with real sockets, in a thread of this process."""
    with Router(driver, **options) as router:
        thread = threading.Thread(target=router.serve)
        thread.start()
        try:
            yield router.endpoint
        finally:
            router.stop()
            thread.join()


@pytest.fixture(name="serving")
def _serving() -> Callable[..., object]:
    return serving


@pytest.fixture(autouse=True)
def _machines_for_processes(monkeypatch, tmp_path):
    """Let servers in processes of their own find the machines, and keep their jobs apart."""
    monkeypatch.setenv("PYTHONPATH", str(SUPPORT))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("CIM_HAL_LOCKS", str(tmp_path))


@pytest.fixture
def cim_hal() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts the command in a process of its own; what still runs at the end is killed."""
    started: list[subprocess.Popen[str]] = []

    def start(*arguments: str) -> subprocess.Popen[str]:
        process = processes.start(
            [sys.executable, "-W", "error", "-m", "cim_hal.cli", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"COLUMNS": "100"},
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture
def run(capsys, monkeypatch) -> Iterator[Callable[..., tuple[int, str, str]]]:
    """Runs the command in this process; returns its exit status, its output and its error text.

    Handlers of signals and of the log are restored at the end.
    """
    monkeypatch.setenv("COLUMNS", "120")
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    on_signal = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def run(*arguments: str) -> tuple[int, str, str]:
        capsys.readouterr()
        status = console.run(program, arguments)
        return status, *capsys.readouterr()

    yield run
    root.handlers[:] = handlers
    root.setLevel(level)
    for number, handler in on_signal.items():
        signal.signal(number, handler)


@pytest.fixture
def crashing(tmp_path) -> Iterator[Crashing]:
    """A server that may be killed and started again; not started yet."""
    server = Crashing(tmp_path)
    yield server
    server.kill()


@pytest.fixture
def expected(monkeypatch, tmp_path) -> dict[int, np.ndarray]:
    """Amplitudes by seed of the jobs of a pair, two runs each, where nothing fails."""
    monkeypatch.setenv("CIM_WITNESS", str(tmp_path / "expected"))
    pair = IsingModel.from_couplings([[0, 1], [1, 0]])
    with open_device(Witness()) as session:
        return {n: session.sample(pair, n_runs=2, seed=n).amplitudes for n in range(N_JOBS)}


@pytest.fixture
def deaths(tmp_path, monkeypatch) -> Callable[..., object]:
    """Writes where the next drivers are to die."""
    path = tmp_path / "deaths"
    monkeypatch.setenv("CIM_DEATHS", str(path))
    return lambda *wheres: path.write_text("\n".join(wheres))


@pytest.fixture(name="cassette")
def cassette_fixture(serving, tmp_path):
    """A session of one job with an `Annealer`, in a file, and its samples."""
    path = tmp_path / "session.cassette"
    with serving(Annealer()) as endpoint, Recorder(endpoint, path) as recorder:
        samples = sample(recorder.endpoint)
    return path, samples
