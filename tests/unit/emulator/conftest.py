"""Programs without a server around them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from cim_hal import IsingModel, Program, PumpSchedule, StopToken, lower

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray

    from cim_hal import Driver


@pytest.fixture
def amplitudes_of() -> Callable[..., NDArray[np.float32]]:
    """A function that runs a model on a driver and returns the readout."""

    def measure(driver: Driver, model: IsingModel, **options: Any) -> NDArray[np.float32]:
        return _readout(driver, model, **options)[0]

    return measure


@pytest.fixture
def energies_of() -> Callable[..., NDArray[np.float64]]:
    """A function that runs a model on a driver and returns the energies of its runs."""

    def measure(driver: Driver, model: IsingModel, **options: Any) -> NDArray[np.float64]:
        return _readout(driver, model, **options)[1]

    return measure


def _readout(
    driver: Driver,
    model: IsingModel,
    *,
    n_runs: int = 64,
    seed: int = 1,
    round_trips: int | None = None,
) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    capabilities = driver.describe()
    schedule = capabilities.default_schedule
    if round_trips is not None:
        schedule = PumpSchedule(schedule.pump, round_trips)
    program = Program(lower(model, capabilities), schedule, n_runs, seed)
    readout = driver.run(program, StopToken())
    readout.check(program)
    return readout.values, model.energy(program.lowering.lift(readout.spins))
