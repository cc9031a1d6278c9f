"""Proximal descent on images: what it reports, and what test images decide."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from trainings import SMALL, trained

from qnn_train.training import ProximalProblem


def best_of(run):
    return run.stepper.best.to_bits()


def test_a_run_says_what_it_did(pair, session):
    problem = ProximalProblem.of(replace(SMALL, validation=0.25), pair)
    outcome = trained(problem, session).outcome()
    report = outcome.report
    assert report.oracle_calls == 2 * report.steps == 6
    assert report.history.calls == [2, 4, 6]
    assert report.history.objective == sorted(report.history.objective, reverse=True)
    assert report.n_train + report.n_validation == len(pair.train)
    right = outcome.model.predict(pair.test.images) == np.where(pair.test.labels > 0, 6, 3)
    assert report.test_accuracy == right.mean()
    assert report.bits_per_parameter == (2 * 16 + 2 * 2) / (2 * 16 + 2)


def test_test_images_decide_nothing(pair, session):
    shuffled = replace(pair, test=pair.test.take(np.arange(5)))
    both = [trained(ProximalProblem.of(SMALL, p), session) for p in (pair, shuffled)]
    assert np.array_equal(*(best_of(run) for run in both))
