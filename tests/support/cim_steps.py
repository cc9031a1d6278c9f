"""Requests of a client, done by a script in the place of a transport."""

from __future__ import annotations

from cim_hal import CimError


def run_steps(steps, do):
    """Do all steps, each by `do`, and return the result of the last."""
    outcome, error = None, None
    while True:
        try:
            step = steps.send(outcome) if error is None else steps.throw(error)
        except StopIteration as end:
            return end.value
        outcome, error = None, None
        try:
            outcome = do(step)
        except CimError as caught:
            error = caught
