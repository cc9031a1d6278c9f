from __future__ import annotations

import logging

import pytest

from cim_hal.server.steps import PAUSE_S, GuardedSteps, LogLimiter

log = logging.getLogger("test")


def _fail(error: Exception) -> None:
    raise error


@pytest.mark.parametrize("error", [ValueError("x"), OSError(5, "y"), MemoryError(), KeyError("z")])
def test_a_step_that_raises_is_logged_and_the_loop_goes_on(error, caplog):
    steps = GuardedSteps(log)
    assert steps.run("a step", _fail, error) is None
    assert steps.run("a step", lambda: 7) == 7
    assert "a step failed" in caplog.text
    assert type(error).__name__ in caplog.text


def test_a_thousand_failures_of_a_kind_are_one_line_and_another_kind_is_another(caplog):
    steps = GuardedSteps(log)
    for _ in range(1000):
        steps.run("a step", _fail, ValueError())
    steps.run("a step", _fail, KeyError())
    steps.run("another", _fail, ValueError())
    assert len(caplog.records) == 3


def test_a_wait_that_fails_at_once_does_not_turn_the_loop_into_a_busy_one(monkeypatch):
    pauses: list[float] = []
    monkeypatch.setattr("time.sleep", pauses.append)
    steps = GuardedSteps(log)
    assert steps.wait(_fail, OSError()) is None
    assert steps.wait(lambda: 0) == 0
    assert pauses == [PAUSE_S]


def test_a_line_that_is_due_says_how_many_there_were():
    limiter = LogLimiter(every_s=0.0)
    assert [limiter.due("a"), limiter.due("a")] == [1, 1]
    limiter = LogLimiter(every_s=1000.0)
    assert [limiter.due("a"), limiter.due("a"), limiter.due("b")] == [1, 0, 1]
    limiter._every_s, limiter._kinds["a"] = 0.0, (0.0, 41)
    assert limiter.due("a") == 42
