from __future__ import annotations

from fractions import Fraction
from math import comb

import numpy as np
import pytest
from cim_machines import Annealer

from cim_hal import IsingModel, open_device
from cim_hal.conformance.machine_under_test import (
    ALPHA,
    CheckFailed,
    MachineUnderTest,
    NotApplicable,
    chance,
    require,
)


@pytest.fixture
def machine():
    with open_device(Annealer()) as session:
        yield MachineUnderTest(session, seed=3, n_runs=10)


@pytest.mark.parametrize(("hits", "n"), [(0, 5), (3, 5), (5, 5), (40, 64)])
def test_chance_is_the_tail_of_the_binomial(hits, n):
    tail = sum(Fraction(comb(n, k), 2**n) for k in range(hits, n + 1))
    assert chance(hits, n, 0.5) == pytest.approx(float(tail), rel=1e-12)


def test_a_share_that_chance_explains_fails(machine):
    assert machine.require_often(np.ones(20, bool), "up") == 1.0  # 2^-20 is below one in a million
    assert 2.0**-20 < ALPHA < 2.0**-19
    with pytest.raises(CheckFailed, match=r"up in 100\.0 % of 19 runs; more than 50 % was"):
        machine.require_often(np.ones(19, bool), "up")


def test_what_does_not_hold_is_a_finding():
    require(holds=True, said="fine")
    with pytest.raises(CheckFailed, match="it smokes"):
        require(holds=False, said="it smokes")


def test_a_machine_that_is_too_small_is_no_finding(machine):
    assert machine.spins(16) == 16
    assert machine.spins(10**6) == machine.capabilities.max_spins
    with pytest.raises(NotApplicable, match=r"it takes 1000000 spins"):
        machine.spins(10**6, least=10**6)


def test_runs_beyond_one_job_come_from_jobs_of_other_seeds(machine):
    model = IsingModel.from_couplings([[0, 1], [1, 0]])
    machine.__dict__["capabilities"] = machine.capabilities.model_copy(update={"max_runs": 4})
    found = machine.sample(model)
    parts = [machine.session.sample(model, n_runs=n, seed=3 + i) for i, n in enumerate((4, 4, 2))]
    assert len(found) == 10
    expected = np.sort(np.concatenate([part.amplitudes for part in parts]), axis=0)
    np.testing.assert_array_equal(np.sort(found.amplitudes, axis=0), expected)


def test_random_numbers_depend_on_the_seed_and_the_key_alone(machine):
    again = MachineUnderTest(machine.session, seed=3)
    assert machine.rng(1, 2).random() == again.rng(1, 2).random() != again.rng(1, 3).random()
