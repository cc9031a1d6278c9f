"""Lists that take more than one page are whole."""

from __future__ import annotations

import numpy as np
from cim_machines import Annealer

from cim_hal import IsingModel, PumpSchedule, open_device

SCHEDULE = PumpSchedule.constant(1.0, round_trips=1)


def test_more_jobs_than_a_page_holds_are_listed_once_each():
    model = IsingModel.from_couplings([[0, 1.0], [1.0, 0]])
    with open_device(Annealer()) as session:
        jobs = [session.submit(model, SCHEDULE, n_runs=1, seed=seed).id for seed in range(40)]
        assert [info.job for info in session.jobs()] == jobs


def test_more_couplings_than_a_page_holds_are_listed_once_each():
    with open_device(Annealer()) as session:
        for number in range(1, 106):
            session.load(IsingModel.from_couplings(np.array([[0, number], [number, 0]]) / 128))
        digests = [row.digest for row in session.couplings()]
    assert len(digests) == len(set(digests)) == 105
