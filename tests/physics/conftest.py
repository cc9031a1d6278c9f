"""Blocks of runs without a machine around them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from emulator.dynamics.base import Dynamics, JobInputs
from emulator.noise import NoiseKey
from emulator.products.coupling import CouplingMatrix

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import ArrayLike


@pytest.fixture
def start() -> Callable[..., Any]:
    """A function that puts a dynamics before its first round trip."""

    def begin(
        dynamics: Dynamics,
        J: ArrayLike,
        *,
        h: ArrayLike | None = None,
        runs: int = 1,
        seed: int = 1,
        round_trips: int = 1,
        first_run: int = 0,
    ) -> Any:
        couplings = np.asarray(J, dtype=np.float64)
        field = np.zeros(len(couplings)) if h is None else np.asarray(h, dtype=np.float64)
        matrix = CouplingMatrix.of(
            couplings, field, largest_code=dynamics.largest_code, dtype=np.float64
        )
        inputs = JobInputs(dynamics.perturb(matrix), NoiseKey.from_seed(seed), round_trips)
        return dynamics.start(inputs, first_run=first_run, n_runs=runs)

    return begin
