"""Pump schedules."""

from __future__ import annotations

import numpy as np
import pytest

from cim_hal import PumpSchedule
from cim_hal.errors import ScheduleError


def test_a_linear_ramp_starts_and_ends_where_it_says():
    pump = PumpSchedule.linear(0.5, 1.5, round_trips=11).sample()
    assert pump == pytest.approx(np.arange(0.5, 1.55, 0.1))


def test_a_constant_schedule_is_constant():
    assert (PumpSchedule.constant(0.9, round_trips=7).sample() == 0.9).all()


def test_knots_are_equally_spaced():
    pump = PumpSchedule.through([0, 1, 1, 3], round_trips=7).sample()
    assert pump == pytest.approx([0, 0.5, 1, 1, 1, 2, 3])


def test_one_round_trip_takes_the_first_knot():
    assert PumpSchedule.linear(0.25, 2, round_trips=1).sample().tolist() == [0.25]


def test_stretching_keeps_the_shape():
    schedule = PumpSchedule.linear(0, 2, round_trips=10).stretched(21)
    assert schedule.sample()[10] == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("pump", "round_trips", "says"),
    [
        ((), 10, "0 knots"),
        ((0.0, -1.0), 10, r"pump\[1\] = -1.0"),
        ((float("inf"),), 10, r"pump\[0\] = inf"),
        ((1.0,), 0, "round_trips = 0"),
        ((1.0,), 10**9, "round_trips = 1000000000"),
    ],
)
def test_a_malformed_schedule_is_refused(pump, round_trips, says):
    with pytest.raises(ScheduleError, match=says):
        PumpSchedule(pump, round_trips)
