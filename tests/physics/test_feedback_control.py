"""Chaotic and separated feedback control against their fixed points and limits."""

from __future__ import annotations

import numpy as np

from emulator import ChaoticFeedbackControl, SeparatedFeedbackControl
from emulator.dynamics.feedback_control import TANH, rational_tanh


def weighted_ferromagnet(n: int) -> np.ndarray:
    """Random positive couplings: one satisfied pattern, with a different field at every spin."""
    upper = np.triu(np.random.default_rng(5).uniform(0.2, 1, (n, n)), 1)
    return upper + upper.T


def advance(block, pump: float, *, steps: int) -> None:
    for _ in range(steps):
        block.advance(pump)


def test_feedback_control_brings_every_injection_to_the_same_magnitude(start):
    # z^2 = alpha and x^3 - L (p - 1) x = z
    J, alpha, pump = weighted_ferromagnet(12), 0.5, 0.9
    machine = ChaoticFeedbackControl(target=alpha, precision="double")
    block = start(machine, J, runs=4)
    advance(block, pump, steps=20_000)
    xi = 0.7 * np.sqrt(12 / (J**2).sum())
    x, z = block.x, xi * block.e * (J @ block.x)
    np.testing.assert_allclose(np.abs(z), np.sqrt(alpha), atol=1e-6)
    np.testing.assert_allclose(x**3 - 2 * (pump - 1) * x, z, atol=1e-6)


def test_separated_feedback_without_memory_and_infinitely_steep_is_sign_feedback(start):
    # T23, against the equation with a sign in it; 3e-7 is the error of the tangent
    J = np.random.default_rng(2).normal(size=(15, 15))
    J = np.triu(J, 1) + np.triu(J, 1).T
    dt, loss, pump = 0.1, 2.0, 0.9
    machine = SeparatedFeedbackControl(
        memory=0.0,
        steepness=(1e12, 1e12),
        loss=loss,
        time_step=dt,
        stability=np.inf,
        precision="double",
    )
    block = start(machine, J, runs=8)
    x = block.x.copy()
    for _ in range(50):
        x = x + dt * ((loss * (pump - 1) - x * x) * x + np.sign(J @ x))
        block.advance(pump)
        np.testing.assert_allclose(block.x, x, atol=1e-5)


def test_the_rational_tangent_is_right_to_3e_7():
    z = np.linspace(-12, 12, 20_001)
    np.testing.assert_allclose([rational_tanh.py_func(v, TANH) for v in z], np.tanh(z), atol=3e-7)
