from __future__ import annotations

import io

import pytest
from delivering_machines import Delivering
from rich.console import Console

from cim_hal import IsingModel, open_device
from cim_hal.cli.progress_bar import result_of
from cim_hal.errors import LockLostError

PAIR = IsingModel.from_couplings([[0, 1], [1, 0]])


def _console(*, is_terminal: bool) -> Console:
    return Console(file=io.StringIO(), force_terminal=is_terminal, width=100)


def test_a_terminal_shows_how_far_a_job_is():
    console = _console(is_terminal=True)
    with open_device(Delivering()) as device:
        job = device.submit(PAIR, n_runs=20, seed=1, settings={"pace": 0.15})
        samples = result_of(job, console, "sampling")
    assert len(samples) == 20
    assert "of 20 runs" in console.file.getvalue()
    assert "sampling" in console.file.getvalue()


def test_what_is_no_terminal_shows_nothing():
    console = _console(is_terminal=False)
    with open_device(Delivering()) as device:
        job = device.submit(PAIR, n_runs=20, seed=1)
        assert len(result_of(job, console, "sampling")) == 20
    assert console.file.getvalue() == ""


def test_a_job_that_fails_does_so_behind_its_bar_too():
    console = _console(is_terminal=True)
    with open_device(Delivering()) as device:
        job = device.submit(PAIR, n_runs=20, seed=1, settings={"lasts": 2})
        with pytest.raises(LockLostError):
            result_of(job, console, "sampling")


def test_an_interrupt_cancels_the_job(monkeypatch):
    with open_device(Delivering()) as device:
        job = device.submit(PAIR, n_runs=20, seed=1, settings={"pace": 5.0})

        def interrupted(*_):
            raise KeyboardInterrupt

        monkeypatch.setattr(job, "changes", interrupted)
        with pytest.raises(KeyboardInterrupt):
            result_of(job, _console(is_terminal=True), "sampling")
        assert job.wait(5.0) == "cancelled"
