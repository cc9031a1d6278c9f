"""When a descent ends, what of it is kept, and what it costs."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cim_hal import open_device
from qnn_train import load_digits
from qnn_train.training import (
    Cost,
    ProximalProblem,
    ProximalRecipe,
    TrainingRun,
)

SMALL = ProximalRecipe(sweeps=3, hidden=2, n_runs=4, round_trips=100, ladder=(0.1, 1.0))


@pytest.fixture(scope="module")
def pair():
    return load_digits().pair(3, 6)


@pytest.fixture(scope="module")
def session():
    with open_device("emulator-dsb") as opened:
        yield opened


def trained(problem, session, *, steps=None, resume=None):
    run = TrainingRun(problem, session, resume=resume)
    for step in run:
        if step.state.step == steps:
            break
    return run


def losses_of(run):
    return run.checkpoint().history.objective


def test_patience_ends_a_descent_that_gains_nothing(pair, session):
    patient = trained(ProximalProblem.of(replace(SMALL, sweeps=40, patience=2), pair), session)
    assert patient.stepper.state.step == patient.stepper._at.best.step + 2 < 40


def test_restarts_keep_the_best_of_all(pair, session):
    problem = ProximalProblem.of(replace(SMALL, starts=3), pair)
    losses = losses_of(trained(problem, session))
    assert len(losses) == 9
    assert list(losses) == sorted(losses, reverse=True)


def test_the_cost_is_what_the_run_then_takes(pair, session):
    problem = ProximalProblem.of(SMALL, pair)
    cost = Cost.of(problem, session.capabilities)
    report = trained(problem, session).outcome().report
    assert cost.calls == report.oracle_calls
    assert cost.runs == report.oracle_calls * report.runs_per_call
    assert cost.spins == report.spins + session.capabilities.field_spins
    assert cost.bits_per_parameter == report.bits_per_parameter
