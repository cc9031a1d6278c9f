"""Assertions about success: what they refuse, and how often they are wrong."""

from __future__ import annotations

import numpy as np
import pytest

from cim_hal import IsingModel, open_device
from cim_hal.model.record import Diversity
from cim_hal.study import (
    assert_degrades_less_than,
    assert_success,
    assert_success_probability,
)

PAIR = IsingModel.from_couplings([[0, 1], [1, 0]])


class Runs:
    """Runs of which some reach the energy -1."""

    def __init__(self, successes: int, runs: int, configurations: int = 2) -> None:
        self.energies = np.where(np.arange(runs) < successes, -1.0, 1.0)
        self.diversity = Diversity(configurations=configurations, energies=2, effective_runs=1.0)
        self.record = self
        self.seed, self.device, self.settings = 3, "bench", {}

    def reached(self, energy: float) -> np.ndarray:
        return self.energies <= energy


def test_few_successes_fail_only_where_they_show_it():
    assert_success_probability(Runs(40, 100), -1, at_least=0.5)
    with pytest.raises(AssertionError, match=r"20 of 100 .* less than 0\.5 .* seed 3 on bench"):
        assert_success_probability(Runs(20, 100), -1, at_least=0.5)
    with pytest.raises(AssertionError, match="they may be copies"):
        assert_success_probability(Runs(0, 100, configurations=1), -1, at_least=0.5)


def test_a_loss_fails_only_where_it_is_shown():
    assert_degrades_less_than(Runs(900, 1000), Runs(850, 1000), -1, loss=0.1)
    with pytest.raises(AssertionError, match=r"the loss is more than 0\.1"):
        assert_degrades_less_than(Runs(900, 1000), Runs(500, 1000), -1, loss=0.1)


@pytest.mark.parametrize("wrong", [{"at_least": 1.1}, {"at_least": 0.5, "confidence": -1}])
def test_probabilities_out_of_range_are_refused(wrong):
    with pytest.raises(ValueError, match=r"must be (from|between) 0 (to|and) 1"):
        assert_success_probability(Runs(1, 2), -1, **wrong)
    with pytest.raises(ValueError, match="margin"):
        assert_success(lambda _: Runs(1, 2), -1, at_least=0.05)


def test_few_runs_that_could_not_fail_are_refused_with_the_runs_it_takes():
    with pytest.raises(ValueError, match="it takes 52 or more"):
        assert_success_probability(Runs(0, 51), -1, at_least=0.2)
    with pytest.raises(AssertionError, match="0 of 52"):
        assert_success_probability(Runs(0, 52), -1, at_least=0.2)
    with pytest.raises(ValueError, match="it takes 43 or more of each"):
        assert_degrades_less_than(Runs(42, 42), Runs(0, 42), -1, loss=0.5)
    with pytest.raises(AssertionError, match="the loss is more"):
        assert_degrades_less_than(Runs(43, 43), Runs(0, 43), -1, loss=0.5)
    with pytest.raises(ValueError, match="it takes"):
        assert_success(lambda _: Runs(0, 2), -1, at_least=0.2, max_jobs=1)
    for vacuous in ({"at_least": 0}, {"at_least": 0.5, "confidence": 1}):
        with pytest.raises(ValueError, match=r"always true|between 0 and 1"):
            assert_success_probability(Runs(0, 99), -1, **vacuous)


@pytest.mark.parametrize("wrong", [{"confidence": 1}, {"missed": 0}, {"max_jobs": 0}])
def test_a_sequential_test_that_could_not_end_or_begin_is_refused(wrong):
    with pytest.raises(ValueError, match=r"must be (between 0 and 1|1 or more)"):
        assert_success(lambda _: Runs(0, 2), -1, at_least=0.5, **wrong)


def test_a_sequential_test_ends_on_a_real_machine():
    with open_device("emulator-mean-field") as session:
        assert_success(lambda seed: session.sample(PAIR, n_runs=8, seed=seed), -1, at_least=0.5)
        with pytest.raises(AssertionError, match="of 24 runs succeeded"):
            assert_success(lambda seed: session.sample(PAIR, n_runs=8, seed=seed), -2, at_least=0.9)


def share_of_failures(p: float, n_suites: int, **options) -> float:
    rng, failed = np.random.default_rng(int(1000 * p)), 0
    for _ in range(n_suites):
        try:
            assert_success(lambda _: Runs(int(rng.binomial(16, p)), 16), -1, **options)
        except AssertionError:
            failed += 1
    return failed / n_suites


@pytest.mark.slow
@pytest.mark.parametrize("at_least", [0.3, 0.5, 0.9])
def test_both_error_rates_of_a_sequential_test_are_as_stated(at_least):
    n, options = 1000, {"at_least": at_least, "margin": 0.1, "confidence": 0.95, "missed": 0.05}
    allowed = 0.05 + 4 * np.sqrt(0.05 * 0.95 / n)
    assert share_of_failures(at_least, n, **options) < allowed
    assert share_of_failures(at_least - 0.1, n, **options) > 1 - allowed


@pytest.mark.slow
def test_the_exact_test_is_wrong_as_rarely_as_it_says():
    rng, n, failed = np.random.default_rng(1), 4000, 0
    for _ in range(n):
        try:
            runs = Runs(int(rng.binomial(64, 0.4)), 64)
            assert_success_probability(runs, -1, at_least=0.4, confidence=0.95)
        except AssertionError:
            failed += 1
    assert failed / n < 0.05 + 4 * np.sqrt(0.05 * 0.95 / n)
