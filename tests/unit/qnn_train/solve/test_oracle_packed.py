"""Several problems in one job, jobs queued ahead, and the Ising form of a gradient."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from programs import every_vector

from cim_hal import IsingModel, open_device
from qnn_train import ExhaustiveOracle, SessionOracle, TrainingError
from qnn_train.solve import (
    PackedOracle,
    RandomOracle,
    minimize_all,
)
from qnn_train.solve.oracle import evaluate, from_ising, qubo_of, to_ising

seeds = st.integers(0, 2**32 - 1)


def random_gradient(rng: np.random.Generator, n: int) -> np.ndarray:
    G = rng.normal(size=(n + 1, n + 1))
    return G + G.T


@given(seeds)
def test_the_ising_form_has_the_same_values_and_leads_back(seed):
    rng = np.random.default_rng(seed)
    G = random_gradient(rng, 6)
    M = to_ising(G)
    x = every_vector(6)
    w, s = (np.hstack([np.ones((64, 1)), v]) for v in (x, 2.0 * x - 1))
    values = np.einsum("ri,ij,rj->r", w, G, w)
    np.testing.assert_allclose(np.einsum("ri,ij,rj->r", s, M, s), values, atol=1e-9)
    np.testing.assert_allclose(from_ising(M), G, atol=1e-9)
    model = IsingModel.from_qubo(*qubo_of(G))
    np.testing.assert_allclose(-2 * (M - np.diag(np.diag(M)))[1:, 1:], model.J, atol=1e-9)


@given(seeds)
def test_packed_problems_are_answered_as_if_each_were_alone(seed):
    rng = np.random.default_rng(seed)
    gradients = [random_gradient(rng, n) for n in (3, 5, 2, 6)]
    packed = PackedOracle(ExhaustiveOracle(), 10).minimize_all(gradients)
    alone = [ExhaustiveOracle().minimize(gradient) for gradient in gradients]
    for one, other in zip(packed, alone, strict=True):
        np.testing.assert_allclose(one.values, other.values, atol=1e-9)
    assert [answer.cost for answer in packed] == [1, 0, 0, 1]


def test_each_block_is_ranked_by_itself():
    rng = np.random.default_rng(7)
    gradients = [random_gradient(rng, 12) for _ in range(3)]
    answers = PackedOracle(RandomOracle(30, seed=8), 36).minimize_all(gradients)
    for gradient, answer in zip(gradients, answers, strict=True):
        assert (np.diff(answer.values) >= 0).all()
        np.testing.assert_allclose(answer.values, evaluate(gradient, answer.bits).values)
    order = [set(map(bytes, answer.bits[:1])) for answer in answers]
    assert len(order) == 3


def test_a_problem_larger_than_a_task_is_refused():
    with pytest.raises(TrainingError, match="12 bits for a task of 10"):
        PackedOracle(RandomOracle(1, seed=0), 10).minimize(np.zeros((13, 13)))


def test_jobs_queued_ahead_give_the_answers_of_one_after_the_other():
    rng = np.random.default_rng(9)
    gradients = [random_gradient(rng, 7) for _ in range(7)]
    with open_device("emulator") as session:
        ahead = SessionOracle(session, n_runs=4, seed=1, ahead=3)
        together = minimize_all(ahead, gradients)
        waiting = SessionOracle(session, n_runs=4, seed=1)
        alone = [waiting.minimize(gradient) for gradient in gradients]
    assert ahead.calls == waiting.calls == 7
    for one, other in zip(together, alone, strict=True):
        np.testing.assert_array_equal(one.bits, other.bits)


def test_what_waits_is_cancelled_when_a_job_fails():
    class Failing:
        def __init__(self):
            self.cancelled = 0

        def submit(self, model, schedule=None, **options):
            return self

        def result(self):
            raise KeyboardInterrupt

        def cancel(self):
            self.cancelled += 1

    sampler = Failing()
    with pytest.raises(KeyboardInterrupt):
        SessionOracle(sampler, n_runs=1, seed=0, ahead=3).minimize_all([np.eye(3)] * 5)
    assert sampler.cancelled == 3
