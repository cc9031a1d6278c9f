"""Imperfections as settings of a job: the same over the wire as in process, to the last bit."""

from __future__ import annotations

import numpy as np
import pytest

from cim_hal import CapabilityError, IsingModel, PumpSchedule, make_driver, open_device

SWEEP = {
    "imperfections.leakage": (0.0, 0.1),
    "adc.bits": (0, 1, 3),
    "delay": (0, 2),
    "imperfections.seed": (1, 2),
    "imperfections.coupling_error": (0.0, 0.2),
}
FIXED = {"imperfections.injection_gain_error": 0.1, "imperfections.pump_flicker": 0.01}


def glass(n: int) -> IsingModel:
    upper = np.triu(np.random.default_rng(3).choice([-1.0, 1.0], (n, n)), 1)
    return IsingModel.from_couplings(upper + upper.T)


def sweep(session, points) -> list[np.ndarray]:
    schedule = PumpSchedule.linear(0.0, 1.1, round_trips=60)
    return [
        session.sample(glass(20), schedule, n_runs=8, seed=4, settings=FIXED | point).amplitudes
        for point in points
    ]


def test_a_sweep_through_a_served_machine_is_the_sweep_in_process_bit_for_bit(serving):
    points = [{name: value} for name, values in SWEEP.items() for value in values]
    with serving(make_driver("emulator")) as endpoint, open_device(endpoint) as served:
        over_the_wire = sweep(served, points)
        assert served.capabilities.units["imperfections.phase_drift_rad"].startswith("rad")
        with pytest.raises(CapabilityError, match=r"imperfections\.leakage"):
            sweep(served, [{"imperfections.leakage": 2.0}])
    with open_device("emulator") as here:
        in_process = sweep(here, points)
    for one, other in zip(over_the_wire, in_process, strict=True):
        np.testing.assert_array_equal(one, other)
    assert len({each.tobytes() for each in in_process}) >= len(points) - len(SWEEP) + 1
