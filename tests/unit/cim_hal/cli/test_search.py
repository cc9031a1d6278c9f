"""Searches that end when their time is up, or are ended."""

from __future__ import annotations

import io
import time

import numpy as np
import pytest
from cim_machines import Adjustable, Patient
from delivering_machines import Delivering
from rich.console import Console

from cim_hal import IsingModel, PumpSchedule, open_device
from cim_hal.cli.search import KEPT_RUNS, Search, result_of, search_for
from cim_hal.errors import LockLostError

MODEL = IsingModel.from_couplings(np.ones((12, 12)) - np.eye(12))
PAIR = IsingModel.from_couplings([[0, 1], [1, 0]])
SILENT = Console(file=io.StringIO())


def test_counts_and_means_are_those_of_all_runs():
    with open_device(Adjustable()) as device:
        sets = [device.sample(MODEL, n_runs=300, seed=seed) for seed in range(6)]
    search = Search.begun(sets[0], 1.0)
    for number, samples in enumerate(sets[1:], start=2):
        search.add(samples, float(number))
    energies = np.concatenate([samples.energies for samples in sets])
    assert (search.n_jobs, search.n_runs) == (6, 1800)
    assert search.energy_sum == pytest.approx(energies.sum())
    assert search.samples.best_energy == energies.min()
    assert search.n_best == np.count_nonzero(energies == energies.min())
    np.testing.assert_array_equal(search.samples.energies, np.sort(energies)[:KEPT_RUNS])
    first = next(i for i, samples in enumerate(sets, 1) if samples.best_energy == energies.min())
    assert (search.best_job, search.best_after_s) == (first, float(first))
    assert search.samples.record == sets[first - 1].record


def test_a_search_ends_when_its_time_is_up_with_many_jobs():
    with open_device(Adjustable()) as device:
        started = time.monotonic()
        search = search_for(0.5, lambda i: device.submit(MODEL, n_runs=3, seed=i), SILENT)
        passed = time.monotonic() - started
    assert 0.5 <= passed < 5.0
    assert search.n_jobs > 1
    assert search.n_runs == 3 * search.n_jobs
    assert 0 < search.best_after_s <= passed


def test_the_job_that_runs_when_the_time_is_up_is_cancelled():
    pair = IsingModel.from_couplings([[0, 1], [1, 0]])
    with open_device(Patient()) as device:

        def submit(number: int):
            return device.submit(
                pair, PumpSchedule.constant(1.0, round_trips=60_000 if number else 10)
            )

        search = search_for(0.4, submit, SILENT)
        assert search.n_jobs == 1
        assert not search.was_interrupted


def test_the_first_job_is_waited_for():
    pair = IsingModel.from_couplings([[0, 1], [1, 0]])
    with open_device(Patient()) as device:
        schedule = PumpSchedule.constant(1.0, round_trips=300)
        search = search_for(0.01, lambda _: device.submit(pair, schedule), SILENT)
    assert search.n_jobs == 1


def test_an_interrupt_keeps_what_was_found_and_one_before_that_does_not():
    with open_device(Adjustable()) as device:

        def interrupted_at(job: int):
            def submit(number: int):
                if number == job:
                    raise KeyboardInterrupt
                return device.submit(MODEL, n_runs=3, seed=number)

            return submit

        search = search_for(60.0, interrupted_at(4), SILENT)
        assert search.was_interrupted
        assert search.n_jobs == 4
        with pytest.raises(KeyboardInterrupt):
            search_for(60.0, interrupted_at(0), SILENT)


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
        assert job.wait(30.0) == "cancelled"
