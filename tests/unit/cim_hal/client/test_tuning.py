"""The search for a schedule and settings."""

from __future__ import annotations

import sys
from dataclasses import replace
from itertools import islice

import numpy as np
import pytest

from cim_hal import Capabilities, CimError, IsingModel, PumpSchedule, open_device
from cim_hal.client.tuning import UNITS, Candidate, Comparison, Trial, Tuner
from emulator import EmulatedCim, MeanField


@pytest.fixture(scope="module")
def glass():
    upper = np.triu(np.random.default_rng(3).choice([-1.0, 1.0], (40, 40)), 1)
    return IsingModel.from_couplings(upper + upper.T)


@pytest.fixture
def session():
    """A machine of ours with its couplings turned down until they hardly matter."""
    capabilities = Capabilities(
        name="mistuned",
        max_spins=40,
        coupling_bits=None,
        has_field=True,
        reproducible=True,
        default_pump=(0.0, 2.0),
        default_round_trips=40,
    )
    machine = EmulatedCim(
        MeanField(coupling_gain=0.05, noise=0.1, initial_width=0.1), capabilities=capabilities
    )
    with open_device(machine) as session:
        yield session


def test_the_defaults_of_the_machine_are_tried_first(session, glass):
    first = next(iter(Tuner(session, glass)))
    assert first.number == 0
    assert first.candidate == Candidate(PumpSchedule((0.0, 2.0), 40))


def test_the_same_seed_searches_the_same_way(session, glass):
    scores = [
        [(trial.candidate, trial.score) for trial in islice(Tuner(session, glass, seed=5), 6)]
        for _ in range(2)
    ]
    assert scores[0] == scores[1]


def test_a_search_finds_what_a_mistuned_machine_lacks(session, glass):
    tuner = Tuner(session, glass, seed=1)
    trials = list(islice(tuner, 30))
    assert tuner.best is min(trials, key=lambda trial: trial.score)
    comparison = tuner.compare(tuner.best.candidate)
    assert comparison.is_better
    assert tuner.best.candidate.settings["coupling_gain"] > 0.1


def test_every_candidate_is_one_the_machine_takes(session, glass):
    for trial in islice(Tuner(session, glass, seed=2), 25):
        session.capabilities.check_schedule(trial.candidate.schedule)
        session.capabilities.check_settings(trial.candidate.settings)


def test_no_trial_costs_more_than_half_as_much_again_as_its_units_allow(session, glass):
    work = 100
    tuner = Tuner(session, glass, seed=3, work=work)
    for trial in islice(tuner, 20):
        round_trips = trial.candidate.schedule.round_trips
        assert len(trial.unit_energies) == UNITS
        assert round(work / round_trips) * round_trips <= 1.5 * work


def test_a_gain_within_its_error_is_no_gain():
    energies = np.random.default_rng(0).normal(size=200)
    assert not Comparison(energies, energies.copy()).is_better
    assert Comparison(energies - 1, energies).is_better
    assert not Comparison(energies + 1, energies).is_better


def test_a_score_is_the_mean_of_the_units():
    trial = Trial(0, Candidate(PumpSchedule((1.0,), 1)), np.array([-3.0, -1.0]))
    assert (trial.score, trial.best_energy) == (-2.0, -3.0)
    assert replace(trial, number=1).score == -2.0


def test_without_the_extra_the_error_says_what_to_install(session, glass, monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(CimError, match="pip install 'optuna"):
        Tuner(session, glass)
