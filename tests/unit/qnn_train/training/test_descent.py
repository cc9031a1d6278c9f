"""When a descent ends, what of it is kept, and what it costs."""

from __future__ import annotations

from dataclasses import replace

from trainings import SMALL, losses_of, trained

from qnn_train.training import Cost, ProximalProblem


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
