from __future__ import annotations

import time

import pytest

from cim_hal.server.clock import Clock


def test_it_tells_the_wall_clock_as_it_was_at_the_start():
    assert Clock()() == pytest.approx(time.time(), abs=0.1)


@pytest.mark.parametrize("step_s", [-86_400.0, 86_400.0])
def test_a_wall_clock_that_is_set_does_not_move_it(monkeypatch, step_s):
    clock = Clock()
    before, told = clock(), time.time
    monkeypatch.setattr(time, "time", lambda: told() + step_s)
    assert 0.0 <= clock() - before < 1.0
