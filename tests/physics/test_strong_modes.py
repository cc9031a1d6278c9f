"""Modes that dSB feeds back as amplitudes."""

from __future__ import annotations

import math

import numpy as np
import pytest

from emulator import SimulatedBifurcation


@pytest.mark.parametrize("strong_mode", [3.0, math.inf])
def test_of_a_strong_mode_amplitudes_are_fed_back(start, strong_mode):
    J, h = np.eye(30) - 1, np.full(30, 2.0)  # the uniform mode has -29, all others 1
    machine = SimulatedBifurcation(strong_mode=strong_mode, heating=0.2, precision="double")
    block = start(machine, J, h=h)
    block.x[:, 0] = x = np.linspace(-0.3, 0.9, 30)
    block.y[:] = 0
    signs = np.where(x < 0, -1.0, 1.0)
    local_field = J @ signs + h
    if strong_mode == 3:
        local_field += -29 * (x - signs).mean() + (np.abs(x).mean() - 1) * h
    block.advance(1.0)
    kick = block.time_step * block.coupling_strength * local_field
    np.testing.assert_allclose(block.y[:, 0], kick, rtol=1e-6)


def test_a_strong_mode_that_holds_a_field_is_heated(start):
    for h, heating in ((0.0, 0.0), (2.0, 0.2)):
        block = start(SimulatedBifurcation(), np.eye(30) - 1, h=np.full(30, h))
        assert block._constants.heating == pytest.approx(heating * block.time_step, rel=1e-6)
